use std::net::IpAddr;
use std::time::Duration;

use super::field::write_fields;
use super::{AccessSettings, Field, TlsRecord};
use crate::line::Line;
use crate::pen::Pen;
use crate::{Format, Level};

/// What is known of one TCP connection or UDP session when it is over. Empty texts and `None` are written as `null`, in
/// text as `-`.
#[derive(Debug, Clone, Copy)]
pub struct StreamRecord<'a> {
    /// When it ended: microseconds since 1970, see [`super::AccessBuffer::micros_at`].
    pub timestamp_us: u64,
    /// How much it matters.
    pub level: Level,
    /// The event of the line, and the fields that only one of them has.
    pub transport: Transport<'a>,
    /// The listener's name.
    pub listener: &'a str,
    /// The upstream's name.
    pub upstream: &'a str,
    /// The endpoint that was tried last.
    pub endpoint: &'a str,
    /// Endpoints that were tried; 0 where none could be picked.
    pub attempts: u32,
    /// The client as far as it can be believed; none on unix sockets.
    pub client_ip: Option<IpAddr>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// From the accepted connection, or the first datagram, to the end.
    pub duration: Duration,
    /// Microseconds connecting, last attempt.
    pub connect_us: Option<u64>,
    /// Who ended it and how: a word of our own, such as `client_closed`.
    pub end: &'static str,
    /// Of the client's connection; none without TLS, or where it is passed on as it is.
    pub tls: Option<TlsRecord<'a>>,
    /// What went wrong; empty where nothing did. Whatever has one is logged, whatever the sampling.
    pub error: &'a str,
}

/// What carried a stream's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// A TCP connection: a line with `event` = `connection` and `protocol` = `tcp`.
    Tcp {
        /// The server name that the client asked for in its ClientHello, where one was read.
        sni: &'a [u8],
    },
    /// A UDP session: a line with `event` = `session` and `protocol` = `udp`.
    Udp {
        /// Datagrams from the client.
        datagrams_in: u64,
        /// Datagrams to the client.
        datagrams_out: u64,
    },
}

