//! The request head as it goes to an endpoint.

use weir_upstream::{Endpoint, HostPlan, UpstreamPlan};
use weir_wire::http1::Body;

use crate::exchange::{Exchange, Upgrade};

/// Writes the head for one endpoint to `exchange.up`.
pub(super) fn write(exchange: &mut Exchange, plan: &UpstreamPlan, endpoint: &Endpoint) {
    let mut up = std::mem::take(&mut exchange.up);
    up.clear();
    up.extend_from_slice(exchange.request.method_bytes());
    up.push(b' ');
    exchange.write_target(&mut up);
    up.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    match (&exchange.rewritten_host, &plan.host) {
        (Some(host), _) => up.extend_from_slice(host),
        (None, HostPlan::Preserve) => up.extend_from_slice(&exchange.authority),
        (None, HostPlan::Endpoint) => up.extend_from_slice(endpoint.host().as_bytes()),
        (None, HostPlan::Name(name)) => up.extend_from_slice(name.as_bytes()),
    }
    up.extend_from_slice(b"\r\n");
    exchange.request.fields.write_fields(&mut up);
    if exchange.framing == Body::Chunked {
        up.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match &exchange.upgrade {
        Some(Upgrade::WebSocket) => up.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        Some(Upgrade::Other(token)) => {
            up.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
            up.extend_from_slice(token);
            up.extend_from_slice(b"\r\n");
        }
        None if exchange.wants_trailers => up.extend_from_slice(b"Connection: TE\r\nTE: trailers\r\n"),
        None => {}
    }
    up.extend_from_slice(b"\r\n");
    exchange.up = up;
}
