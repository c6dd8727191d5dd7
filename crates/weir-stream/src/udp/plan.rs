use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use weir_upstream::Upstream;

use super::session::Session;

/// What a UDP listener does with datagrams.
#[derive(Debug, Clone)]
pub struct UdpPlan {
    /// Who answers.
    pub upstream: Arc<Upstream>,
    /// How long a session lives without a datagram either way; 60 s by default.
    pub idle_timeout: Duration,
    /// After how many datagrams of a client its next one begins another session; none: it never does.
    pub requests: Option<NonZeroU32>,
    /// How many datagrams answer each of the client's: a session ends when they have come. None: it does not end so. 0:
    /// it ends when the client's datagram has been sent.
    pub responses: Option<u32>,
    /// Most sessions over all workers.
    pub sessions_max: u32,
    /// Whether the first datagram that a session sends to an endpoint begins with a PROXY header of version 2.
    pub proxy_header: bool,
    /// Whether sessions end with the endpoint when a reload takes it out; otherwise they go on.
    pub close_on_remove: bool,
    /// How long sessions may go on once the listener is gone.
    pub drain_timeout: Duration,
    /// Whether sessions end when their endpoint's check fails or an operator switches it off; otherwise they go on.
    pub close_on_down: bool,
}

impl UdpPlan {
    /// Whether the client's next datagram begins another session.
    pub(super) fn is_full(&self, session: &Session) -> bool {
        self.requests.is_some_and(|max| session.requests >= u64::from(max.get()))
    }

    /// Whether all that was asked has been answered.
    pub(super) fn is_complete(&self, session: &Session) -> bool {
        let may_ask_more = self.requests.is_some() && !self.is_full(session);
        let expected = self.responses.map(|responses| u64::from(responses).saturating_mul(session.requests));
        !may_ask_more && expected.is_some_and(|expected| session.responses >= expected)
    }
}
