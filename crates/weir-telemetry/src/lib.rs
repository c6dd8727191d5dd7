//! What code may emit: counters, histograms, access records, events.
//!
//! Counters that belong to one worker stand on their own cache lines and cost no locked instruction; they are
//! merged when somebody asks. Log lines are formatted by the worker into its own buffer and written by one
//! thread; a sink that is slow, full or closed costs lines, which are counted, and never a request. Text that a
//! client chose is escaped in every format, secrets in it are starred, and long fields are cut
//! ([`FIELD_BYTES_MAX`]). Refused by construction: labels made from what a client sends have no place here; the
//! caller gives names from the configuration only.

mod access;
mod chunk;
mod event;
mod line;
mod metrics;
mod pen;
mod plain;
pub mod process;
mod sink;
mod target;
mod text;
mod timestamp;
pub mod trace;

pub use access::{
    ACCESS_BUFFER_BYTES, ACCESS_BUFFERS_MAX, AccessBuffer, AccessLog, AccessRecord, AccessSettings, Field,
    Fields, SHUTDOWN_FLUSH_MAX, StreamRecord, TlsRecord, Transport,
};
pub use event::{EVENTS_QUEUED_MAX, Format, Level, Log, Value};
pub use line::FIELD_BYTES_MAX;
pub use metrics::{Collect, Counter, Exposition, Gauge, Histogram, Kind, Registry, Shard, Shards, Tally};
pub use sink::Sink;
pub use timestamp::{date_time, now_micros};
