//! What an endpoint's answer to an upgrade must look like.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use weir_wire::http1::{Known, list_items};

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
        if fields.get(Known::SecWebSocketAccept) != Some(accept(key).as_bytes()) {
            return Err(ForwardError::UpgradeMismatch("Sec-WebSocket-Accept does not belong to the key"));
        }
    }
    Ok(())
}

/// RFC 6455 section 4.2.2, step 5.4.
fn accept(key: &[u8]) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        // The example of RFC 6455 section 1.3.
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
