use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::frame::{self, code, flag, kind};
use super::hpack::Decoder;
use crate::message::Fields;
use crate::wire::ReadError;
use crate::{RawClient, wait};

/// The window of a stream and of a connection until somebody says otherwise.
const WINDOW_BYTES: u32 = 65_535;

/// A frame as it was read. Those of a header block are joined into one, whose fields are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// The payload, without padding.
    pub payload: Vec<u8>,
    /// The fields of HEADERS, pseudo fields first.
    pub fields: Fields,
}

impl Frame {
    /// The first four bytes as a number: the code of a RST_STREAM, the increment of a WINDOW_UPDATE.
    pub fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// The code of a GOAWAY.
    pub fn goaway_code(&self) -> Option<u32> {
        let code = self.payload.get(4..8)?.first_chunk()?;
        (self.kind == kind::GOAWAY).then_some(u32::from_be_bytes(*code))
    }

    fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }
}

/// What came on one stream, up to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status of the final head, 0 when none came; of a request, always 0.
    pub status: u16,
    /// The fields of the final head, pseudo fields among them.
    pub fields: Fields,
    /// Heads with a status of 1xx.
    pub interim: Vec<u16>,
    /// The data.
    pub body: Vec<u8>,
    /// The fields behind the data.
    pub trailers: Fields,
    /// The code of the RST_STREAM that ended it; `None` when END_STREAM did.
    pub reset: Option<u32>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the only field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H2Ending {
    /// The code of the last GOAWAY, when one was read.
    pub goaway: Option<u32>,
}

impl H2Ending {
    /// Whether the peer said that there was too much of something.
    pub fn is_calm(&self) -> bool {
        self.goaway == Some(code::ENHANCE_YOUR_CALM)
    }
}

/// One end of an HTTP/2 connection that sends exactly the bytes it is told to.
///
/// What it reads it answers as a sound peer would, unless [`RawH2::silent`] is set: SETTINGS and PING are acknowledged,
/// and data that was read is granted again.
pub struct RawH2 {
    tcp: RawClient,
    decoder: Decoder,
    /// Read while another stream was waited for.
    unread: VecDeque<Frame>,
    next_stream: u32,
    is_silent: bool,
    goaway: Option<u32>,
}

