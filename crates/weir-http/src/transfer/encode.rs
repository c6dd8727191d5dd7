//! What has to be put in another form on its way: chunks, frames, the end.

use weir_net::{Buffers, Spares};
use weir_wire::http1::{CHUNK_LINE_MAX, Chunk, Head, encode_chunk_line};

use super::chunk_writer::ChunkWriter;
use super::{End, Frames, Sink, Source, Tap, Transfer, TransferError};
use crate::trailers::{Denied, TrailerRules};
use crate::wire::Wire;

impl Transfer {
    /// Turns buffered bytes of the source into what the sink is written, or drops them.
    pub(super) fn encode(
        &mut self,
        from: &mut Wire,
        buffers: &Buffers,
        tap: &mut impl Tap,
    ) -> Result<(), TransferError> {
        let is_plain = self.sink != Sink::Discard && self.filtering.is_none();
        let mut out = is_plain.then(|| ChunkWriter::new(buffers.take(), self.sink));
        loop {
            let room = out.as_ref().map_or(usize::MAX, ChunkWriter::room);
            if from.is_empty() || room == 0 {
                break;
            }
            let filled = from.filled();
            let filled = &filled[..filled.len().min(room)];
            let (taken, data, ended) = match &mut self.source {
                Source::Chunked(chunks) => {
                    match chunks.decoder.next(filled).map_err(TransferError::SourceMalformed)? {
                        Chunk::More => (filled.len(), 0..0, false),
                        Chunk::Data { start, end } => (end, start..end, false),
                        Chunk::End { end } => (end, 0..0, true),
                    }
                }
                Source::Length(left) => {
                    let count = filled.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    (count, 0..count, *left == count as u64)
                }
                Source::Frames(_) => (filled.len(), 0..filled.len(), false),
                Source::UntilClose => (filled.len(), 0..filled.len(), false),
                Source::Finished => break,
            };
            self.allow(data.len() as u64)?;
            self.bytes += data.len() as u64;
            if let Source::Length(left) | Source::Frames(Frames { left: Some(left), .. }) = &mut self.source {
                *left -= data.len() as u64;
            }
            if let Some(out) = &mut out {
                out.push(&filled[data.clone()]);
                tap.took(&filled[data]);
            } else if let Some(filtering) = &mut self.filtering {
                filtering.push(&filled[data], tap).map_err(TransferError::Refused)?;
            }
            let is_last = from.is_framed() && taken == from.filled().len() && from.is_last();
            from.consume(taken);
            match &self.source {
                Source::Frames(_) if is_last => return self.end_frames(from, out, buffers, tap),
                Source::Chunked(_) | Source::Length(_) if ended => return self.end(out, buffers, tap),
                _ => {}
            }
        }
        self.moved = true;
        self.encoded = out.and_then(|out| out.into_buffer(buffers));
        Ok(())
    }

    /// The source's body is complete: what is left of it is encoded, with the trailers.
    fn end(
        &mut self,
        out: Option<ChunkWriter>,
        buffers: &Buffers,
        tap: &mut impl Tap,
    ) -> Result<(), TransferError> {
        let mut trailers = Head::default();
        let mut rules = TrailerRules::default();
        if let Source::Chunked(chunks) = &mut self.source {
            chunks.decoder.trailers(&mut trailers).map_err(TransferError::SourceMalformed)?;
            rules = std::mem::take(&mut chunks.trailers);
        }
        self.conclude(out, trailers, &rules, buffers, tap)
    }

    /// The same for a body in data frames, whose end was read from its stream.
    pub(super) fn end_frames(
        &mut self,
        from: &mut Wire,
        out: Option<ChunkWriter>,
        buffers: &Buffers,
        tap: &mut impl Tap,
    ) -> Result<(), TransferError> {
        let mut trailers = Head::default();
        let mut rules = TrailerRules::default();
        if let Source::Frames(frames) = &mut self.source {
            if frames.left.is_some_and(|left| left > 0) {
                return Err(TransferError::SourceDisagrees);
            }
            rules = std::mem::take(&mut frames.trailers);
        }
        from.take_trailers(&mut trailers).map_err(TransferError::SourceMalformed)?;
        self.conclude(out, trailers, &rules, buffers, tap)
    }

    pub(super) fn conclude(
        &mut self,
        out: Option<ChunkWriter>,
        mut trailers: Head,
        rules: &TrailerRules,
        buffers: &Buffers,
        tap: &mut impl Tap,
    ) -> Result<(), TransferError> {
        self.source = Source::Finished;
        if matches!(self.sink, Sink::Chunked | Sink::Frames) || self.filtering.is_some() {
            rules.apply(&mut trailers).map_err(|Denied| TransferError::TrailerDenied)?;
        }
        self.moved = true;
        self.encoded = out.and_then(|out| out.into_buffer(buffers));
        if let Some(filtering) = &mut self.filtering {
            filtering.end(&mut trailers, tap).map_err(TransferError::Refused)?;
        }
        self.trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
        if !self.is_filtering() {
            self.finish(buffers);
        }
        Ok(())
    }

    /// Has the end told as the sink wants it: by the last chunk and the trailers, or by the end of the stream.
    pub(super) fn finish(&mut self, buffers: &Buffers) {
        match self.sink {
            Sink::Raw | Sink::Discard => {}
            Sink::Frames if self.trailers.is_some() => self.end = End::DueWithTrailers,
            Sink::Frames => self.end = End::Due,
            Sink::Chunked => {
                let mut end = Vec::new();
                self.write_last_chunk(&mut end);
                self.encoded.get_or_insert_with(|| buffers.take()).extend(&end);
            }
        }
    }

    /// Writes the last chunk and the trailers, which are bounded.
    fn write_last_chunk(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"0\r\n");
        if let Some(trailers) = &self.trailers {
            trailers.write_fields(out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// From now on writes to a sink that knows nothing of the body yet. What was taken from the source before is in
    /// `replay`, and goes to `out` in the form that the sink wants.
    pub(crate) fn aim(&mut self, sink: Sink, replay: &[u8], out: &mut Vec<u8>, spares: &Spares) {
        self.free(spares);
        if let Some(filtering) = &mut self.filtering {
            filtering.forget_passed();
        }
        self.sink = sink;
        self.end = End::Told;
        if sink == Sink::Chunked && !replay.is_empty() {
            let mut line = [0; CHUNK_LINE_MAX];
            let start = encode_chunk_line(replay.len(), &mut line);
            out.extend_from_slice(&line[start..]);
        }
        out.extend_from_slice(replay);
        if sink == Sink::Chunked && !replay.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        match (&self.source, sink) {
            (Source::Finished, Sink::Chunked) => self.write_last_chunk(out),
            (Source::Finished, Sink::Frames) if self.trailers.is_some() => self.end = End::DueWithTrailers,
            (Source::Finished, Sink::Frames) if !replay.is_empty() => self.end = End::Due,
            _ => {}
        }
    }

    /// Whether the end of the stream is told with the last byte of what [`aim`](Self::aim) gave out.
    pub(crate) fn ends_with_replay(&self) -> bool {
        self.end == End::Due && self.encoded.is_none()
    }

    /// It was.
    pub(crate) fn told_end(&mut self) {
        self.end = End::Told;
    }
}
