//! The heads of a request and its answer as an endpoint reads and writes them over HTTP/2.

use bytes::Bytes;
use h2::ext::Protocol;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, header};
use weir_upstream::{Endpoint, HostPlan, UpstreamPlan};
use weir_wire::http1::{Known, ResponseError, ResponseHead};

use super::ForwardError;
use crate::exchange::{Exchange, Upgrade};
use crate::wire;

/// The head for one endpoint.
///
/// `Host` becomes `:authority`. What belongs to one connection of HTTP/1.1 has been taken out before; `te` says what it
/// may say here.
pub(super) fn request(
    exchange: &Exchange,
    plan: &UpstreamPlan,
    endpoint: &Endpoint,
) -> Result<Request<()>, ForwardError> {
    let mut request = Request::new(());
    let is_websocket = exchange.upgrade == Some(Upgrade::WebSocket);
    *request.method_mut() = if is_websocket {
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        Method::CONNECT
    } else {
        Method::from_bytes(exchange.request.method_bytes())
            .map_err(|_| ForwardError::Untranslatable("its method is no token"))?
    };
    *request.uri_mut() = uri(exchange, plan, endpoint)?;
    let mut fields = wire::written(&exchange.request.fields);
    if exchange.request.fields.get(Known::Host).is_some() {
        // A policy's: it would speak beside `:authority`.
        fields.remove(header::HOST);
    }
    if is_websocket {
        // The handshake of HTTP/1.1 has no part in it (RFC 8441 section 5).
        fields.remove(header::SEC_WEBSOCKET_KEY);
    }
    if exchange.wants_trailers {
        fields.insert(header::TE, header::HeaderValue::from_static("trailers"));
    }
    *request.headers_mut() = fields;
    Ok(request)
}

