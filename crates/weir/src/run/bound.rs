//! An address that is listened on, whichever way.

use std::io;
use std::net::SocketAddr;

use weir_net::udp::{UdpListener, UdpPending, UdpSocket};
use weir_net::{BindAddress, BindError, Listener, ListenerSocket, Pending};

use crate::plan::{ListenerPlan, TakesPlan};

/// What travels to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Transport {
    Stream,
    Udp,
}

/// Bound, and not listened on yet; dropping it leaves no trace.
pub(super) enum Unheard {
    Stream(Pending),
    Udp(UdpPending),
}

/// Listened on, and kept for as long as it is wanted.
pub(super) enum Bound {
    Stream(Listener),
    Udp(UdpListener),
}

/// A worker's share of it.
pub(super) enum WorkerSocket {
    Stream(ListenerSocket),
    Udp(UdpSocket),
}

impl Transport {
    pub(super) const fn of(plan: &ListenerPlan) -> Self {
        match plan.takes {
            TakesPlan::Http | TakesPlan::Tcp(_) | TakesPlan::Tunnel => Self::Stream,
            TakesPlan::Udp(_) => Self::Udp,
        }
    }
}

impl Unheard {
    /// Binds one socket per worker.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub(super) fn bind(bind: &BindAddress, plan: &ListenerPlan, workers: usize) -> Result<Self, BindError> {
        match Transport::of(plan) {
            Transport::Stream => Pending::bind(bind, workers, plan.unix_mode).map(Self::Stream),
            Transport::Udp => UdpPending::bind(datagram_address(bind), workers).map(Self::Udp),
        }
    }

    /// Listens.
    ///
    /// # Errors
    ///
    /// [`BindError`] where another process was faster.
    pub(super) fn listen(self) -> Result<Bound, BindError> {
        Ok(match self {
            Self::Stream(pending) => Bound::Stream(pending.listen()?),
            Self::Udp(pending) => Bound::Udp(pending.listen()),
        })
    }
}

fn datagram_address(bind: &BindAddress) -> SocketAddr {
    match bind {
        BindAddress::Tcp(address) => *address,
        BindAddress::Unix(_) => unreachable!("check() refuses datagrams on unix sockets"),
    }
}

impl Bound {
    /// The address, with the port that the kernel chose.
    pub(super) fn address(&self) -> BindAddress {
        match self {
            Self::Stream(listener) => listener.address().clone(),
            Self::Udp(listener) => BindAddress::Tcp(listener.address()),
        }
    }

    /// The socket for a worker.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left.
    pub(super) fn socket(&self, worker: usize) -> io::Result<WorkerSocket> {
        match self {
            Self::Stream(listener) => listener.socket(worker).map(WorkerSocket::Stream),
            Self::Udp(listener) => listener.socket(worker).map(WorkerSocket::Udp),
        }
    }

    /// From now on no connection begins here; sessions are turned away by who reads the datagrams.
    pub(super) fn stop_greeting(&self) {
        if let Self::Stream(listener) = self {
            listener.stop_greeting();
        }
    }

    /// Takes back [`stop_greeting`](Self::stop_greeting).
    pub(super) fn greet(&self) {
        if let Self::Stream(listener) = self {
            listener.greet();
        }
    }
}
