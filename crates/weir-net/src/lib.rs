//! Sockets: listeners that are bound once and kept, byte streams of several kinds, TLS, raw relay and splice, datagrams
//! in batches.
//!
//! Refuses nothing by itself but a port that another process holds; limits on connections are the planes'.

mod admission;
mod buffer;
mod byte_stream;
mod connections;
mod descriptors;
mod listener;
mod listener_state;
mod pipe;
mod rate;
mod relay;
mod socket;
mod stats;
pub mod tls;
mod trust;
pub mod udp;
mod worker;

pub use admission::{Admitted, ConnectionLimits};
pub use buffer::{BUFFER_BYTES, Buffer, Buffers, LARGE_BUFFER_BYTES};
pub use byte_stream::{ByteStream, StreamFault, TunnelRefusal, Tunnels};
pub use connections::ConnectionHandle;
pub use descriptors::{DescriptorLimit, is_out_of_descriptors, raise_descriptor_limit};
pub use listener::{BindAddress, BindAddressError, BindError, Listener, ListenerSocket, Pending};
pub use listener_state::ListenerState;
pub use pipe::{Pipe, Pipes};
pub use relay::{Relay, RelayEnd, RelayEnds, RelayTotals};
pub use socket::Socket;
pub use stats::{ConnectionStats, ProxyHeaderFailure};
pub use trust::{NotAProxy, ProxyProtocol, TrustedProxies};
pub use worker::{Hoard, Worker, WorkerShared};

/// What a worker keeps to be used again.
#[derive(Debug, Default)]
pub struct Spares {
    /// Unused buffers.
    pub buffers: Buffers,
    /// Unused pipes.
    pub pipes: Pipes,
}

/// Which limit a connection ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Of the whole process.
    Total,
    /// Of one address.
    PerIp,
    /// Of the listener.
    Listener,
}
