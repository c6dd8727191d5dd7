use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::chunk::Chunk;
use crate::line::Line;
use crate::pen::Pen;
use crate::sink::{Sink, Writer};
use crate::timestamp::{Timestamp, now_micros};

/// Events waiting for standard error: about 0.5 MiB. Later ones are dropped and counted.
pub const EVENTS_QUEUED_MAX: usize = 1_024;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happens in the ordinary course.
    #[default]
    Info,
    /// What somebody should look at some day.
    Warn,
    /// What somebody should look at now.
    Error,
}

impl Level {
    /// `debug`, `info`, `warn` or `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// Time, level and event, then `key=value`, quoted where it is no plain word.
    Text,
}

/// The value of an event's field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Text; escaped and cut at [`crate::FIELD_BYTES_MAX`].
    Str(&'a str),
    /// A number that is never negative.
    U64(u64),
    /// A number.
    I64(i64),
    /// A number with a fraction; `null` where it is not finite.
    F64(f64),
    /// Yes or no.
    Bool(bool),
}

/// What happens to the process, one line an event, to standard error. Cheap to clone.
///
/// Never waits: a thread of its own writes. For events, not for requests: each allocates.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    settings: RwLock<Settings>,
    /// None discards.
    writer: Option<Writer>,
}

struct Settings {
    service_name: String,
    level: Level,
    format: Format,
}

impl Log {
    /// Writes events of `level` and above.
    ///
    /// # Errors
    ///
    /// When the writing thread cannot be started.
    pub fn new(service_name: &str, level: Level, format: Format) -> io::Result<Self> {
        Self::to(Sink::Stderr, service_name, level, format)
    }

    /// Like [`Log::new`], to another sink.
    ///
    /// # Errors
    ///
    /// When the writing thread cannot be started.
    pub fn to(sink: Sink, service_name: &str, level: Level, format: Format) -> io::Result<Self> {
        // A failure of the place for failures is counted; there is nowhere to tell it.
        let writer = Writer::start("weir-events", sink, EVENTS_QUEUED_MAX, Box::new(|_, _| {}))?;
        Ok(Self::with(Some(writer), service_name, level, format))
    }

    /// Writes nothing.
    pub fn discard() -> Self {
        Self::with(None, "", Level::Error, Format::Json)
    }

    fn with(writer: Option<Writer>, service_name: &str, level: Level, format: Format) -> Self {
        let settings = RwLock::new(Settings { service_name: service_name.to_owned(), level, format });
        Self(Arc::new(Shared { settings, writer }))
    }

    /// Writes later events so; for a reload.
    pub fn reconfigure(&self, service_name: &str, level: Level, format: Format) {
        let settings = Settings { service_name: service_name.to_owned(), level, format };
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Whether events of this level are written.
    pub fn wants(&self, level: Level) -> bool {
        self.0.writer.is_some()
            && level >= self.0.settings.read().unwrap_or_else(PoisonError::into_inner).level
    }

    /// Writes one event. `name` is a word with underscores; field names are the caller's own, never a client's.
    pub fn event(&self, level: Level, name: &str, fields: &[(&str, Value<'_>)]) {
        let Some(writer) = &self.0.writer else { return };
        let chunk = {
            let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner);
            if level < settings.level {
                return;
            }
            settings.line(now_micros(), level, name, fields)
        };
        writer.write(chunk);
    }

    /// Waits until all events so far are written; `false` where that took longer than `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.writer.as_ref().is_none_or(|writer| writer.flush(limit))
    }

    /// Events written so far.
    pub fn written(&self) -> u64 {
        self.0.writer.as_ref().map_or(0, Writer::written)
    }

    /// Events lost because standard error was slow or failed.
    pub fn dropped(&self) -> u64 {
        self.0.writer.as_ref().map_or(0, Writer::dropped)
    }
}

impl Settings {
    fn line(&self, micros: u64, level: Level, name: &str, fields: &[(&str, Value<'_>)]) -> Chunk {
        let mut timestamp = Timestamp::new();
        let time = timestamp.text(micros);
        let mut chunk = Chunk::default();
        chunk.push(|pen| self.write(time, level, name, fields, pen));
        chunk
    }

    fn write(
        &self,
        time: &[u8; 27],
        level: Level,
        name: &str,
        fields: &[(&str, Value<'_>)],
        pen: Pen<'_>,
    ) -> Option<usize> {
        let mut line = Line::begin(pen, self.format, &self.service_name, time, level, name)?;
        for (key, value) in fields {
            line = value.write(line.named(key)?)?;
        }
        line.end()
    }
}

impl Value<'_> {
    fn write(self, line: Line<'_>) -> Option<Line<'_>> {
        match self {
            Self::Str(text) => line.string(text.as_bytes()),
            Self::U64(number) => line.number(number),
            Self::I64(number) => line.display(number),
            Self::F64(number) if number.is_finite() => line.display(number),
            Self::F64(_) => line.display("null"),
            Self::Bool(yes) => line.display(yes),
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn settings(format: Format) -> Settings {
        Settings { service_name: "edge".into(), level: Level::Info, format }
    }

    const FIELDS: &[(&str, Value<'static>)] = &[
        ("why", Value::Str("a \"b\"\n")),
        ("count", Value::U64(7)),
        ("delta", Value::I64(-7)),
        ("share", Value::F64(0.5)),
        ("odd", Value::F64(f64::NAN)),
        ("ok", Value::Bool(true)),
    ];

    #[test]
    fn a_json_event_has_the_common_fields_and_its_own() {
        let line = settings(Format::Json).line(1, Level::Warn, "reload_failed", FIELDS);
        assert_eq!(
            str::from_utf8(line.bytes()).unwrap(),
            "{\"timestamp\":\"1970-01-01T00:00:00.000001Z\",\"level\":\"warn\",\"service_name\":\"edge\",\
             \"event\":\"reload_failed\",\"why\":\"a \\\"b\\\"\\n\",\"count\":7,\"delta\":-7,\"share\":0.5,\
             \"odd\":null,\"ok\":true}\n"
        );
    }

    #[test]
    fn a_text_event_is_one_line_too() {
        let line = settings(Format::Text).line(1, Level::Error, "failed", FIELDS);
        assert_eq!(
            str::from_utf8(line.bytes()).unwrap(),
            "1970-01-01T00:00:00.000001Z error edge failed why=\"a \\\"b\\\"\\n\" count=7 delta=-7 share=0.5 \
             odd=null ok=true\n"
        );
    }

    #[test]
    fn events_below_the_level_are_not_written_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let log = Log::to(Sink::File(path.clone()), "w", Level::Info, Format::Text).unwrap();
        log.event(Level::Debug, "quiet", &[]);
        log.reconfigure("w", Level::Debug, Format::Text);
        log.event(Level::Debug, "loud", &[]);
        assert!(log.flush(Duration::from_secs(20)));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with(" debug w loud\n") && !text.contains("quiet"), "{text}");
        assert_eq!((log.written(), log.dropped()), (1, 0));
        assert!(!Log::discard().wants(Level::Error));
    }
}