fn uri(exchange: &Exchange, plan: &UpstreamPlan, endpoint: &Endpoint) -> Result<Uri, ForwardError> {
    let authority = match (&exchange.rewritten_host, &plan.host) {
        (Some(host), _) => host,
        (None, HostPlan::Preserve) if !exchange.authority.is_empty() => &exchange.authority[..],
        (None, HostPlan::Preserve | HostPlan::Endpoint) => endpoint.host().as_bytes(),
        (None, HostPlan::Name(name)) => name.as_bytes(),
    };
    let mut bytes = Vec::with_capacity(authority.len() + exchange.path.len() + exchange.query.len() + 1);
    bytes.extend_from_slice(authority);
    exchange.write_target(&mut bytes);
    let length = authority.len();
    let bytes = Bytes::from(bytes);
    let mut parts = Parts::default();
    parts.scheme = Some(if endpoint.is_secured() { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(
        Authority::from_maybe_shared(bytes.slice(..length))
            .map_err(|_| ForwardError::Untranslatable("its host is no authority"))?,
    );
    parts.path_and_query = Some(path(bytes.slice(length..))?);
    Uri::from_parts(parts).map_err(|_| ForwardError::Untranslatable("its target is none"))
}

/// The path and query, with the bytes encoded that HTTP/2 peers refuse though HTTP/1.1 clients send them.
fn path(target: Bytes) -> Result<PathAndQuery, ForwardError> {
    if let Ok(path) = PathAndQuery::from_maybe_shared(target.clone()) {
        return Ok(path);
    }
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for &byte in &target {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#') {
            encoded.push(byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
            encoded.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    PathAndQuery::from_maybe_shared(Bytes::from(encoded))
        .map_err(|_| ForwardError::Untranslatable("its path is none"))
}

/// Reads the head of an answer, in place of what was in `into`, as strictly as one of HTTP/1.1 is read.
pub(super) fn response(
    head: &Response<()>,
    into: &mut ResponseHead,
    fields_max: usize,
) -> Result<(), ForwardError> {
    if head.headers().len() > fields_max {
        return Err(ResponseError::TooManyFields.into());
    }
    into.reset(head.status().as_u16());
    for (name, value) in head.headers() {
        let name = name.as_str().as_bytes();
        if Known::of(name).is_hop_by_hop() {
            return Err(ForwardError::BadHead("it has a field of HTTP/1.1 connections"));
        }
        into.fields.append(name, value.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weir_upstream::{EndpointPlan, Target, Upstream};

    use super::*;

    /// A GET of `/a?b` that names `shop.example`, with these fields, to an upstream with this `host`.
    fn written(host: HostPlan, change: impl FnOnce(&mut Exchange)) -> Result<Request<()>, ForwardError> {
        let mut exchange = Exchange::new(Instant::now());
        let head = b"GET /a?b HTTP/1.1\r\nAccept: */*\r\nCookie: a=1\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n";
        exchange.request.parse(head, &weir_wire::http1::HeadLimits::default()).unwrap();
        exchange.authority = b"shop.example".to_vec();
        exchange.path = b"/a".to_vec();
        (exchange.has_query, exchange.query) = (true, b"b".to_vec());
        change(&mut exchange);
        let mut plan = UpstreamPlan::new("app");
        plan.host = host;
        let target = Target::Address(weir_upstream::Address::Tcp(([127, 0, 0, 1], 81).into()));
        plan.endpoints.push(EndpointPlan::new(target));
        let upstream = Upstream::compile(plan.clone(), None, Instant::now());
        request(&exchange, &plan, &upstream.endpoints()[0])
    }

    #[test]
    fn a_request_says_what_it_said_on_http_1() {
        let head = written(HostPlan::Preserve, |_| ()).unwrap();
        assert_eq!(
            (head.method(), head.uri().to_string().as_str()),
            (&Method::GET, "http://shop.example/a?b")
        );
        let fields: Vec<_> = head.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("accept", "*/*"), ("cookie", "a=1"), ("x-two", "1"), ("x-two", "2")]);
    }

    #[test]
    fn the_authority_is_what_host_would_be() {
        let of = |host, change: fn(&mut Exchange)| {
            let head = written(host, change).unwrap();
            head.uri().authority().unwrap().to_string()
        };
        assert_eq!(of(HostPlan::Preserve, |_| ()), "shop.example");
        assert_eq!(of(HostPlan::Preserve, |exchange| exchange.authority.clear()), "127.0.0.1:81");
        assert_eq!(of(HostPlan::Endpoint, |_| ()), "127.0.0.1:81");
        assert_eq!(of(HostPlan::Name("in.example:8443".to_owned()), |_| ()), "in.example:8443");
        let rewritten = |exchange: &mut Exchange| exchange.rewritten_host = Some(b"new.example".to_vec());
        assert_eq!(of(HostPlan::Preserve, rewritten), "new.example");
    }

    #[test]
    fn fields_of_a_connection_never_pass_whoever_set_them() {
        for (name, value) in [
            ("Connection", "close"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AA"),
            ("TE", "gzip"),
            ("Host", "other.example"),
        ] {
            let add =
                |exchange: &mut Exchange| exchange.request.fields.append(name.as_bytes(), value.as_bytes());
            let head = written(HostPlan::Preserve, add).unwrap();
            assert!(head.headers().get(name).is_none(), "{name}");
        }
        let head = written(HostPlan::Preserve, |exchange| exchange.wants_trailers = true).unwrap();
        assert_eq!(head.headers()[header::TE], "trailers");
    }

    #[test]
    fn bytes_that_no_path_of_http_2_may_have_are_encoded() {
        let head = written(HostPlan::Preserve, |exchange| {
            exchange.rewritten = Some(b"/a<b>`\"?c=`#d".to_vec());
        });
        let uri = head.unwrap().uri().to_string();
        assert_eq!(uri, "http://shop.example/a%3Cb%3E%60%22?c=%60%23d");
    }

    #[test]
    fn a_websocket_handshake_is_a_connect_without_its_key() {
        let head = written(HostPlan::Preserve, |exchange| {
            exchange.upgrade = Some(Upgrade::WebSocket);
            exchange.request.fields.append(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
            exchange.request.fields.append(b"Sec-WebSocket-Version", b"13");
        })
        .unwrap();
        assert_eq!(head.method(), Method::CONNECT);
        assert_eq!(head.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
        assert!(head.headers().get(header::SEC_WEBSOCKET_KEY).is_none());
        assert_eq!(head.headers()[header::SEC_WEBSOCKET_VERSION], "13");
    }

    #[test]
    fn an_answer_is_read_in_its_order_and_within_its_limit() {
        let mut head = Response::new(());
        for (name, value) in [("a", "1"), ("set-cookie", "x=1"), ("set-cookie", "y=2")] {
            head.headers_mut().append(name, value.parse().unwrap());
        }
        let mut into = ResponseHead::default();
        response(&head, &mut into, 3).unwrap();
        assert_eq!((into.status, into.fields.len()), (200, 3));
        assert_eq!(into.fields.all(Known::SetCookie).collect::<Vec<_>>(), [b"x=1", b"y=2"]);
        assert!(matches!(
            response(&head, &mut into, 2),
            Err(ForwardError::Head(ResponseError::TooManyFields))
        ));
        head.headers_mut().append("connection", "close".parse().unwrap());
        assert!(matches!(response(&head, &mut into, 9), Err(ForwardError::BadHead(_))));
    }
}
