//! What gRPC asks of a gateway that answers itself, and of one that passes deadlines on.

use std::io::Write;
use std::time::Duration;

use weir_base::ErrorCode;
use weir_wire::grpc_web::ContentType;
use weir_wire::http1::{Head, Known};

use crate::exchange::Exchange;
use crate::wire::Wire;

/// The field in which a caller says how long it will wait.
const TIMEOUT: &[u8] = b"grpc-timeout";

/// Whether the request is a gRPC call (its content type is `application/grpc`, with or without a format).
pub(crate) fn is_call(fields: &Head) -> bool {
    fields.get(Known::ContentType).is_some_and(|value| ContentType::grpc_suffix(value).is_some())
}

/// How long the caller waits for the whole call; `None` where it does not say, or says it wrongly.
pub(crate) fn timeout(fields: &Head) -> Option<Duration> {
    let mut values = fields.named(TIMEOUT);
    match (values.next(), values.next()) {
        (Some(value), None) => read_timeout(value),
        _ => None,
    }
}

/// Has the endpoint told that it has `left` for the call: less than the caller said, never more.
pub(crate) fn shorten(exchange: &mut Exchange, left: Duration) {
    let fields = &mut exchange.request.fields;
    if timeout(fields).is_some_and(|said| left < said) {
        let mut value = Vec::with_capacity(9);
        write_timeout(left, &mut value);
        fields.set(TIMEOUT, &value);
    }
}

/// Ends a call whose time is over in the middle of its answer by the status for that, which a caller's own clock would
/// give it a moment later; false where it is none, or cannot be told.
pub(super) fn end(client: &mut Wire, exchange: &Exchange, code: ErrorCode) -> bool {
    let is_told = code == ErrorCode::TotalTimeout
        && client.is_framed()
        && is_call(&exchange.request.fields)
        && is_call(&exchange.response.fields);
    if !is_told {
        return false;
    }
    let mut trailers = Head::default();
    trailers.append(b"grpc-status", status(code).as_bytes());
    trailers.append(b"grpc-message", &message(code.title()));
    client.end(&trailers).is_ok()
}

/// Reads 1 to 8 digits and a unit (the gRPC protocol over HTTP/2, `Timeout`).
fn read_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Writes the time in the finest unit that holds it in 8 digits, rounded down.
fn write_timeout(time: Duration, out: &mut Vec<u8>) {
    const DIGITS_MAX: u128 = 99_999_999;
    let units = [(1, b'n'), (1_000, b'u'), (1_000_000, b'm'), (1_000_000_000, b'S'), (60_000_000_000, b'M')];
    let nanos = time.as_nanos();
    let (unit, letter) =
        units.into_iter().find(|(unit, _)| nanos / unit <= DIGITS_MAX).unwrap_or((3_600_000_000_000, b'H'));
    write!(out, "{}", (nanos / unit).min(DIGITS_MAX)).expect("writing to memory does not fail");
    out.push(letter);
}

/// The words of a `grpc-message`: what is not printable ASCII is percent-encoded, and so is `%`.
pub(super) fn message(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            write!(out, "%{byte:02X}").expect("writing to memory does not fail");
        }
    }
    out
}

/// The `grpc-status` of an error that the gateway answers.
///
/// Where the code says more than its HTTP status does, it decides: 8 for what is too large or too much, 4 only where
/// time is up, and 14, which callers repeat, only where the endpoint has not acted on the call or says so.
pub(super) const fn status(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::ClientGone => "1",
        ErrorCode::InvalidArgument => "3",
        ErrorCode::RequestTimeout | ErrorCode::ResponseTimeout | ErrorCode::TotalTimeout => "4",
        ErrorCode::NotFound => "5",
        ErrorCode::AgentConnected => "6",
        ErrorCode::ClientNotAllowed
        | ErrorCode::OriginNotAllowed
        | ErrorCode::MisdirectedRequest
        | ErrorCode::AdminHostRefused
        | ErrorCode::AdminOriginRefused => "7",
        ErrorCode::BodyTooLarge
        | ErrorCode::UriTooLong
        | ErrorCode::HeadersTooLarge
        | ErrorCode::TooManyFailures => "8",
        ErrorCode::ConfigurationRejected => "9",
        ErrorCode::RouteNotFound
        | ErrorCode::MethodNotAllowed
        | ErrorCode::UnknownCoding
        | ErrorCode::UnknownProtocol
        | ErrorCode::UnknownVersion => "12",
        ErrorCode::BadRequest
        | ErrorCode::PlainHttpOnTls
        | ErrorCode::TlsHandshakeFailed
        | ErrorCode::BadPath
        | ErrorCode::BadHost
        | ErrorCode::HeaderDenied
        | ErrorCode::UpgradeRequired
        | ErrorCode::Internal
        | ErrorCode::UpstreamMalformed
        | ErrorCode::UpgradeFailed => "13",
        ErrorCode::ConnectFailed
        | ErrorCode::UpstreamTlsFailed
        | ErrorCode::ConnectTimeout
        | ErrorCode::AgentOffline
        | ErrorCode::AgentLost
        | ErrorCode::AgentRefused
        | ErrorCode::UpstreamClosed
        | ErrorCode::UpstreamCut
        | ErrorCode::NoEndpoint
        | ErrorCode::QueueFull
        | ErrorCode::QueueTimeout
        | ErrorCode::Overloaded
        | ErrorCode::ShuttingDown => "14",
        ErrorCode::Unauthorized => "16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn timeouts_are_read_as_they_are_written_and_nothing_else() {
        for (text, time) in [
            ("1H", Duration::from_secs(3_600)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("20m", Duration::from_millis(20)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(read_timeout(text.as_bytes()), Some(time), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "1 S", "100000000n", "1.5S", "1SS"] {
            assert_eq!(read_timeout(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_never_longer_than_what_is_left() {
        for nanos in [0, 1, 99_999_999, 100_000_000, 123_456_789_012, 7 << 60] {
            let (time, mut text) = (Duration::from_nanos(nanos), Vec::new());
            write_timeout(time, &mut text);
            let read = read_timeout(&text).unwrap();
            assert!(read <= time && read >= time.mul_f64(0.999), "{time:?}: {text:?}");
        }
    }

    #[test]
    fn a_deadline_is_shortened_and_never_lengthened() {
        let mut exchange = Exchange::new(Instant::now());
        exchange.request.fields.append(b"Grpc-Timeout", b"10S");
        shorten(&mut exchange, Duration::from_secs(20));
        assert_eq!(timeout(&exchange.request.fields), Some(Duration::from_secs(10)));
        shorten(&mut exchange, Duration::from_millis(1_500));
        assert_eq!(timeout(&exchange.request.fields), Some(Duration::from_millis(1_500)));
        assert_eq!(exchange.request.fields.named(TIMEOUT).count(), 1);
    }

    #[test]
    fn only_grpc_media_types_are_calls() {
        for (value, is) in [
            ("application/grpc", true),
            ("Application/GRPC+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let mut head = Head::default();
            head.append(b"content-type", value.as_bytes());
            assert_eq!(is_call(&head), is, "{value}");
        }
    }

    #[test]
    fn messages_hold_only_what_a_field_may_hold() {
        assert_eq!(message("50% of ü\n"), b"50%25 of %C3%BC%0A");
    }
}
