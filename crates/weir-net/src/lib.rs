//! Sockets: listeners that are bound once and kept, byte streams of several kinds, raw relay and splice.
//!
//! Refuses nothing by itself but a port that another process holds; limits on connections are the planes'.

mod buffer;
mod descriptors;
mod listener;
mod pipe;
mod relay;
mod socket;

pub use buffer::{BUFFER_BYTES, Buffer, Buffers};
pub use descriptors::{DescriptorLimit, is_out_of_descriptors, raise_descriptor_limit};
pub use listener::{BindAddress, BindAddressError, BindError, Listener, ListenerSocket, Pending};
pub use pipe::{Pipe, Pipes};
pub use relay::{Relay, RelayEnd, RelayTotals};
pub use socket::Socket;

/// What a worker keeps to be used again.
#[derive(Debug, Default)]
pub struct Spares {
    /// Unused buffers.
    pub buffers: Buffers,
    /// Unused pipes.
    pub pipes: Pipes,
}
