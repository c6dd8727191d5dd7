use super::session::Session;
use crate::plane::UdpListener;

impl UdpListener {
    /// Whether the client's next datagram begins another session.
    pub(super) fn is_full(&self, session: &Session) -> bool {
        self.plan.requests.is_some_and(|max| session.requests >= max)
    }

    /// Whether all that was asked has been answered.
    pub(super) fn is_complete(&self, session: &Session) -> bool {
        let may_ask_more = self.plan.requests.is_some() && !self.is_full(session);
        let expected = self.plan.responses.map(|responses| responses.saturating_mul(session.requests));
        !may_ask_more && expected.is_some_and(|expected| session.responses >= expected)
    }

    /// Whether an answer may still be on its way: fewer came than are expected, or where nothing is known of that, the
    /// client spoke last.
    pub(super) fn is_owed(&self, session: &Session) -> bool {
        match self.plan.responses {
            Some(responses) => session.responses < responses.saturating_mul(session.requests),
            None => session.spoke_last,
        }
    }
}
