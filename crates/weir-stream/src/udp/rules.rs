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
        !may_ask_more && self.owed(session) == Some(0)
    }

    /// How many answers are still expected, where that is known.
    pub(super) fn owed(&self, session: &Session) -> Option<u64> {
        let expected = self.plan.responses?.saturating_mul(session.requests);
        Some(expected.saturating_sub(session.responses))
    }

    /// Whether an answer may still be on its way: fewer came than are expected, or where nothing is known of that, the
    /// client spoke last.
    pub(super) fn is_owed(&self, session: &Session) -> bool {
        self.owed(session).map_or(session.spoke_last, |owed| owed > 0)
    }
}
