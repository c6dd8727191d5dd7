use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

/// How long the port of an unanswered session is kept from others: a resolver's usual patience with a server.
pub(super) const COOLING: Duration = Duration::from_secs(5);

/// Most sockets that cool, of a listener and worker.
pub(super) const COOLING_MAX: u32 = 1_024;

/// How many sessions a listener may have on a worker for each socket that may cool there.
const SESSIONS_PER_SOCKET: u32 = 4;

/// Sockets of sessions that ended while an answer was owed.
///
/// Were they closed, the kernel would give their ports to other sessions' sockets to the same endpoint, and the late
/// answers to other clients. Nobody reads them: what comes is dropped by the kernel.
#[derive(Debug, Default)]
pub(super) struct Cooling {
    /// The first is the one that cools longest.
    sockets: VecDeque<(Instant, OwnedFd)>,
}

impl Cooling {
    /// Keeps a socket; returns how many were closed before their time to make room, where a worker may have `share`
    /// sessions.
    pub(super) fn keep(&mut self, socket: OwnedFd, share: u32, now: Instant) -> u64 {
        let max = (share / SESSIONS_PER_SOCKET).clamp(1, COOLING_MAX) as usize;
        let surplus = (self.sockets.len() + 1).saturating_sub(max);
        self.sockets.drain(..surplus);
        // The smallest that there is: what comes is not wanted. Without this it is only memory, until the port is free.
        let _larger = sockopt::set_socket_recv_buffer_size(&socket, 0);
        self.sockets.push_back((now, socket));
        surplus as u64
    }

    /// Closes up to `max` sockets whose time is over; says whether there may be more.
    pub(super) fn close_cold(&mut self, now: Instant, max: usize) -> bool {
        let cold = self.sockets.iter().take(max).take_while(|(since, _)| *since + COOLING <= now).count();
        self.sockets.drain(..cold);
        cold == max
    }

    /// Closes up to `max` sockets although their time is not over; returns how many.
    pub(super) fn close_early(&mut self, max: usize) -> u64 {
        let count = self.sockets.len().min(max);
        self.sockets.drain(..count);
        count as u64
    }

    /// When the next one's time is over.
    pub(super) fn next_cold(&self) -> Option<Instant> {
        self.sockets.front().map(|(since, _)| *since + COOLING)
    }
}

/// How many of `descriptors` sessions may take, so that there are enough for what cools on so many workers of so many
/// listeners.
pub(crate) fn sessions_beside(descriptors: u32, workers: u32, listeners: u32) -> u32 {
    let most = COOLING_MAX.saturating_mul(workers).saturating_mul(listeners);
    descriptors - (descriptors / (SESSIONS_PER_SOCKET + 1)).min(most)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn socket() -> OwnedFd {
        UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn a_socket_is_kept_for_its_time_and_no_longer() {
        let (mut cooling, start) = (Cooling::default(), Instant::now());
        assert_eq!(cooling.next_cold(), None);
        for seconds in [0, 1, 1] {
            assert_eq!(cooling.keep(socket(), 100, start + Duration::from_secs(seconds)), 0);
        }
        assert_eq!(cooling.next_cold(), Some(start + COOLING));
        assert!(!cooling.close_cold(start + COOLING - Duration::from_nanos(1), 2));
        assert_eq!(cooling.sockets.len(), 3);
        assert!(!cooling.close_cold(start + COOLING, 2));
        assert_eq!(cooling.sockets.len(), 2);
        assert!(cooling.close_cold(start + Duration::from_secs(60), 2));
        assert_eq!(cooling.next_cold(), None);
    }

    #[test]
    fn no_more_cool_than_a_quarter_of_the_sessions_and_the_oldest_is_closed() {
        let now = Instant::now();
        for (share, max) in [(1, 1), (7, 1), (8, 2), (40, 10)] {
            let mut cooling = Cooling::default();
            let closed: u64 = (0..12).map(|_| cooling.keep(socket(), share, now)).sum();
            assert_eq!((cooling.sockets.len(), closed), (max, 12 - max as u64));
            assert_eq!(
                (cooling.close_early(3), cooling.close_early(100)),
                (max.min(3) as u64, max.saturating_sub(3) as u64)
            );
        }
    }

    #[test]
    fn sessions_leave_descriptors_for_what_cools() {
        assert_eq!(sessions_beside(100, 2, 1), 80);
        assert_eq!(sessions_beside(65_408, 2, 1), 65_408 - 2_048);
        assert_eq!(sessions_beside(1, 1, 1), 1);
        assert_eq!(sessions_beside(u32::MAX, u32::MAX, 2), u32::MAX / 5 * 4);
    }
}
