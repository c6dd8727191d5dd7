use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ends of streams that are remembered until a reset may follow them.
const ENDED_MAX: usize = 256;

/// Streams remembered that were reset, without an error, behind their end.
const WHOLE_MAX: usize = 1024;

/// Which answers on an HTTP/2 connection were whole before their stream was reset without an error, as a server does
/// that wants no more of the request (RFC 9113 section 8.1).
///
/// The library forgets an end that a reset follows, so that it is read here from the bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct Ends(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The header of the frame that comes, and the code of a reset.
    head: [u8; HEADER_BYTES + CODE_BYTES],
    have: usize,
    /// Bytes of the frame that say nothing here.
    skip: usize,
    ended: VecDeque<u32>,
    whole: VecDeque<u32>,
}

const HEADER_BYTES: usize = 9;
const CODE_BYTES: usize = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

impl Ends {
    /// Looks at bytes that the peer has sent, in any pieces.
    pub(crate) fn pass(&self, bytes: &[u8]) {
        self.locked().pass(bytes);
    }

    /// Whether the stream's answer was whole when it was reset without an error.
    pub(crate) fn was_whole(&self, stream: u32) -> bool {
        self.locked().whole.contains(&stream)
    }

    fn locked(&self) -> MutexGuard<'_, Seen> {
        // One thread's alone; each critical section leaves whole data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (self.wanted() - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have >= HEADER_BYTES && self.have == self.wanted() {
                self.frame();
            }
        }
    }

    /// Bytes of the frame that say something.
    fn wanted(&self) -> usize {
        let is_reset = self.have >= HEADER_BYTES && self.head[3] == RST_STREAM && self.length() == CODE_BYTES;
        if is_reset { HEADER_BYTES + CODE_BYTES } else { HEADER_BYTES }
    }

    fn length(&self) -> usize {
        usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2])
    }

    fn frame(&mut self) {
        let [_, _, _, kind, flags, a, b, c, d, code @ ..] = self.head;
        let stream = u32::from_be_bytes([a & 0x7f, b, c, d]);
        match kind {
            DATA | HEADERS if flags & END_STREAM != 0 => remember(&mut self.ended, stream, ENDED_MAX),
            RST_STREAM if code == [0; CODE_BYTES] && self.ended.contains(&stream) => {
                remember(&mut self.whole, stream, WHOLE_MAX);
            }
            _ => {}
        }
        self.skip = self.length() - (self.have - HEADER_BYTES);
        self.have = 0;
    }
}

fn remember(streams: &mut VecDeque<u32>, stream: u32, max: usize) {
    if streams.len() == max {
        streams.pop_front();
    }
    streams.push_back(stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    #[test]
    fn an_answer_is_whole_that_ended_before_a_reset_without_an_error() {
        let bytes = [
            frame(4, 0, 0, &[0; 12]),
            frame(HEADERS, 4, 1, b"block"),
            frame(DATA, END_STREAM, 1, b"body"),
            frame(RST_STREAM, 0, 1, &[0; 4]),
            frame(DATA, 0, 3, b"body"),
            frame(RST_STREAM, 0, 3, &[0; 4]),
            frame(HEADERS, 4 | END_STREAM, 5, b""),
            frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]),
            frame(HEADERS, 4 | END_STREAM, 7, b"x"),
            frame(RST_STREAM, 0, 7, &[0; 4]),
        ]
        .concat();
        for size in 1..=bytes.len() {
            let ends = Ends::default();
            bytes.chunks(size).for_each(|piece| ends.pass(piece));
            assert_eq!(
                [1, 3, 5, 7].map(|stream| ends.was_whole(stream)),
                [true, false, false, true],
                "{size}"
            );
        }
    }

    #[test]
    fn no_more_streams_are_remembered_than_may_be() {
        let ends = Ends::default();
        for _ in 0..2 * WHOLE_MAX {
            ends.pass(&frame(DATA, END_STREAM, 1, b""));
            ends.pass(&frame(RST_STREAM, 0, 1, &[0; 4]));
        }
        let seen = ends.locked();
        assert_eq!((seen.ended.len(), seen.whole.len()), (ENDED_MAX, WHOLE_MAX));
    }
}
