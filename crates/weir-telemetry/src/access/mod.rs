mod buffer;
mod field;
mod record;
mod stream;
mod tls;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_base::Percent;

pub use buffer::{ACCESS_BUFFER_BYTES, AccessBuffer};
pub use field::{Field, Fields};
pub use record::AccessRecord;
pub use stream::{StreamRecord, Transport};
pub use tls::TlsRecord;

use crate::sink::{Sink, Writer};
use crate::{Collect, Counter, Exposition, Format, Kind, Level, Log, Value};

/// Full buffers that may wait for the writer: 16 MiB, used only while the sink stalls. At 100,000 requests a second
/// with lines of 400 bytes that is 0.4 s, longer than a disk's ordinary pauses. Where the sink is slower still, later
/// lines are dropped and counted.
pub const ACCESS_BUFFERS_MAX: usize = 128;

/// Longest wait for the last lines when the process ends.
pub const SHUTDOWN_FLUSH_MAX: Duration = Duration::from_secs(2);

/// How requests, connections and sessions are logged; may change at a reload without losing a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// What the lines call this service; default `weir`.
    pub service_name: String,
    /// Default JSON.
    pub format: Format,
    /// Which of the fields of a request, connection or session are written; default all.
    pub fields: Fields,
    /// How many of the good requests, connections and sessions are logged; default all. Errors always are.
    pub sample: Percent,
    /// Default standard output.
    pub sink: Sink,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            service_name: "weir".to_owned(),
            format: Format::Json,
            fields: Fields::ALL,
            sample: Percent::ALL,
            sink: Sink::Stdout,
        }
    }
}

/// The access log of the process. Cheap to clone; workers write into an [`AccessBuffer`] each.
#[derive(Clone)]
pub struct AccessLog(Arc<Shared>);

struct Shared {
    settings: Mutex<Arc<AccessSettings>>,
    /// Changes with `settings`; what a worker looks at for each line.
    revision: AtomicU64,
    writer: Writer,
    sampled_out: Counter,
    log: Log,
}

impl AccessLog {
    /// Starts the writer; `log` is told when the sink fails, at most once a minute.
    ///
    /// # Errors
    ///
    /// When the sink cannot be opened, with its name, or the writing thread cannot be started.
    pub fn new(settings: AccessSettings, log: Log) -> io::Result<Self> {
        settings.sink.check()?;
        let told = log.clone();
        let report = move |error: &io::Error, dropped: u64| failed(&told, error, dropped);
        let writer =
            Writer::start("weir-access", settings.sink.clone(), ACCESS_BUFFERS_MAX, Box::new(report))?;
        Ok(Self(Arc::new(Shared {
            settings: Mutex::new(Arc::new(settings)),
            revision: AtomicU64::new(1),
            writer,
            sampled_out: Counter::default(),
            log,
        })))
    }

    /// A buffer for one worker.
    pub fn for_worker(&self) -> AccessBuffer {
        AccessBuffer::new(self.clone())
    }

    /// Logs later requests so. The sink is opened anew where it changed; where that fails, which is logged, the lines
    /// go on to where they went.
    pub fn reconfigure(&self, mut settings: AccessSettings) {
        let running = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner).sink.clone();
        if settings.sink != running
            && let Err(error) = settings.sink.check()
        {
            failed(&self.0.log, &error, self.dropped());
            settings.sink = running;
        }
        let sink = settings.sink.clone();
        let before = {
            let mut current = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::new(settings))
        };
        self.0.revision.fetch_add(1, Ordering::Release);
        if before.sink != sink {
            self.0.writer.set_sink(sink);
        }
    }

    /// Opens the file anew, for a log that was moved away.
    pub fn reopen(&self) {
        self.0.writer.reopen();
    }

    /// Waits until all lines that workers handed over are written; `false` where that took longer than `limit`.
    ///
    /// Workers flush or drop their buffers first.
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.writer.flush(limit)
    }

    /// Lines lost because the sink was slow or failed.
    pub fn dropped(&self) -> u64 {
        self.0.writer.dropped()
    }
}

fn failed(log: &Log, error: &io::Error, dropped: u64) {
    let fields = [("error", Value::Str(&error.to_string())), ("dropped", Value::U64(dropped))];
    log.event(Level::Error, "access_log_failed", &fields);
}

impl Collect for AccessLog {
    fn collect(&self, out: &mut Exposition) {
        let (writer, log) = (&self.0.writer, &self.0.log);
        out.family("weir_log_lines_total", "Lines written, by log.", Kind::Counter)
            .sample(&[("log", "access")], writer.written() as f64)
            .sample(&[("log", "events")], log.written() as f64);
        out.family(
            "weir_log_lines_dropped_total",
            "Lines lost to a slow or failing sink, by log.",
            Kind::Counter,
        )
        .sample(&[("log", "access")], writer.dropped() as f64)
        .sample(&[("log", "events")], log.dropped() as f64);
        out.family("weir_log_write_failures_total", "Writes to the access log that failed.", Kind::Counter)
            .sample(&[], writer.failures() as f64);
        out.family(
            "weir_log_sampled_out_total",
            "Good requests, connections and sessions not logged because of access_sample.",
            Kind::Counter,
        )
        .sample(&[], self.0.sampled_out.get() as f64);
    }
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
