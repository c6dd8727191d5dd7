use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::line;
use crate::sink::{Chunk, Sink, Writer};
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
        let bytes = {
            let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner);
            if level < settings.level {
                return;
            }
            settings.line(now_micros(), level, name, fields)
        };
        writer.write(Chunk { bytes, lines: 1 });
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
    fn line(&self, micros: u64, level: Level, name: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        begin(self.format, &self.service_name, Timestamp::new().text(micros), level, name, &mut out);
        for (key, value) in fields {
            match self.format {
                Format::Json => {
                    out.push(b',');
                    line::quoted(key.as_bytes(), &mut out);
                    out.push(b':');
                }
                Format::Text => {
                    out.push(b' ');
                    out.extend_from_slice(key.as_bytes());
                    out.push(b'=');
                }
            }
            value.write(self.format, &mut out);
        }
        end(self.format, &mut out);
        out
    }
}

/// The part that every line of every stream has.
pub(crate) fn begin(
    format: Format,
    service: &str,
    time: &[u8; 27],
    level: Level,
    event: &str,
    out: &mut Vec<u8>,
) {
    match format {
        Format::Json => {
            out.extend_from_slice(b"{\"timestamp\":\"");
            out.extend_from_slice(time);
            out.extend_from_slice(b"\",\"level\":\"");
            out.extend_from_slice(level.as_str().as_bytes());
            out.extend_from_slice(b"\",\"service_name\":");
            line::quoted(service.as_bytes(), out);
            out.extend_from_slice(b",\"event\":");
            line::quoted(event.as_bytes(), out);
        }
        Format::Text => {
            out.extend_from_slice(time);
            out.push(b' ');
            out.extend_from_slice(level.as_str().as_bytes());
            out.push(b' ');
            line::word(service.as_bytes(), out);
            out.push(b' ');
            line::word(event.as_bytes(), out);
        }
    }
}

pub(crate) fn end(format: Format, out: &mut Vec<u8>) {
    out.extend_from_slice(match format {
        Format::Json => b"}\n",
        Format::Text => b"\n",
    });
}

impl Value<'_> {
    fn write(self, format: Format, out: &mut Vec<u8>) {
        match self {
            Self::Str(text) if format == Format::Json => line::quoted(text.as_bytes(), out),
            Self::Str(text) => line::word(text.as_bytes(), out),
            Self::U64(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Self::I64(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Self::F64(number) if number.is_finite() => out.extend_from_slice(number.to_string().as_bytes()),
            Self::F64(_) => out.extend_from_slice(b"null"),
            Self::Bool(yes) => out.extend_from_slice(if yes { b"true" } else { b"false" }),
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
            String::from_utf8(line).unwrap(),
            "{\"timestamp\":\"1970-01-01T00:00:00.000001Z\",\"level\":\"warn\",\"service_name\":\"edge\",\
             \"event\":\"reload_failed\",\"why\":\"a \\\"b\\\"\\n\",\"count\":7,\"delta\":-7,\"share\":0.5,\
             \"odd\":null,\"ok\":true}\n"
        );
    }

    #[test]
    fn a_text_event_is_one_line_too() {
        let line = settings(Format::Text).line(1, Level::Error, "failed", FIELDS);
        assert_eq!(
            String::from_utf8(line).unwrap(),
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
