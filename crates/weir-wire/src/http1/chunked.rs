use thiserror::Error;

use super::Head;
use super::head::FieldError;

/// Reads a chunked body (RFC 9112 section 7.1) piece by piece.
///
/// Strict where readers differ: sizes are 1 to 16 hexadecimal digits followed by CRLF or `;`, extensions are
/// dropped and bounded, a bare CR or LF or a control byte ends the connection. The caller re-chunks what it
/// forwards; nothing of the peer's own chunking passes through.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of extensions seen in this body.
    extension_bytes: u32,
    /// The trailer section, with its line ends.
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size { value: u64, digits: u8 },
    /// In the extensions after a size.
    Extension { size: u64 },
    /// After the CR of a size line.
    SizeLf { size: u64 },
    /// In the data of a chunk, with that many bytes to come.
    Data { left: u64 },
    /// After the data.
    DataCr,
    /// After the CR that follows the data.
    DataLf,
    /// In the trailer section, which may be empty.
    Trailers { line_start: u32 },
    /// After the last CRLF.
    Done,
}

/// One step of a [`ChunkedDecoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// All of the input was taken and held no data, or what there was has been returned before.
    More,
    /// Data stands at `start..end` of the input; everything before `end` was taken.
    Data {
        /// Where the data starts.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// The body is complete after `end` bytes of the input.
    End {
        /// Where what follows the body starts.
        end: usize,
    },
}

/// Why bytes are not a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// Not a hexadecimal number of at most 16 digits and 2^63 - 1.
    #[error("a chunk size is not valid")]
    BadSize,
    /// A control byte in an extension.
    #[error("a chunk extension is not valid")]
    BadExtension,
    /// More extension bytes in one body than [`EXTENSION_BYTES_MAX`].
    #[error("there are too many chunk extensions")]
    ExtensionsTooLong,
    /// A CR or LF that is not part of a CRLF, or data longer than its size.
    #[error("a chunk does not end with CRLF")]
    BadLineEnd,
    /// The trailer section is longer than [`TRAILER_BYTES_MAX`].
    #[error("the trailer section is too long")]
    TrailersTooLong,
    /// A trailer line that is no field line.
    #[error("a trailer field is not valid")]
    BadTrailer,
}

/// Most bytes of chunk extensions in one body: nobody uses them, but each costs the reader work.
pub const EXTENSION_BYTES_MAX: u32 = 4 << 10;

/// Longest trailer section in bytes.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;

/// Most trailer fields.
pub const TRAILER_FIELDS_MAX: usize = 64;

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, extension_bytes: 0, trailers: Vec::new() }
    }
}

impl ChunkedDecoder {
    /// Takes bytes until data, the end, or no more input. Call again with the rest after [`Chunk::Data`].
    ///
    /// # Errors
    ///
    /// [`ChunkError`]; the connection must then be closed.
    pub fn next(&mut self, input: &[u8]) -> Result<Chunk, ChunkError> {
        let mut at = 0;
        while at < input.len() {
            let b = input[at];
            self.state = match self.state {
                State::Data { left } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    return Ok(Chunk::Data { start: at, end: at + taken });
                }
                State::Size { value, digits } => self.size(b, value, digits)?,
                State::Extension { size } => self.extension(b, size)?,
                State::SizeLf { size } => match (b, size) {
                    (b'\n', 0) => State::Trailers { line_start: 0 },
                    (b'\n', left) => State::Data { left },
                    _ => return Err(ChunkError::BadLineEnd),
                },
                State::DataCr if b == b'\r' => State::DataLf,
                State::DataLf if b == b'\n' => State::Size { value: 0, digits: 0 },
                State::DataCr | State::DataLf => return Err(ChunkError::BadLineEnd),
                State::Trailers { line_start } => self.trailer(b, line_start)?,
                State::Done => return Ok(Chunk::End { end: at }),
            };
            at += 1;
            if self.state == State::Done {
                return Ok(Chunk::End { end: at });
            }
        }
        Ok(if self.state == State::Done { Chunk::End { end: at } } else { Chunk::More })
    }

    fn size(&mut self, b: u8, value: u64, digits: u8) -> Result<State, ChunkError> {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            b'\r' if digits > 0 => return Ok(State::SizeLf { size: value }),
            b';' if digits > 0 => return self.extension(b, value),
            _ => return Err(ChunkError::BadSize),
        };
        if digits == 16 || value > (i64::MAX as u64) >> 4 {
            return Err(ChunkError::BadSize);
        }
        Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
    }

    fn extension(&mut self, b: u8, size: u64) -> Result<State, ChunkError> {
        match b {
            b'\r' => Ok(State::SizeLf { size }),
            b'\t' | 0x20..=0x7e | 0x80.. => {
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(ChunkError::ExtensionsTooLong);
                }
                Ok(State::Extension { size })
            }
            _ => Err(ChunkError::BadExtension),
        }
    }

    fn trailer(&mut self, b: u8, line_start: u32) -> Result<State, ChunkError> {
        if self.trailers.len() == TRAILER_BYTES_MAX {
            return Err(ChunkError::TrailersTooLong);
        }
        self.trailers.push(b);
        if b != b'\n' {
            return Ok(State::Trailers { line_start });
        }
        let line = &self.trailers[line_start as usize..];
        if line.len() < 2 || line[line.len() - 2] != b'\r' {
            return Err(ChunkError::BadLineEnd);
        }
        let empty = line.len() == 2;
        Ok(if empty { State::Done } else { State::Trailers { line_start: self.trailers.len() as u32 } })
    }

    /// Whether the last byte of the body was taken.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads the trailer fields into `into`, without those that may not stand there; after the end only.
    ///
    /// # Errors
    ///
    /// [`ChunkError::BadTrailer`] for lines that are no field lines, or too many.
    pub fn trailers(&mut self, into: &mut Head) -> Result<(), ChunkError> {
        into.clear();
        if self.trailers.len() <= 2 {
            return Ok(());
        }
        into.bytes.append(&mut self.trailers);
        into.read_fields(0, TRAILER_FIELDS_MAX).map_err(|_: FieldError| ChunkError::BadTrailer)?;
        into.retain(|_, name, _| super::trailer::may_be_trailer(name));
        Ok(())
    }
}

