//! What an endpoint's answer to an upgrade must look like.

use weir_wire::http1::{Known, list_items};
use weir_wire::websocket::accept_of;

use super::ForwardError;
use crate::exchange::{Exchange, Upgrade};

/// Checks a 101: the protocol that was asked for, and for WebSocket the proof that the key was seen.
pub(super) fn check(exchange: &Exchange) -> Result<(), ForwardError> {
    let fields = &exchange.response.fields;
    let wanted: &[u8] = match &exchange.upgrade {
        None => return Err(ForwardError::BadHead("it switches protocols without being asked")),
        Some(Upgrade::WebSocket) => b"websocket",
        Some(Upgrade::Other(token)) => token,
    };
    let named = fields.all(Known::Upgrade).flat_map(list_items).any(|item| item.eq_ignore_ascii_case(wanted));
    let listed =
        fields.all(Known::Connection).flat_map(list_items).any(|item| item.eq_ignore_ascii_case(b"upgrade"));
    if !named || !listed {
        return Err(ForwardError::UpgradeMismatch("it names another protocol"));
    }
    if exchange.upgrade == Some(Upgrade::WebSocket) {
        let key = exchange.request.fields.get(Known::SecWebSocketKey).unwrap_or_default();
        if fields.get(Known::SecWebSocketAccept) != Some(accept_of(key).as_bytes()) {
            return Err(ForwardError::UpgradeMismatch("Sec-WebSocket-Accept does not belong to the key"));
        }
    }
    Ok(())
}