impl RawH2 {
    /// Connects with prior knowledge and sends the preface and empty SETTINGS.
    ///
    /// # Panics
    ///
    /// When the connection is refused.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[])
    }

    /// As [`RawH2::connect`], with these SETTINGS.
    pub fn connect_with(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::over(RawClient::connect(addr), settings)
    }

    /// The client's end over a connection that exists: one with a small receive buffer, or from another address.
    pub fn over(tcp: RawClient, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::bare(tcp, 1);
        raw.send([frame::PREFACE.to_vec(), frame::settings(settings)].concat());
        raw
    }

    /// The server's end of a connection: reads the preface and sends SETTINGS.
    ///
    /// # Errors
    ///
    /// When the peer sends something else, or closes.
    pub fn serve(tcp: RawClient, settings: &[(u16, u32)]) -> Result<Self, ReadError> {
        let mut raw = Self::bare(tcp, 2);
        let preface = raw.tcp.exactly(frame::PREFACE.len())?;
        if preface != frame::PREFACE {
            return Err(ReadError::Malformed(format!("no preface: {}", preface.escape_ascii())));
        }
        raw.send(frame::settings(settings));
        Ok(raw)
    }

    /// Neither sends nor reads anything by itself; streams begin with `next_stream`.
    pub fn bare(tcp: RawClient, next_stream: u32) -> Self {
        let decoder = Decoder::default();
        Self { tcp, decoder, unread: VecDeque::new(), next_stream, is_silent: false, goaway: None }
    }

    /// From here on nothing that is read is answered.
    pub fn silent(&mut self) {
        self.is_silent = true;
    }

    /// The number of the next stream, which is then taken.
    pub fn stream(&mut self) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        stream
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    ///
    /// When the peer has closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.send(bytes);
    }

    /// Sends all of `bytes`, or as much as the peer takes.
    ///
    /// # Errors
    ///
    /// When the peer has closed, or takes nothing for [`wait::PATIENCE`].
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tcp.try_send(bytes)
    }

    /// Sends a whole GET and answers its stream.
    pub fn request(&mut self, authority: &str, path: &str) -> u32 {
        self.headers(flag::END_STREAM, &frame::get_fields(authority, path))
    }

    /// Opens a stream with a HEADERS frame and answers its number.
    pub fn headers(&mut self, flags: u8, fields: &[(&str, &str)]) -> u32 {
        let stream = self.stream();
        self.send(frame::headers(stream, flags, fields));
        stream
    }

    /// A GET and its answer.
    pub fn get(&mut self, authority: &str, path: &str) -> Answer {
        let stream = self.request(authority, path);
        self.answer(stream)
    }

    /// Reads on until `stream` has ended.
    ///
    /// # Panics
    ///
    /// When the connection ends before it.
    pub fn answer(&mut self, stream: u32) -> Answer {
        self.try_answer(stream)
            .unwrap_or_else(|e| panic!("no answer on stream {stream}: {e:?}, {:?}", self.goaway))
    }

    /// As [`RawH2::answer`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`]; what GOAWAY said is in [`RawH2::goaway`].
    pub fn try_answer(&mut self, stream: u32) -> Result<Answer, ReadError> {
        let mut answer = Answer::default();
        loop {
            let frame = self.frame_of(stream)?;
            let is_end = frame.ends_stream();
            match frame.kind {
                kind::HEADERS => head(&mut answer, frame.fields)?,
                kind::DATA => answer.body.extend(frame.payload),
                kind::RST_STREAM => {
                    answer.reset = Some(frame.number());
                    return Ok(answer);
                }
                _ => {}
            }
            if is_end {
                return Ok(answer);
            }
        }
    }

    /// The next HEADERS that open a stream, which a server waits for.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn opened(&mut self) -> Result<Frame, ReadError> {
        self.wanted(|frame| frame.kind == kind::HEADERS && frame.fields.has(":method"))
    }

    /// Answers a request in a HEADERS frame and, unless `body` is empty, a DATA frame.
    ///
    /// # Errors
    ///
    /// Those of [`RawH2::try_send`].
    pub fn respond(
        &mut self,
        stream: u32,
        status: u16,
        fields: &[(&str, &str)],
        body: &str,
    ) -> io::Result<()> {
        let status = status.to_string();
        let fields = [&[(":status", status.as_str())], fields].concat();
        let end = if body.is_empty() { flag::END_STREAM } else { 0 };
        let mut bytes = frame::headers(stream, end, &fields);
        if !body.is_empty() {
            bytes.extend(frame::data(stream, flag::END_STREAM, body));
        }
        self.try_send(bytes)
    }

    /// The next frame of `stream`, or the next at all where it is 0.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn frame_of(&mut self, stream: u32) -> Result<Frame, ReadError> {
        self.wanted(|frame| stream == 0 || frame.stream == stream)
    }

    fn wanted(&mut self, is_wanted: impl Fn(&Frame) -> bool) -> Result<Frame, ReadError> {
        if let Some(at) = self.unread.iter().position(&is_wanted) {
            return Ok(self.unread.remove(at).expect("a position that was found"));
        }
        let deadline = Instant::now() + wait::PATIENCE;
        while Instant::now() < deadline {
            let frame = self.read()?;
            if is_wanted(&frame) {
                return Ok(frame);
            }
            self.unread.push_back(frame);
        }
        Err(ReadError::TimedOut)
    }

    /// Sends what `bytes` gives for 0, 1, 2 …, reading what comes back, until the peer ends the connection or `times` are
    /// sent; answers how often it was sent.
    pub fn flood(&mut self, times: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) -> u32 {
        for time in 0..times {
            if self.try_send(bytes(time)).is_err() || self.take_in() {
                return time;
            }
        }
        times
    }

    /// Reads what is there without waiting; true when the connection ends.
    fn take_in(&mut self) -> bool {
        loop {
            match self.tcp.is_readable().then(|| self.read()) {
                None => return self.goaway.is_some(),
                Some(Ok(frame)) => self.unread.push_back(frame),
                Some(Err(_)) => return true,
            }
        }
    }

    /// Reads up to the end of the connection.
    ///
    /// # Errors
    ///
    /// When it does not end within `limit`.
    pub fn ending(&mut self, limit: Duration) -> Result<H2Ending, ReadError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadError::TimedOut);
            }
            self.tcp.patience(left);
            let read = self.read();
            self.tcp.patience(wait::PATIENCE);
            match read {
                Ok(frame) => self.unread.push_back(frame),
                Err(ReadError::Closed | ReadError::Reset | ReadError::Cut { .. }) => {
                    return Ok(H2Ending { goaway: self.goaway });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The code of the last GOAWAY that was read.
    pub fn goaway(&self) -> Option<u32> {
        self.goaway
    }

    /// Whether `stream` has been reset by the peer, as far as that can be read without waiting; it stays unread.
    pub fn is_reset(&mut self, stream: u32) -> bool {
        self.take_in();
        self.unread.iter().any(|frame| frame.kind == kind::RST_STREAM && frame.stream == stream)
    }

    /// Frames that were read and not asked for, oldest first.
    pub fn unread(&self) -> impl Iterator<Item = &Frame> {
        self.unread.iter()
    }

    /// Reads a frame, or a whole header block, and answers it as a sound peer does.
    fn read(&mut self) -> Result<Frame, ReadError> {
        let mut frame = self.read_one(true)?;
        if matches!(frame.kind, kind::HEADERS | kind::PUSH_PROMISE) {
            while frame.flags & flag::END_HEADERS == 0 {
                let more = self.read_one(false)?;
                if more.kind != kind::CONTINUATION || more.stream != frame.stream {
                    return Err(ReadError::Malformed(format!("in a header block: {more:?}")));
                }
                frame.payload.extend(more.payload);
                frame.flags |= more.flags & flag::END_HEADERS;
            }
            frame.fields = self.decode(&frame.payload)?;
        }
        if frame.kind == kind::GOAWAY {
            self.goaway = frame.goaway_code();
        }
        if !self.is_silent {
            // A peer that has closed its reading half is found out by reading.
            let _ = self.try_send(reply(&frame));
        }
        Ok(frame)
    }

    fn read_one(&mut self, is_first: bool) -> Result<Frame, ReadError> {
        let header = self.tcp.exactly(9).map_err(|error| match error {
            ReadError::Cut { .. } if is_first && self.tcp.is_drained() => ReadError::Closed,
            error => error,
        })?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        if length > 1 << 14 || stream >> 31 != 0 {
            return Err(ReadError::Malformed(format!("frame header: {}", header.escape_ascii())));
        }
        let mut payload = self.tcp.exactly(length as usize)?;
        let (kind, flags) = (header[3], header[4]);
        if matches!(kind, kind::DATA | kind::HEADERS) && flags & flag::PADDED != 0 {
            let padding = usize::from(payload.remove(0));
            payload
                .truncate(payload.len().checked_sub(padding).ok_or(ReadError::Malformed("padding".into()))?);
        }
        if kind == kind::HEADERS && flags & flag::PRIORITY != 0 {
            payload.drain(..5);
        }
        Ok(Frame { kind, flags, stream, payload, fields: Fields::default() })
    }

    fn decode(&mut self, block: &[u8]) -> Result<Fields, ReadError> {
        let fields = self.decoder.decode(block);
        let fields =
            fields.ok_or_else(|| ReadError::Malformed(format!("header block: {}", block.escape_ascii())))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        match fields.iter().find(|(name, value)| !is_sound(name, value)) {
            Some(field) => Err(ReadError::Malformed(format!("a field that no peer may send: {field:?}"))),
            None => Ok(Fields(fields)),
        }
    }
}

/// What RFC 9113 section 8.2 forbids in any message.
fn is_sound(name: &str, value: &str) -> bool {
    let is_name = !name.is_empty() && !name.bytes().any(|b| b <= b' ' || b >= 0x7f || b.is_ascii_uppercase());
    let is_free =
        !["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"].contains(&name);
    is_name
        && is_free
        && !value.bytes().any(|b| matches!(b, 0 | b'\r' | b'\n'))
        && value.trim_ascii() == value
}

fn head(answer: &mut Answer, fields: Fields) -> Result<(), ReadError> {
    let status = fields.get(":status").map(str::parse::<u16>);
    match status {
        Some(Ok(status @ 100..200)) => answer.interim.push(status),
        Some(Ok(status)) if answer.status == 0 => (answer.status, answer.fields) = (status, fields),
        None if answer.status == 0 && fields.has(":method") => answer.fields = fields,
        None => answer.trailers = fields,
        Some(_) => return Err(ReadError::Malformed(format!("a head out of place: {fields:?}"))),
    }
    Ok(())
}

/// What a sound peer answers `frame` with at once.
fn reply(frame: &Frame) -> Vec<u8> {
    let length = frame.payload.len() as u32;
    match frame.kind {
        kind::SETTINGS if frame.flags & flag::ACK == 0 => frame::frame(kind::SETTINGS, flag::ACK, 0, []),
        kind::PING if frame.flags & flag::ACK == 0 => frame::frame(kind::PING, flag::ACK, 0, &frame.payload),
        kind::DATA if length > 0 && length <= WINDOW_BYTES => {
            let connection = frame::window_update(0, length);
            if frame.ends_stream() {
                connection
            } else {
                [connection, frame::window_update(frame.stream, length)].concat()
            }
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TcpOrigin;

    fn echo_path(tcp: RawClient) {
        let Ok(mut server) = RawH2::serve(tcp, &[]) else { return };
        while let Ok(request) = server.opened() {
            let path = request.fields.get(":path").expect("a request has a path").to_owned();
            let length = path.len().to_string();
            let _ = server.respond(request.stream, 200, &[("x-length", &length)], &path[..path.len().min(9)]);
        }
    }

    #[test]
    fn both_ends_understand_each_other_whatever_the_order() {
        let origin = TcpOrigin::start(echo_path);
        let mut client = RawH2::connect(origin.addr());
        let streams: Vec<u32> = ["/a", "/b", "/c"].iter().map(|path| client.request("test", path)).collect();
        for (stream, path) in streams.into_iter().zip(["/a", "/b", "/c"]).rev() {
            let answer = client.answer(stream);
            assert_eq!(
                (answer.status, answer.text().as_str(), answer.field("x-length")),
                (200, path, Some("2"))
            );
        }
    }

    #[test]
    fn long_strings_and_split_blocks_are_read_as_they_were_sent() {
        let long = format!("/{}", "x".repeat(40_000));
        let origin = TcpOrigin::start(echo_path);
        let mut client = RawH2::connect(origin.addr());
        let stream = client.stream();
        let block = frame::block(&frame::get_fields("test", &long));
        client.send(frame::frame(kind::HEADERS, flag::END_STREAM, stream, &block[..16_000]));
        client.send(frame::frame(kind::CONTINUATION, 0, stream, &block[16_000..32_000]));
        client.send(frame::frame(kind::CONTINUATION, flag::END_HEADERS, stream, &block[32_000..]));
        assert_eq!(client.answer(stream).field("x-length"), Some("40001"));
    }

    #[test]
    fn an_ending_tells_the_code_of_the_goaway() {
        let origin = TcpOrigin::start(|tcp| {
            let mut server = RawH2::serve(tcp, &[]).expect("a client");
            let _ = server.try_send(frame::goaway(0, code::ENHANCE_YOUR_CALM));
        });
        let mut client = RawH2::connect(origin.addr());
        assert!(client.ending(wait::PATIENCE).expect("an end").is_calm());
    }
}
