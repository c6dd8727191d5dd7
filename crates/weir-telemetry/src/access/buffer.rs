use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{AccessLog, AccessRecord, AccessSettings, StreamRecord};
use crate::chunk::Chunk;
use crate::pen::Pen;
use crate::sink::Sink;
use crate::timestamp::{Timestamp, WallClock};

/// A buffer of this size is handed to the writer.
pub const ACCESS_BUFFER_BYTES: usize = 128 << 10;

/// Room for the line that fills a buffer, so that buffers seldom grow.
const SPARE_BYTES: usize = 4 << 10;

/// One worker's lines that are not written yet.
///
/// In steady state a line costs no allocation, no lock and no system call: full buffers go to the writer, and
/// emptied ones come back.
#[derive(Debug)]
pub struct AccessBuffer {
    log: AccessLog,
    settings: Arc<AccessSettings>,
    revision: u64,
    lines: Chunk,
    clock: WallClock,
    timestamp: Timestamp,
    /// Hundredths of a per cent that good records have saved up towards the next logged one.
    credit: u16,
    /// Left out since the last flush: the shared counter is not written for each request.
    sampled_out: u64,
}

impl AccessBuffer {
    pub(super) fn new(log: AccessLog) -> Self {
        let settings = Arc::new(AccessSettings::default());
        // Revision 0 is never current: the first line takes the settings.
        Self {
            log,
            settings,
            revision: 0,
            lines: Chunk::default(),
            clock: WallClock::new(),
            timestamp: Timestamp::new(),
            credit: 0,
            sampled_out: 0,
        }
    }

    /// Writes the line of a request, or leaves it out where sampling says so.
    pub fn push(&mut self, record: &AccessRecord<'_>) {
        self.push_line(record.timestamp_us, record.is_error(), |settings, time, pen| {
            record.write(settings, time, pen)
        });
    }

    /// Writes the line of a connection or a session, or leaves it out where sampling says so.
    pub fn push_stream(&mut self, record: &StreamRecord<'_>) {
        self.push_line(record.timestamp_us, record.is_error(), |settings, time, pen| {
            record.write(settings, time, pen)
        });
    }

    #[inline(always)]
    fn push_line(
        &mut self,
        timestamp_us: u64,
        is_error: bool,
        write: impl Fn(&AccessSettings, &[u8; 27], Pen<'_>) -> Option<usize>,
    ) {
        self.refresh();
        if self.settings.sink == Sink::Off {
            return;
        }
        if !is_error && !self.is_sampled() {
            self.sampled_out += 1;
            return;
        }
        self.lines.reserve(ACCESS_BUFFER_BYTES + SPARE_BYTES);
        let time = self.timestamp.text(timestamp_us);
        self.lines.push(|pen| write(&self.settings, time, pen));
        if self.lines.bytes().len() >= ACCESS_BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands what is there to the writer; called from the worker's tick. Never waits.
    pub fn flush(&mut self) {
        if self.sampled_out > 0 {
            self.log.0.sampled_out.add(std::mem::take(&mut self.sampled_out));
        }
        if !self.lines.is_empty() {
            self.lines = self.log.0.writer.write(std::mem::take(&mut self.lines));
        }
    }

    /// The time of day at a moment, for a record: microseconds since 1970. Cheaper than the system's clock, which is
    /// looked at five times a second.
    pub fn micros_at(&mut self, moment: Instant) -> u64 {
        self.clock.micros(moment)
    }

    /// Whether anything is logged at all: whoever gathers costly fields may ask first.
    pub fn is_on(&mut self) -> bool {
        self.refresh();
        self.settings.sink != Sink::Off
    }

    fn refresh(&mut self) {
        let revision = self.log.0.revision.load(Ordering::Acquire);
        if revision != self.revision {
            self.revision = revision;
            self.settings = Arc::clone(&self.log.0.settings.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Spread evenly instead of drawn: exactly the wanted share, and a test can tell which.
    fn is_sampled(&mut self) -> bool {
        const WHOLE: u16 = 10_000;
        self.credit += self.settings.sample.basis_points();
        let due = self.credit >= WHOLE;
        if due {
            self.credit -= WHOLE;
        }
        due
    }
}

impl Drop for AccessBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}
