use std::fmt;
use std::io;
use std::task::{Context, Poll};

/// A connected byte stream that is no socket of this process, such as one stream of a tunnel.
///
/// Its methods promise what those of [`Socket`](crate::Socket) with the same names do.
pub trait ByteStream: fmt::Debug + Send + Sync {
    /// Reads into `room`, which is not empty; 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes what there is room for.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Ends the writing direction.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until there is something to read, the end of the stream or an error among it.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads without waiting.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where there is nothing; else what the stream has failed with.
    fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Whether it is open and nothing waits to be read.
    fn is_silent(&mut self) -> bool;

    /// What it has failed with, where nobody was told yet.
    fn take_error(&self) -> Option<io::Error>;

    /// Makes its close an abortion.
    fn reset_on_close(&mut self);

    /// Whether the other end takes a second request where the first was answered, for protocols that allow it.
    fn may_be_kept(&self) -> bool;
}

/// Why a [`ByteStream`] has failed; stands within its [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// The other end never took it: nothing of what was sent has been looked at.
    #[error("the other end refused the stream")]
    Refused,
    /// The other end aborted it.
    #[error("the other end aborted the stream")]
    Reset,
    /// What carried it is gone.
    #[error("the connection that carried the stream is gone")]
    Lost,
}

impl StreamFault {
    /// What an I/O error says of a stream's failure; none for errors of sockets.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<StreamFault> for io::Error {
    fn from(fault: StreamFault) -> Self {
        let kind = match fault {
            StreamFault::Refused => io::ErrorKind::ConnectionRefused,
            StreamFault::Reset => io::ErrorKind::ConnectionReset,
            StreamFault::Lost => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, fault)
    }
}

/// Opens streams to agents that have dialled in.
pub trait Tunnels: fmt::Debug + Send + Sync {
    /// A stream to the agent of this name; where the agent refuses it, its first use says so.
    ///
    /// # Errors
    ///
    /// [`TunnelRefusal`]; nothing was sent.
    fn open(&self, agent: &str) -> Result<Box<dyn ByteStream>, TunnelRefusal>;
}

/// Why there is no stream to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TunnelRefusal {
    /// No configuration knows it.
    #[error("no agent has this name")]
    Unknown,
    /// It has no session.
    #[error("the agent is offline")]
    Offline,
    /// Its sessions have as many streams as they may.
    #[error("the agent's session has as many streams as it may")]
    Full,
}
