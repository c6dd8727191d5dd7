//! Reads what a request head means, strictly, and finds its route.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_base::ErrorCode;
use weir_route::{FieldLookup, RequestView};
use weir_wire::http1::{
    Body, Head, Known, Method, RequestHead, Target, Version, is_token, list_items, request_body,
    websocket_key,
};

use super::gateway_fields;
use crate::connection::Connection;
use crate::exchange::{Exchange, Upgrade};
use crate::https::HttpsRedirect;
use crate::plane::{Plane, Route};
use crate::reject::Reject;
use crate::wire::Wire;

/// What a server-wide `OPTIONS *` is told; `CONNECT` and `TRACE` are not served.
pub(super) const METHODS: &[u8] = b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

const METHODS_TEXT: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

pub(super) enum Admitted<'a> {
    /// The route of a resource.
    Route(&'a Route),
    /// `OPTIONS *`.
    ServerOptions,
    /// Sent to the same place over HTTPS.
    Https(HttpsRedirect),
}

/// Judges the head; on success the exchange holds the request as it will be forwarded.
pub(super) fn admit<'a>(
    connection: &Connection,
    exchange: &mut Exchange,
    plane: &'a Plane,
) -> Result<Admitted<'a>, Reject> {
    exchange.scheme = connection.client.scheme();
    exchange.persistent = exchange.request.is_persistent();
    exchange.expects_continue = exchange.request.expects_continue();
    let listener = plane.listener(connection.client.admitted.listener.id);
    if listener.is_some_and(|listener| !listener.versions.http1)
        && exchange.request.version() != Version::Http2
    {
        return Err(Reject::new(ErrorCode::UnknownVersion).closing());
    }
    exchange.framing = framing(connection, exchange)?;
    refuse_method(&exchange.request)?;
    if read_target(exchange, connection, plane)? == TargetKind::Server {
        return Ok(Admitted::ServerOptions);
    }
    if let Some(redirect) = redirect_https(exchange, connection, plane) {
        return Ok(Admitted::Https(redirect));
    }
    exchange.upgrade = match exchange.connect.is_some() {
        true => Some(read_connect(connection, exchange)?),
        false => read_upgrade(&exchange.request, exchange.framing)?,
    };
    gateway_fields::finish(connection, exchange);
    let view = RequestView {
        // One that the configuration no longer has is none that a route names.
        listener: listener.map_or(u32::MAX, |listener| listener.match_id),
        host: &exchange.host,
        path: &exchange.path,
        query: &exchange.query,
        method: exchange.request.method_bytes(),
        fields: &Fields(&exchange.request.fields),
    };
    let id = plane
        .table
        .lookup(&view, &mut exchange.params)
        .ok_or_else(|| Reject::new(ErrorCode::RouteNotFound))?;
    Ok(Admitted::Route(&plane.routes[id as usize]))
}

/// How the body is delimited. On HTTP/2 the stream tells its end, whatever the fields say.
fn framing(connection: &Connection, exchange: &Exchange) -> Result<Body, Reject> {
    let request = &exchange.request;
    match (request_body(request)?, &connection.io) {
        _ if exchange.connect.is_some() => Ok(Body::Empty),
        (Body::Empty, Wire::H2(stream))
            if !stream.is_last() && request.fields.get(Known::ContentLength).is_none() =>
        {
            Ok(Body::Chunked)
        }
        (body, _) => Ok(body),
    }
}

/// Where a request is sent that is to come over HTTPS and has not, as far as a trusted proxy tells.
fn redirect_https(exchange: &Exchange, connection: &Connection, plane: &Plane) -> Option<HttpsRedirect> {
    let redirect = plane.listener(connection.client.admitted.listener.id)?.https.redirect?;
    let told = exchange.request.fields.get(Known::XForwardedProto).filter(|_| exchange.trusted_peer);
    let is_https = exchange.scheme == "https" || told.is_some_and(|told| told.eq_ignore_ascii_case(b"https"));
    (!is_https).then_some(redirect)
}

/// A head as the route table asks it.
pub(super) struct Fields<'a>(pub(super) &'a Head);

impl FieldLookup for Fields<'_> {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.named(name.as_bytes()).any(test)
    }
}

