use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use weir_base::ErrorCode;

use super::AccessSettings;
use crate::{Format, Level, event, line};

/// What is known of one request when it is over. Empty texts, `None` and a status that was never sent are written as
/// `null`, in text as `-`.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the line is written: microseconds since 1970, see [`crate::now_micros`].
    pub timestamp_us: u64,
    /// How much it matters.
    pub level: Level,
    /// 32 hex digits, see [`crate::trace::TraceContext::trace_id_hex`].
    pub trace_id: &'a [u8; 32],
    /// The request id that was forwarded.
    pub request_id: &'a [u8],
    /// The status sent; 0 where none was.
    pub http_status: u16,
    /// The method as written.
    pub method: &'a [u8],
    /// The host that was matched.
    pub host: &'a [u8],
    /// The request target, query included; its secrets are starred here.
    pub path: &'a [u8],
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The upstream's name.
    pub upstream: &'a str,
    /// The endpoint that was tried last.
    pub endpoint: &'a str,
    /// Attempts made; 0 where nothing was forwarded.
    pub attempts: u32,
    /// The client as far as it can be believed; none on unix sockets.
    pub client_ip: Option<IpAddr>,
    /// `HTTP/1.1` and so on.
    pub protocol: &'static str,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the first byte of the request to the last of the answer.
    pub duration: Duration,
    /// Microseconds in the upstream's queue.
    pub queue_us: Option<u64>,
    /// Microseconds connecting.
    pub connect_us: Option<u64>,
    /// Microseconds from the request to the answer's head.
    pub head_us: Option<u64>,
    /// Microseconds from the answer's head to its end.
    pub body_us: Option<u64>,
    /// Why Weir answered itself or broke off.
    pub error: Option<ErrorCode>,
    /// The client's `User-Agent`.
    pub user_agent: &'a [u8],
}

impl AccessRecord<'_> {
    /// A record in which nothing is known; for `..AccessRecord::EMPTY`.
    pub const EMPTY: Self = Self {
        timestamp_us: 0,
        level: Level::Info,
        trace_id: b"00000000000000000000000000000000",
        request_id: b"",
        http_status: 0,
        method: b"",
        host: b"",
        path: b"",
        listener: "",
        route: "",
        upstream: "",
        endpoint: "",
        attempts: 0,
        client_ip: None,
        protocol: "HTTP/1.1",
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        queue_us: None,
        connect_us: None,
        head_us: None,
        body_us: None,
        error: None,
        user_agent: b"",
    };

    /// Whether it is logged whatever the sampling: a status from 400 on, none at all, or an error of ours.
    pub fn is_error(&self) -> bool {
        self.http_status >= 400 || self.http_status == 0 || self.error.is_some()
    }

    pub(super) fn write(&self, settings: &AccessSettings, time: &[u8; 27], out: &mut Vec<u8>) {
        let format = settings.format;
        event::begin(format, &settings.service_name, time, self.level, "request", out);
        for field in Field::ALL {
            if settings.fields.contains(*field) {
                out.extend_from_slice(match format {
                    Format::Json => field.json_key(),
                    Format::Text => field.text_key(),
                });
                self.write_value(*field, format, out);
            }
        }
        event::end(format, out);
    }

    fn write_value(&self, field: Field, format: Format, out: &mut Vec<u8>) {
        match field {
            Field::TraceId => name(format, self.trace_id, out),
            Field::RequestId => text(format, self.request_id, out),
            Field::HttpStatus if self.http_status == 0 => none(format, out),
            Field::HttpStatus => number(u64::from(self.http_status), out),
            Field::Method => text(format, self.method, out),
            Field::Host => text(format, self.host, out),
            Field::Path if self.path.is_empty() => none(format, out),
            Field::Path => line::target(self.path, out),
            Field::Listener => text(format, self.listener.as_bytes(), out),
            Field::Route => text(format, self.route.as_bytes(), out),
            Field::Upstream => text(format, self.upstream.as_bytes(), out),
            Field::Endpoint => text(format, self.endpoint.as_bytes(), out),
            Field::Attempts => number(u64::from(self.attempts), out),
            Field::ClientIp => address(format, self.client_ip, out),
            Field::Protocol => name(format, self.protocol.as_bytes(), out),
            Field::BytesIn => number(self.bytes_in, out),
            Field::BytesOut => number(self.bytes_out, out),
            Field::DurationMs => millis(self.duration.as_micros() as u64, out),
            Field::QueueMs => part(format, self.queue_us, out),
            Field::ConnectMs => part(format, self.connect_us, out),
            Field::HeadMs => part(format, self.head_us, out),
            Field::BodyMs => part(format, self.body_us, out),
            Field::Error => text(format, self.error.map_or("", ErrorCode::as_str).as_bytes(), out),
            Field::UserAgent => text(format, self.user_agent, out),
        }
    }
}

