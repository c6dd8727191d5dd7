//! One connection between relay and agent, at either end.

mod driver;
mod end;
mod link;
mod mailbox;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_net::{Buffers, Socket};
use weir_wire::websocket;
use weir_wire::yamux::{self, WindowBudget};

use driver::Driver;
use mailbox::Mailbox;

pub use end::SessionEnd;
pub use stream::{STREAM_BYTES_MAX, TunnelStream};

/// How a session is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which end of the WebSocket this is.
    pub websocket: websocket::Role,
    /// Which numbers this end opens streams with.
    pub yamux: yamux::Role,
    /// How many streams there may be, and what their windows may take.
    pub limits: yamux::Limits,
    /// What windows of all sessions may take.
    pub budget: Arc<WindowBudget>,
    /// How often the peer is asked for a sign of life, 10 % more or less.
    pub heartbeat: Duration,
    /// After how long without a byte from the peer it is given up; never where it is none.
    pub offline_after: Option<Duration>,
    /// After how long without progress in writing the peer is given up.
    pub write_timeout: Duration,
    /// Whether a stream may serve a second request. Old servers of Go fail there, and plain agents may be such.
    pub keeps_streams: bool,
}

/// A running session, as everyone but its task sees it.
#[derive(Debug, Clone)]
pub struct Session(Arc<Mailbox>);

/// Why a session opens no stream. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    /// It is over, or ends.
    #[error("the session takes no more streams")]
    Ending,
    /// It has as many streams as it may.
    #[error("the session has as many streams as it may")]
    Full,
}

/// What a session is told of streams that the peer opens.
pub type Accept = Box<dyn FnMut(TunnelStream) + Send>;

impl Session {
    /// Starts a session on an upgraded connection; `ahead` came behind its head. What is returned beside the session is
    /// its task, to be spawned on the worker that has the socket.
    pub fn start(
        socket: Socket,
        ahead: &[u8],
        settings: &Settings,
        buffers: Buffers,
        accept: Accept,
    ) -> (Self, impl Future<Output = SessionEnd> + Send + use<>) {
        let mailbox = Mailbox::new(settings.limits.streams_max, settings.keeps_streams);
        let driver = Driver::new(socket, ahead, settings, buffers, accept, Arc::clone(&mailbox));
        (Self(mailbox), driver.run())
    }

    /// Opens a stream. It may be written to at once; where the peer refuses it, its first use says so.
    ///
    /// # Errors
    ///
    /// [`OpenRefusal`]; nothing was sent.
    pub fn open(&self) -> Result<TunnelStream, OpenRefusal> {
        self.0.open()
    }

    /// Ends the session in good order: no more streams, those that are open finish within `limit`.
    pub fn leave(&self, end: SessionEnd, limit: Duration) {
        self.0.leave(end, Instant::now() + limit);
    }

    /// Whether it still opens streams.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Streams that are open or wait for it.
    pub fn streams(&self) -> usize {
        self.0.streams()
    }

    /// The shortest round trip of late; none before the first answer.
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.round_trip()
    }
}