fn refuse_method(request: &RequestHead) -> Result<(), Reject> {
    match request.method() {
        Method::Connect | Method::Trace => {
            // What follows a CONNECT is not HTTP in its sender's eyes.
            Err(Reject::new(ErrorCode::MethodNotAllowed).with_field("allow", METHODS_TEXT).closing())
        }
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum TargetKind {
    Resource,
    Server,
}

/// Settles host, path and query: once, for matching and forwarding alike.
fn read_target(
    exchange: &mut Exchange,
    connection: &Connection,
    plane: &Plane,
) -> Result<TargetKind, Reject> {
    let request = &exchange.request;
    let host = one_host(request)?;
    let (authority, path, query) = match request.target()? {
        Target::Origin { path, query } => (host, path, query),
        Target::Asterisk => (host, &b""[..], None),
        Target::Absolute { authority, path, query } => {
            // RFC 9112 section 3.2.2 lets the target win; two different names are a trick or a fault.
            if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
                return Err(bad_host("Host differs from the host of the request target"));
            }
            (Some(authority), path, query)
        }
        Target::Authority(_) => return Err(Reject::new(ErrorCode::MethodNotAllowed).closing()),
    };
    let mut spare = std::mem::take(&mut exchange.up);
    if let Some(authority) = authority {
        let host =
            weir_route::normalize_host(authority, &mut spare).map_err(|error| bad_host(error.to_string()))?;
        if is_misdirected(connection, host.name) {
            return Err(Reject::new(ErrorCode::MisdirectedRequest));
        }
        exchange.host.extend_from_slice(host.name);
        exchange.authority.extend_from_slice(authority);
    }
    if path.is_empty() {
        return Ok(TargetKind::Server);
    }
    let rules = plane
        .listener(connection.client.admitted.listener.id)
        .map(|listener| listener.paths)
        .unwrap_or_default();
    let path = rules
        .read(path, &mut spare)
        .map_err(|error| Reject::because(ErrorCode::BadPath, error.to_string()))?;
    exchange.path.extend_from_slice(path);
    exchange.has_query = query.is_some();
    exchange.query.extend_from_slice(query.unwrap_or_default());
    spare.clear();
    exchange.up = spare;
    Ok(TargetKind::Resource)
}

/// Whether a connection on which clients prove who they are is used for another host than it was made for: what was
/// proved to the one was not proved to the other. A client that named none has not named another.
fn is_misdirected(connection: &Connection, host: &[u8]) -> bool {
    let facts = connection.client.tls.as_ref().filter(|facts| facts.asks_for_client);
    facts.and_then(|facts| facts.sni.as_deref()).is_some_and(|name| name.as_bytes() != host)
}

fn bad_host(detail: impl Into<std::borrow::Cow<'static, str>>) -> Reject {
    Reject::because(ErrorCode::BadHost, detail).closing()
}

fn one_host(request: &RequestHead) -> Result<Option<&[u8]>, Reject> {
    let mut hosts = request.fields.all(Known::Host);
    match (hosts.next(), hosts.next(), request.version()) {
        (None, _, Version::Http11) => Err(bad_host("an HTTP/1.1 request needs a Host field")),
        (None, _, Version::Http2) => Err(bad_host("an HTTP/2 request needs an :authority")),
        (Some(_), Some(_), _) => Err(bad_host("there is more than one Host field")),
        (host, _, _) => Ok(host),
    }
}

/// What a CONNECT over HTTP/2 asks for (RFC 8441). An endpoint of HTTP/1.1 is shown the key that belongs to the same
/// handshake there.
fn read_connect(connection: &Connection, exchange: &mut Exchange) -> Result<Upgrade, Reject> {
    if !exchange.connect.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        return Err(Reject::new(ErrorCode::UnknownProtocol));
    }
    let fields = &mut exchange.request.fields;
    if fields.get(Known::ContentLength).is_some() {
        // An endpoint of HTTP/1.1 that does not switch would take what follows on its connection for the body.
        return Err(Reject::because(ErrorCode::BadRequest, "a request to upgrade cannot have a body"));
    }
    if fields.count(Known::SecWebSocketVersion) != 1 || fields.get(Known::SecWebSocketVersion) != Some(b"13")
    {
        return Err(Reject::new(ErrorCode::UpgradeRequired).with_field("sec-websocket-version", "13"));
    }
    let random = [connection.worker.base.random(), connection.worker.base.random()];
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random[0].to_be_bytes());
    bytes[8..].copy_from_slice(&random[1].to_be_bytes());
    fields.remove(Known::SecWebSocketKey);
    fields.append_own(Known::SecWebSocketKey, "Sec-WebSocket-Key", STANDARD.encode(bytes).as_bytes());
    Ok(Upgrade::WebSocket)
}

/// What the connection is to become; `None` also for what is politely ignored, such as `h2c`.
fn read_upgrade(request: &RequestHead, framing: Body) -> Result<Option<Upgrade>, Reject> {
    let fields = &request.fields;
    let asked = request.version() == Version::Http11
        && fields
            .all(Known::Connection)
            .flat_map(list_items)
            .any(|item| item.eq_ignore_ascii_case(b"upgrade"));
    let Some(token) = fields.all(Known::Upgrade).flat_map(list_items).next().filter(|_| asked) else {
        return Ok(None);
    };
    // A token, with or without a version (RFC 9110 section 7.8); what is not that is nobody's protocol.
    if !token.splitn(2, |&b| b == b'/').all(is_token) {
        return Ok(None);
    }
    // HTTP itself is never what a connection becomes: it would pass by every rule (h2c, TLS/1.0, HTTP/2.0).
    if [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|refused| {
        let name = token.split(|&b| b == b'/').next().unwrap_or(token);
        name.eq_ignore_ascii_case(refused)
    }) {
        return Ok(None);
    }
    if framing != Body::Empty {
        // A body before the switch leaves it open where the new protocol begins.
        return Err(
            Reject::because(ErrorCode::BadRequest, "a request to upgrade cannot have a body").closing()
        );
    }
    if !token.eq_ignore_ascii_case(b"websocket") {
        return Ok(Some(Upgrade::Other(token.to_vec())));
    }
    if request.method() != Method::Get {
        return Err(Reject::because(ErrorCode::BadRequest, "a WebSocket handshake must be a GET"));
    }
    if fields.count(Known::SecWebSocketVersion) != 1 || fields.get(Known::SecWebSocketVersion) != Some(b"13")
    {
        return Err(Reject::new(ErrorCode::UpgradeRequired).with_field("sec-websocket-version", "13"));
    }
    let key = fields.get(Known::SecWebSocketKey).unwrap_or_default();
    if fields.count(Known::SecWebSocketKey) != 1 || websocket_key(key).is_err() {
        return Err(Reject::because(ErrorCode::BadRequest, "Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    Ok(Some(Upgrade::WebSocket))
}