fn none(format: Format, out: &mut Vec<u8>) {
    out.extend_from_slice(match format {
        Format::Json => b"null",
        Format::Text => b"-",
    });
}

fn text(format: Format, bytes: &[u8], out: &mut Vec<u8>) {
    match format {
        _ if bytes.is_empty() => none(format, out),
        Format::Json => line::quoted(bytes, out),
        Format::Text => line::word(bytes, out),
    }
}

/// Text of our own that needs no escaping.
fn name(format: Format, bytes: &[u8], out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            out.push(b'"');
            out.extend_from_slice(bytes);
            out.push(b'"');
        }
        Format::Text => out.extend_from_slice(bytes),
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three digits behind the point.
fn millis(micros: u64, out: &mut Vec<u8>) {
    number(micros / 1_000, out);
    let rest = micros % 1_000;
    out.extend_from_slice(&[
        b'.',
        b'0' + (rest / 100) as u8,
        b'0' + (rest / 10 % 10) as u8,
        b'0' + (rest % 10) as u8,
    ]);
}

fn part(format: Format, micros: Option<u64>, out: &mut Vec<u8>) {
    match micros {
        Some(micros) => millis(micros, out),
        None => none(format, out),
    }
}

/// Nothing in an address needs escaping.
fn address(format: Format, ip: Option<IpAddr>, out: &mut Vec<u8>) {
    let Some(ip) = ip else { return none(format, out) };
    let quote: &[u8] = if format == Format::Json { b"\"" } else { b"" };
    out.extend_from_slice(quote);
    match ip {
        IpAddr::V4(ip) => {
            for (place, octet) in ip.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(ip) => write!(out, "{ip}").expect("writing to memory does not fail"),
    }
    out.extend_from_slice(quote);
}

macro_rules! fields {
    ($( $variant:ident = $name:literal; )+) => {
        /// A field of a request's line; `timestamp`, `level`, `service_name` and `event` are always there.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Field {
            $( #[doc = concat!("`", $name, "`.")] $variant, )+
        }

        impl Field {
            /// All of them, in the order in which they are written.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The name in the line and in `log.fields`.
            pub const fn as_str(self) -> &'static str { match self { $( Self::$variant => $name, )+ } }

            const fn json_key(self) -> &'static [u8] {
                match self { $( Self::$variant => concat!(",\"", $name, "\":").as_bytes(), )+ }
            }

            const fn text_key(self) -> &'static [u8] {
                match self { $( Self::$variant => concat!(" ", $name, "=").as_bytes(), )+ }
            }
        }
    };
}

fields! {
    TraceId = "trace_id";
    RequestId = "request_id";
    HttpStatus = "http_status";
    Method = "method";
    Host = "host";
    Path = "path";
    Listener = "listener";
    Route = "route";
    Upstream = "upstream";
    Endpoint = "endpoint";
    Attempts = "attempts";
    ClientIp = "client_ip";
    Protocol = "protocol";
    BytesIn = "bytes_in";
    BytesOut = "bytes_out";
    DurationMs = "duration_ms";
    QueueMs = "queue_ms";
    ConnectMs = "connect_ms";
    HeadMs = "head_ms";
    BodyMs = "body_ms";
    Error = "error";
    UserAgent = "user_agent";
}

/// A set of [`Field`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(u32);

impl Fields {
    /// Every field.
    pub const ALL: Self = Self((1 << Field::ALL.len()) - 1);
    /// No field but the common ones.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, field: Field) -> Self {
        Self(self.0 | 1 << field as u8)
    }

    /// Whether the field is in the set.
    pub const fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u8 != 0
    }

    /// The set of the fields named; the common ones may be named too.
    ///
    /// # Errors
    ///
    /// The first name that is no field.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, &'n str> {
        names.into_iter().try_fold(Self::NONE, |fields, name| {
            match Field::ALL.iter().find(|field| field.as_str() == name) {
                Some(field) => Ok(fields.with(*field)),
                None if matches!(name, "timestamp" | "level" | "service_name" | "event") => Ok(fields),
                None => Err(name),
            }
        })
    }
}
