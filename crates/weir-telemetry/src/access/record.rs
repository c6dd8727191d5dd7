use std::net::IpAddr;
use std::time::Duration;

use weir_base::ErrorCode;

use super::field::write_fields;
use super::{AccessSettings, Field, TlsRecord};
use crate::line::Line;
use crate::pen::Pen;
use crate::{Format, Level};

/// What is known of one request when it is over. Empty texts, `None` and a status that was never sent are written as
/// `null`, in text as `-`.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When it ended: microseconds since 1970, see [`super::AccessBuffer::micros_at`].
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
    /// Of the client's connection; none without TLS.
    pub tls: Option<TlsRecord<'a>>,
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
        tls: None,
    };

    /// Whether it is logged whatever the sampling: a status from 400 on, none at all, or an error of ours.
    pub fn is_error(&self) -> bool {
        self.http_status >= 400 || self.http_status == 0 || self.error.is_some()
    }

    /// Writes the line; the room that is left, see [`crate::chunk::Chunk::push`].
    pub(super) fn write(&self, settings: &AccessSettings, time: &[u8; 27], pen: Pen<'_>) -> Option<usize> {
        // Each format has a run of code of its own, in which nothing is decided but which fields are wanted.
        match settings.format {
            Format::Json => self.write_as(Format::Json, settings, time, pen),
            Format::Text => self.write_as(Format::Text, settings, time, pen),
        }
    }

    #[inline(always)]
    fn write_as(
        &self,
        format: Format,
        settings: &AccessSettings,
        time: &[u8; 27],
        pen: Pen<'_>,
    ) -> Option<usize> {
        let mut line = Line::begin(pen, format, &settings.service_name, time, self.level, "request")?;
        write_fields! { line, settings.fields;
            TraceId => line.name(self.trace_id),
            RequestId => line.text(self.request_id),
            HttpStatus => match self.http_status {
                0 => line.none(),
                status => line.number(u64::from(status)),
            },
            Method => line.text(self.method),
            Host => line.text(self.host),
            Path => line.target(self.path),
            Listener => line.text(self.listener.as_bytes()),
            Route => line.text(self.route.as_bytes()),
            Upstream => line.text(self.upstream.as_bytes()),
            Endpoint => line.text(self.endpoint.as_bytes()),
            Attempts => line.number(u64::from(self.attempts)),
            ClientIp => line.address(self.client_ip),
            Protocol => line.name(self.protocol.as_bytes()),
        }
        if let Some(tls) = &self.tls {
            write_fields! { line, settings.fields; Sni => line.text(tls.sni.as_bytes()), }
            line = tls.write(settings.fields, line)?;
        }
        write_fields! { line, settings.fields;
            BytesIn => line.number(self.bytes_in),
            BytesOut => line.number(self.bytes_out),
            DurationMs => line.millis(self.duration.as_micros() as u64),
            QueueMs => line.part(self.queue_us),
            ConnectMs => line.part(self.connect_us),
            HeadMs => line.part(self.head_us),
            BodyMs => line.part(self.body_us),
            Error => line.text(self.error.map_or("", ErrorCode::as_str).as_bytes()),
            UserAgent => line.text(self.user_agent),
        }
        line.end()
    }
}