impl StreamRecord<'_> {
    /// A record in which nothing is known; for `..StreamRecord::EMPTY`.
    pub const EMPTY: Self = Self {
        timestamp_us: 0,
        level: Level::Info,
        transport: Transport::Tcp { sni: b"" },
        listener: "",
        upstream: "",
        endpoint: "",
        attempts: 0,
        client_ip: None,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        connect_us: None,
        end: "",
        tls: None,
        error: "",
    };

    /// Whether it is logged whatever the sampling.
    pub fn is_error(&self) -> bool {
        !self.error.is_empty()
    }

    /// Writes the line; the room that is left, see [`crate::chunk::Chunk::push`].
    pub(super) fn write(&self, settings: &AccessSettings, time: &[u8; 27], pen: Pen<'_>) -> Option<usize> {
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
        let (event, protocol) = match self.transport {
            Transport::Tcp { .. } => ("connection", "tcp"),
            Transport::Udp { .. } => ("session", "udp"),
        };
        let mut line = Line::begin(pen, format, &settings.service_name, time, self.level, event)?;
        write_fields! { line, settings.fields;
            Listener => line.text(self.listener.as_bytes()),
            Upstream => line.text(self.upstream.as_bytes()),
            Endpoint => line.text(self.endpoint.as_bytes()),
            Attempts => line.number(u64::from(self.attempts)),
            ClientIp => line.address(self.client_ip),
            Protocol => line.name(protocol.as_bytes()),
        }
        if let Transport::Tcp { sni } = self.transport {
            write_fields! { line, settings.fields; Sni => line.text(sni), }
        }
        if let Some(tls) = &self.tls {
            line = tls.write(settings.fields, line)?;
        }
        write_fields! { line, settings.fields;
            BytesIn => line.number(self.bytes_in),
            BytesOut => line.number(self.bytes_out),
        }
        if let Transport::Udp { datagrams_in, datagrams_out } = self.transport {
            write_fields! { line, settings.fields;
                DatagramsIn => line.number(datagrams_in),
                DatagramsOut => line.number(datagrams_out),
            }
        }
        write_fields! { line, settings.fields;
            DurationMs => line.millis(self.duration.as_micros() as u64),
            ConnectMs => line.part(self.connect_us),
            End => line.text(self.end.as_bytes()),
            Error => line.text(self.error.as_bytes()),
        }
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};
    use weir_base::Percent;

    use super::*;
    use crate::access::Fields;
    use crate::access::tests::lines_of;

    fn connection() -> StreamRecord<'static> {
        StreamRecord {
            timestamp_us: 1_709_251_200_000_042,
            transport: Transport::Tcp { sni: b"db.example" },
            listener: "db",
            upstream: "postgres",
            endpoint: "10.0.0.1:5432",
            attempts: 2,
            client_ip: Some([192, 0, 2, 1].into()),
            bytes_in: 5,
            bytes_out: 1 << 40,
            duration: Duration::from_secs(3_600),
            connect_us: Some(450),
            end: "client_closed",
            ..StreamRecord::EMPTY
        }
    }

    fn session() -> StreamRecord<'static> {
        let transport = Transport::Udp { datagrams_in: 7, datagrams_out: 6 };
        StreamRecord { transport, connect_us: None, end: "idle_timeout", ..connection() }
    }

    fn line(settings: AccessSettings, record: &StreamRecord<'_>) -> String {
        lines_of(settings, |buffer| buffer.push_stream(record)).remove(0)
    }

    #[test]
    fn a_connection_and_a_session_have_their_fields_in_json() {
        let of_both = json!({
            "timestamp": "2024-03-01T00:00:00.000042Z", "level": "info", "service_name": "weir",
            "listener": "db", "upstream": "postgres", "endpoint": "10.0.0.1:5432", "attempts": 2,
            "client_ip": "192.0.2.1", "bytes_in": 5, "bytes_out": 1_u64 << 40, "duration_ms": 3_600_000.0,
            "error": null
        });
        let own = [
            (
                connection(),
                json!({
                    "event": "connection", "protocol": "tcp", "sni": "db.example", "connect_ms": 0.45,
                    "end": "client_closed"
                }),
            ),
            (
                session(),
                json!({
                    "event": "session", "protocol": "udp", "datagrams_in": 7, "datagrams_out": 6,
                    "connect_ms": null, "end": "idle_timeout"
                }),
            ),
        ];
        for (record, own) in own {
            let mut wanted = of_both.clone();
            wanted.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let value: Json = serde_json::from_str(&line(AccessSettings::default(), &record)).unwrap();
            assert_eq!(value, wanted);
        }
    }

    #[test]
    fn a_text_line_says_the_same_as_key_and_value() {
        let settings = AccessSettings { format: Format::Text, ..AccessSettings::default() };
        let failed = StreamRecord {
            level: Level::Warn,
            transport: Transport::Tcp { sni: b"" },
            endpoint: "",
            end: "connect_failed",
            error: "connection refused",
            ..connection()
        };
        assert_eq!(
            line(settings.clone(), &failed),
            "2024-03-01T00:00:00.000042Z warn weir connection listener=db upstream=postgres endpoint=- attempts=2 \
             client_ip=192.0.2.1 protocol=tcp sni=- bytes_in=5 bytes_out=1099511627776 duration_ms=3600000.000 \
             connect_ms=0.450 end=connect_failed error=\"connection refused\""
        );
        assert!(
            line(settings, &session())
                .contains(" protocol=udp bytes_in=5 bytes_out=1099511627776 datagrams_in=7 ")
        );
    }

    #[test]
    fn only_the_fields_asked_for_are_written_and_those_of_requests_do_no_harm() {
        let fields = Fields::named(["path", "end", "sni", "datagrams_in"]).unwrap();
        let settings = AccessSettings { fields, ..AccessSettings::default() };
        let tcp = line(settings.clone(), &connection());
        assert!(
            tcp.ends_with("\"event\":\"connection\",\"sni\":\"db.example\",\"end\":\"client_closed\"}"),
            "{tcp}"
        );
        let udp = line(settings, &session());
        assert!(udp.ends_with("\"event\":\"session\",\"datagrams_in\":7,\"end\":\"idle_timeout\"}"), "{udp}");
    }

    #[test]
    fn sampling_keeps_its_share_of_good_streams_and_every_one_with_an_error() {
        let failed = StreamRecord { error: "connect-failed", ..connection() };
        let settings = AccessSettings { sample: Percent::parse("10%").unwrap(), ..AccessSettings::default() };
        let lines = lines_of(settings, |buffer| {
            for _ in 0..100 {
                buffer.push_stream(&connection());
            }
            buffer.push_stream(&failed);
        });
        assert_eq!(lines.len(), 10 + 1);
        assert!(lines[10].contains("\"error\":\"connect-failed\""));
    }

    proptest! {
        #[test]
        fn a_hostile_server_name_stays_inside_its_string(sni in proptest::collection::vec(any::<u8>(), 0..300)) {
            for format in [Format::Json, Format::Text] {
                let settings = AccessSettings { format, ..AccessSettings::default() };
                let record = StreamRecord { transport: Transport::Tcp { sni: &sni }, ..connection() };
                let mut chunk = crate::chunk::Chunk::default();
                chunk.push(|pen| record.write(&settings, b"2024-03-01T00:00:00.000042Z", pen));
                let line = std::str::from_utf8(chunk.bytes()).unwrap().strip_suffix('\n').unwrap();
                prop_assert!(!line.contains(char::is_control));
                if format == Format::Json {
                    let value: Json = serde_json::from_str(line).unwrap();
                    prop_assert_eq!(value.as_object().unwrap().len(), 17);
                }
            }
        }
    }
}
