use std::net::IpAddr;

use crate::pen::Pen;
use crate::target::target;
use crate::text::{quoted, word};
use crate::{Format, Level};

/// Most bytes of one field that are written; what is cut ends in `…`.
pub const FIELD_BYTES_MAX: usize = 2_048;

/// A line that is being written: where, and how.
///
/// Inlined throughout, so that a record's fields are one straight run of code for each format.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pen: Pen<'a>,
    format: Format,
}

impl<'a> Line<'a> {
    /// Writes what every line of every log has. `event` is a word of our own.
    #[inline(always)]
    pub(crate) fn begin(
        pen: Pen<'a>,
        format: Format,
        service: &str,
        time: &[u8; 27],
        level: Level,
        event: &str,
    ) -> Option<Self> {
        let (service, event) = (service.as_bytes(), event.as_bytes());
        let pen = match format {
            Format::Json => {
                let pen = pen.put(b"{\"timestamp\":\"")?.put(time)?.put(b"\",\"level\":\"")?;
                let pen = pen.put(level.as_str().as_bytes())?.put(b"\",\"service_name\":")?;
                quoted(pen, service)?.put(b",\"event\":\"")?.put(event)?.put(b"\"")?
            }
            Format::Text => {
                let pen = pen.put(time)?.put(b" ")?.put(level.as_str().as_bytes())?.put(b" ")?;
                word(pen, service)?.put(b" ")?.put(event)?
            }
        };
        Some(Self { pen, format })
    }

    /// Ends the line; the room that is left.
    #[inline(always)]
    pub(crate) fn end(self) -> Option<usize> {
        let pen = match self.format {
            Format::Json => self.pen.put(b"}\n")?,
            Format::Text => self.pen.put(b"\n")?,
        };
        Some(pen.left())
    }

    /// Writes what stands before a value: `,"name":` in JSON, ` name=` in text.
    #[inline(always)]
    pub(crate) fn key(self, json: &[u8], text: &[u8]) -> Option<Self> {
        let format = self.format;
        self.with(|pen| pen.put(if format == Format::Json { json } else { text }))
    }

    /// Writes what stands before the value of a field that is no constant.
    pub(crate) fn named(self, name: &str) -> Option<Self> {
        let name = name.as_bytes();
        match self.format {
            Format::Json => self.with(|pen| quoted(pen.put(b",")?, name)?.put(b":")),
            Format::Text => self.with(|pen| pen.put(b" ")?.put(name)?.put(b"=")),
        }
    }

    /// Writes what is not known.
    #[inline(always)]
    pub(crate) fn none(self) -> Option<Self> {
        let none: &[u8] = if self.format == Format::Json { b"null" } else { b"-" };
        self.with(|pen| pen.put(none))
    }

    /// Writes text; empty, it is not known.
    #[inline(always)]
    pub(crate) fn text(self, bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() { self.none() } else { self.string(bytes) }
    }

    /// Writes text, also where it is empty.
    #[inline(always)]
    pub(crate) fn string(self, bytes: &[u8]) -> Option<Self> {
        match self.format {
            Format::Json => self.with(|pen| quoted(pen, bytes)),
            Format::Text => self.with(|pen| word(pen, bytes)),
        }
    }

    /// Writes text of our own that is one word and needs no escaping.
    #[inline(always)]
    pub(crate) fn name(self, bytes: &[u8]) -> Option<Self> {
        self.unescaped(|pen| pen.put(bytes))
    }

    /// Writes a request target.
    #[inline(always)]
    pub(crate) fn target(self, bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() { self.none() } else { self.with(|pen| target(pen, bytes)) }
    }

    /// Writes a number.
    #[inline(always)]
    pub(crate) fn number(self, value: u64) -> Option<Self> {
        self.with(|pen| pen.number(value))
    }

    /// Writes microseconds as milliseconds.
    #[inline(always)]
    pub(crate) fn millis(self, micros: u64) -> Option<Self> {
        self.with(|pen| pen.millis(micros))
    }

    /// Writes microseconds as milliseconds where they are known.
    #[inline(always)]
    pub(crate) fn part(self, micros: Option<u64>) -> Option<Self> {
        match micros {
            Some(micros) => self.millis(micros),
            None => self.none(),
        }
    }

    /// Writes an address, in which nothing needs escaping.
    #[inline(always)]
    pub(crate) fn address(self, ip: Option<IpAddr>) -> Option<Self> {
        match ip {
            Some(IpAddr::V4(ip)) => {
                let [a, b, c, d] = ip.octets().map(u64::from);
                self.unescaped(|pen| {
                    let pen = pen.number(a)?.put(b".")?.number(b)?.put(b".")?;
                    pen.number(c)?.put(b".")?.number(d)
                })
            }
            Some(IpAddr::V6(ip)) => self.unescaped(|pen| pen.display(ip)),
            None => self.none(),
        }
    }

    /// Writes what has a text of its own that needs no escaping.
    pub(crate) fn display(self, value: impl std::fmt::Display) -> Option<Self> {
        self.with(|pen| pen.display(value))
    }

    #[inline(always)]
    fn unescaped(self, write: impl FnOnce(Pen<'a>) -> Option<Pen<'a>>) -> Option<Self> {
        match self.format {
            Format::Json => self.with(|pen| write(pen.put(b"\"")?)?.put(b"\"")),
            Format::Text => self.with(write),
        }
    }

    #[inline(always)]
    fn with(self, write: impl FnOnce(Pen<'a>) -> Option<Pen<'a>>) -> Option<Self> {
        Some(Self { pen: write(self.pen)?, format: self.format })
    }
}
