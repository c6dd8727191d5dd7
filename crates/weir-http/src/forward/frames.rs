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
    for name in CONNECTION {
        fields.remove(name);
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

/// What no message of HTTP/2 may carry (RFC 9113 section 8.2.2), and `host`, which would speak beside `:authority`. A
/// policy may have set one of them.
const CONNECTION: [header::HeaderName; 5] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HeaderName::from_static("keep-alive"),
];

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