/// Longest line that [`encode_chunk_line`] writes: 16 digits and CRLF.
pub const CHUNK_LINE_MAX: usize = 18;

/// Writes the size line of a chunk of `size` bytes to the end of `line`; returns where it starts.
pub fn encode_chunk_line(size: usize, line: &mut [u8; CHUNK_LINE_MAX]) -> usize {
    line[CHUNK_LINE_MAX - 2] = b'\r';
    line[CHUNK_LINE_MAX - 1] = b'\n';
    let mut at = CHUNK_LINE_MAX - 2;
    let mut rest = size;
    loop {
        at -= 1;
        line[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize), ChunkError> {
        let mut decoder = ChunkedDecoder::default();
        let mut data = Vec::new();
        let mut base = 0;
        for piece in input.chunks(step) {
            let mut at = 0;
            loop {
                match decoder.next(&piece[at..])? {
                    Chunk::More => break,
                    Chunk::Data { start, end } => {
                        data.extend_from_slice(&piece[at + start..at + end]);
                        at += end;
                    }
                    Chunk::End { end } => return Ok((data, base + at + end)),
                }
            }
            base += piece.len();
        }
        panic!("no end in {input:?}")
    }

    #[test]
    fn bodies_are_read_however_they_are_split() {
        let input = b"5\r\nhello\r\n00A;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nGET /";
        for step in 1..=input.len() {
            let (data, end) = decode(input, step).unwrap();
            assert_eq!(data, b"hello0123456789", "step {step}");
            assert_eq!(&input[end..], b"GET /", "step {step}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        use ChunkError::*;
        let cases: [(&[u8], ChunkError); 22] = [
            (b"\r\n", BadSize),
            (b"0x5\r\nhello\r\n", BadSize),
            (b"+5\r\nhello\r\n", BadSize),
            (b"-5\r\nhello\r\n", BadSize),
            (b" 5\r\nhello\r\n", BadSize),
            (b"5 \r\nhello\r\n", BadSize),
            (b"5\t\r\nhello\r\n", BadSize),
            (b"1_0\r\n", BadSize),
            (b"g\r\n", BadSize),
            (b"8000000000000000\r\n", BadSize),
            (b"00000000000000005\r\nhello\r\n", BadSize),
            (b"5\nhello\r\n", BadSize),
            (b"5\rhello\r\n", BadLineEnd),
            (b"5;a\nhello\r\n", BadExtension),
            (b"5;a\0b\r\nhello\r\n", BadExtension),
            (b"5;a\rb\r\nhello\r\n", BadLineEnd),
            (b"5\r\nhelloX\r\n", BadLineEnd),
            (b"5\r\nhello\n", BadLineEnd),
            (b"5\r\nhello\rX", BadLineEnd),
            (b"0\r\n\n", BadLineEnd),
            (b"0\r\nA: b\n\r\n", BadLineEnd),
            (b"5\r\nhello\r\n\r\n", BadSize),
        ];
        for (input, error) in cases {
            for step in [1, input.len()] {
                assert_eq!(decode(input, step).err(), Some(error), "{:?}", String::from_utf8_lossy(input));
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut long = b"5;".to_vec();
        long.resize(EXTENSION_BYTES_MAX as usize + 10, b'x');
        assert_eq!(decode(&long, 100).err(), Some(ChunkError::ExtensionsTooLong));
        let mut long = b"0\r\nA: ".to_vec();
        long.resize(TRAILER_BYTES_MAX + 10, b'x');
        assert_eq!(decode(&long, 100).err(), Some(ChunkError::TrailersTooLong));
    }

    #[test]
    fn trailers_lose_what_may_not_stand_there() {
        let mut decoder = ChunkedDecoder::default();
        let end = decoder.next(b"0\r\nHost: evil\r\nX-Sum: 1\r\nx-real.ip: 1\r\n\r\n").unwrap();
        assert!(matches!(end, Chunk::End { .. }));
        let mut head = Head::default();
        decoder.trailers(&mut head).unwrap();
        let names: Vec<_> = head.iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, [b"X-Sum"]);
    }

    #[test]
    fn size_lines_are_written_without_leading_zeros() {
        let mut line = [0; CHUNK_LINE_MAX];
        for (size, text) in [(1, "1\r\n"), (16, "10\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
            let start = encode_chunk_line(size, &mut line);
            assert_eq!(&line[start..], text.as_bytes());
        }
    }
}
