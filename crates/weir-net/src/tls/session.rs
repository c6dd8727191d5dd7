use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error};

use crate::{BUFFER_BYTES, Buffer, Buffers};

/// One side of a TLS session: turns bytes into other bytes and never touches a socket.
pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// The bytes that a session works on.
#[derive(Debug)]
pub(super) struct Bytes {
    /// As they came, and not yet understood.
    pub(super) received: Option<Buffer>,
    /// What was understood, and not yet taken.
    pub(super) plain: Option<Buffer>,
    /// As they are to be sent.
    pub(super) outgoing: Option<Buffer>,
    pub(super) buffers: Buffers,
}

/// What a session is to do beside understanding what came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'w> {
    Read,
    Write(&'w [u8]),
    /// Say that nothing more will be written.
    Close,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It needs more bytes.
    Blocked,
    /// There is something to take.
    Plain,
    /// The peer has said that nothing more will come; told once.
    PeerClosed,
    /// Both sides have said so.
    Closed,
    /// What was to be written or said is among the outgoing bytes.
    Done,
}

/// Bytes that a record adds to its content, at most: header, nonce, tag and kind.
const RECORD_OVERHEAD: usize = 5 + 8 + 16 + 1;

/// Most content of a record.
const RECORD_BYTES: usize = 1 << 14;

/// Room for what goes before content: an answer to a key update, an alert.
const CONTROL_BYTES: usize = 128;

impl Session {
    /// What is known on either side.
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(session) => session,
            Self::Server(session) => session,
        }
    }

    /// Works until there is something to take, or the wish is fulfilled, or more bytes are needed.
    ///
    /// # Errors
    ///
    /// The session is broken; an alert that tells the peer is among the outgoing bytes. It must not be called again.
    pub(super) fn run(&mut self, bytes: &mut Bytes, wish: Wish<'_>) -> Result<Turn, Error> {
        loop {
            let received = bytes.received.as_mut().map_or(&mut [][..], Buffer::filled_mut);
            let mut out =
                Out { plain: &mut bytes.plain, outgoing: &mut bytes.outgoing, buffers: &bytes.buffers };
            let (discard, step) = match self {
                Self::Client(session) => out.settle(session.process_tls_records(received), wish),
                Self::Server(session) => out.settle(session.process_tls_records(received), wish),
            };
            if let Some(received) = &mut bytes.received {
                received.consume(discard);
            }
            match step {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) => {}
                Err(error) => {
                    self.say_why(bytes);
                    return Err(error);
                }
            }
        }
    }

    /// Appends the alert that a failure has left behind.
    fn say_why(&mut self, bytes: &mut Bytes) {
        while self.state().wants_write() {
            let mut out =
                Out { plain: &mut bytes.plain, outgoing: &mut bytes.outgoing, buffers: &bytes.buffers };
            // Without input: what has failed must not be looked at again.
            let (_, step) = match self {
                Self::Client(session) => out.settle(session.process_tls_records(&mut []), Wish::Read),
                Self::Server(session) => out.settle(session.process_tls_records(&mut []), Wish::Read),
            };
            if !matches!(step, Ok(None | Some(Turn::Plain))) {
                return;
            }
        }
    }
}

/// Where a session's results go.
struct Out<'b> {
    plain: &'b mut Option<Buffer>,
    outgoing: &'b mut Option<Buffer>,
    buffers: &'b Buffers,
}

impl Out<'_> {
    /// Handles one state of a session: how many received bytes are used up, and the turn that is over.
    fn settle<Side>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Side>,
        wish: Wish<'_>,
    ) -> (usize, Result<Option<Turn>, Error>) {
        let mut discard = status.discard;
        let step = match status.state {
            Err(error) => Err(error),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    self.plain.get_or_insert_with(|| self.buffers.take()).extend(record.payload);
                    // Who writes is not kept from it by what there is to read.
                    Ok(matches!(wish, Wish::Read).then_some(Turn::Plain))
                }
                Some(Err(error)) => Err(error),
                None => Ok(None),
            },
            // Never accepted: it could be replayed.
            Ok(ConnectionState::ReadEarlyData(_)) => Err(Error::General("early data".into())),
            Ok(ConnectionState::PeerClosed) => Ok(Some(Turn::PeerClosed)),
            Ok(ConnectionState::Closed) => Ok(Some(Turn::Closed)),
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                self.encode(|room| match message.encode(room) {
                    Ok(count) => Encoded::Whole(count),
                    Err(EncodeError::InsufficientSize(_)) => Encoded::Lacks,
                    Err(EncodeError::AlreadyEncoded) => Encoded::Whole(0),
                })
            }
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                // It is among the outgoing bytes, which keep their order.
                sent.done();
                Ok(None)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Some(Turn::Blocked)),
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match wish {
                Wish::Read => Ok(Some(Turn::Blocked)),
                Wish::Write(content) => {
                    self.expect(content.len());
                    self.encode(|room| Encoded::from(traffic.encrypt(content, room)))
                        .map(|_| Some(Turn::Done))
                }
                Wish::Close => self
                    .encode(|room| Encoded::from(traffic.queue_close_notify(room)))
                    .map(|_| Some(Turn::Done)),
            },
            Ok(_) => Err(Error::General("an unknown state".into())),
        };
        (discard, step)
    }

    /// Has a buffer of the right size for that much content.
    fn expect(&mut self, content: usize) {
        let records = content.div_ceil(RECORD_BYTES);
        if self.outgoing.is_none() {
            let fits = content + records * RECORD_OVERHEAD + CONTROL_BYTES <= BUFFER_BYTES;
            *self.outgoing = Some(if fits { self.buffers.take() } else { self.buffers.take_large() });
        }
    }

    /// Appends a message to the outgoing bytes, of which there are then as many more as it needs.
    fn encode(&mut self, mut write: impl FnMut(&mut [u8]) -> Encoded) -> Result<Option<Turn>, Error> {
        let outgoing = self.outgoing.get_or_insert_with(|| self.buffers.take());
        loop {
            match write(outgoing.room()) {
                Encoded::Whole(count) => {
                    outgoing.advance(count);
                    return Ok(None);
                }
                // Bounded by what a handshake message or a write may be.
                Encoded::Lacks => _ = outgoing.grow(usize::MAX),
                Encoded::Never => return Err(Error::EncryptError),
            }
        }
    }
}

enum Encoded {
    Whole(usize),
    /// Nothing was written for want of room.
    Lacks,
    /// The keys must not be used any more.
    Never,
}

impl From<Result<usize, EncryptError>> for Encoded {
    fn from(result: Result<usize, EncryptError>) -> Self {
        match result {
            Ok(count) => Self::Whole(count),
            Err(EncryptError::InsufficientSize(_)) => Self::Lacks,
            Err(EncryptError::EncryptExhausted) => Self::Never,
        }
    }
}

impl Drop for Bytes {
    /// Gives the buffers back.
    fn drop(&mut self) {
        let held = [self.received.take(), self.plain.take(), self.outgoing.take()];
        held.into_iter().flatten().for_each(|buffer| self.buffers.put(buffer));
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client(_) => "Client",
            Self::Server(_) => "Server",
        })
    }
}
