use weir_net::Buffers;
use weir_wire::http1::Head;

use super::chunk_writer::ChunkWriter;
use super::{Source, Tap, Transfer, TransferError};
use crate::filter::{BodyFilter, FilterError};

/// A filter with what has come out of it and is not written yet.
///
/// The source is read only when that is written: as much as the filter makes of one buffer, beside what it keeps.
#[derive(Debug)]
pub(super) struct Filtering {
    filter: Box<dyn BodyFilter>,
    out: Vec<u8>,
    /// Bytes of `out` that were encoded for the sink.
    taken: usize,
    /// Whether the filter got bytes since it was last told of a pause.
    may_keep: bool,
    /// Bytes that have come out.
    pub(super) bytes: u64,
}

/// Largest memory for what comes out that is kept for what comes next.
const KEPT_BYTES_MAX: usize = 64 << 10;

impl Filtering {
    pub(super) fn new(filter: Box<dyn BodyFilter>) -> Box<Self> {
        Box::new(Self { filter, out: Vec::new(), taken: 0, may_keep: false, bytes: 0 })
    }

    pub(super) fn push(&mut self, bytes: &[u8], tap: &mut impl Tap) -> Result<(), FilterError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.may_keep = true;
        self.run(tap, |filter, out| filter.push(bytes, out))
    }

    pub(super) fn end(&mut self, trailers: &mut Head, tap: &mut impl Tap) -> Result<(), FilterError> {
        self.may_keep = false;
        self.run(tap, |filter, out| filter.end(trailers, out))
    }

    /// Lets the filter work, and shows what comes out.
    fn run(
        &mut self,
        tap: &mut impl Tap,
        work: impl FnOnce(&mut dyn BodyFilter, &mut Vec<u8>) -> Result<(), FilterError>,
    ) -> Result<(), FilterError> {
        let before = self.out.len();
        work(&mut *self.filter, &mut self.out)?;
        let new = &self.out[before..];
        self.bytes += new.len() as u64;
        if !new.is_empty() {
            tap.took(new);
        }
        Ok(())
    }

    /// What has come out is written in another way.
    pub(super) fn forget_passed(&mut self) {
        self.out.clear();
        self.taken = 0;
    }
}

impl Transfer {
    /// Whether something has come out of the filter that is not written yet.
    pub(super) fn is_filtering(&self) -> bool {
        self.filtering.as_ref().is_some_and(|filtering| filtering.taken < filtering.out.len())
    }

    /// The source has nothing more at the moment: whether something came out of the filter for that.
    pub(super) fn pause(&mut self, tap: &mut impl Tap) -> Result<bool, TransferError> {
        let Some(filtering) = &mut self.filtering else { return Ok(false) };
        if std::mem::take(&mut filtering.may_keep) {
            filtering.run(tap, |filter, out| filter.pause(out)).map_err(TransferError::Refused)?;
        }
        Ok(self.is_filtering())
    }

    /// Has a buffer of what came out of the filter written; with the last of it, the end is told.
    pub(super) fn encode_filtered(&mut self, buffers: &Buffers) {
        let Some(filtering) = &mut self.filtering else { return };
        let mut writer = ChunkWriter::new(buffers.take(), self.sink);
        let left = &filtering.out[filtering.taken..];
        let count = left.len().min(writer.room());
        writer.push(&left[..count]);
        filtering.taken += count;
        let is_all = filtering.taken == filtering.out.len();
        if is_all {
            filtering.forget_passed();
            filtering.out.shrink_to(KEPT_BYTES_MAX);
        }
        self.encoded = writer.into_buffer(buffers);
        if is_all && matches!(self.source, Source::Finished) {
            self.finish(buffers);
        }
    }
}
