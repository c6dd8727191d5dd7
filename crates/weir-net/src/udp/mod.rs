//! UDP in batches: listening sockets that say which address a client used, connected sockets to endpoints, and the
//! readiness of very many of them.
//!
//! The `quinn-udp` crate is not used: it sends to one peer per call, whereas a proxy answers many clients at once; it
//! forbids fragmentation, which a relay of other people's datagrams may not; and it hides which datagram failed and why.

mod batch;
mod bind;
mod connect;
#[expect(unsafe_code, reason = "recvmmsg and control messages have no safe wrapper")]
mod kernel;
mod outgoing;
mod readiness;

pub use batch::{BATCH, Batch, Datagram};
pub use bind::{UdpListener, UdpPending, UdpSocket};
pub use connect::connect_udp;
pub use outgoing::{Outgoing, send_all};
pub use readiness::{EVENTS, Readiness, ReadinessWait, Ready};

/// Most bytes that a datagram over IPv4 carries: what 16 bits count, less the headers of IP and UDP.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

#[cfg(test)]
mod tests;
