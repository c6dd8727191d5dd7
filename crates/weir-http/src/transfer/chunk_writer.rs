use weir_net::{Buffer, Buffers};
use weir_wire::http1::{CHUNK_LINE_MAX, encode_chunk_line};

use super::Sink;

/// Collects data into one buffer, as one chunk or as it is.
pub(super) struct ChunkWriter {
    buffer: Buffer,
    /// Bytes kept free at the front for the size line.
    reserve: usize,
}

impl ChunkWriter {
    pub(super) fn new(mut buffer: Buffer, sink: Sink) -> Self {
        let reserve = if sink == Sink::Chunked { CHUNK_LINE_MAX } else { 0 };
        buffer.advance(reserve);
        Self { buffer, reserve }
    }

    fn data(&self) -> usize {
        self.buffer.filled().len() - self.reserve
    }

    /// How much data still fits; the CRLF after a chunk is set aside.
    pub(super) fn room(&self) -> usize {
        let behind = if self.reserve > 0 { 2 } else { 0 };
        weir_net::BUFFER_BYTES - self.reserve - behind - self.data()
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.room()[..data.len()].copy_from_slice(data);
        self.buffer.advance(data.len());
    }

    pub(super) fn into_buffer(mut self, buffers: &Buffers) -> Option<Buffer> {
        let size = self.data();
        if size == 0 {
            buffers.put(self.buffer);
            return None;
        }
        if self.reserve > 0 {
            self.buffer.room()[..2].copy_from_slice(b"\r\n");
            self.buffer.advance(2);
            let mut line = [0; CHUNK_LINE_MAX];
            let start = encode_chunk_line(size, &mut line);
            self.buffer.overwrite(start, &line[start..]);
            self.buffer.consume(start);
        }
        Some(self.buffer)
    }
}
