use thiserror::Error;

/// Why a `Sec-WebSocket-Key` is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Sec-WebSocket-Key is not 16 bytes in base64")]
pub struct WebSocketKeyError;

/// Checks a `Sec-WebSocket-Key`: the base64 form of 16 bytes, 24 characters (RFC 6455 section 4.2.1).
///
/// # Errors
///
/// [`WebSocketKeyError`] for anything else.
pub fn websocket_key(value: &[u8]) -> Result<&[u8; 24], WebSocketKeyError> {
    let key: &[u8; 24] = value.try_into().map_err(|_| WebSocketKeyError)?;
    let alphabet = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    // 16 bytes are 21 full characters, one that carries 2 bits, and two of padding.
    let last = matches!(key[21], b'A' | b'Q' | b'g' | b'w');
    if key[..21].iter().all(alphabet) && last && key[22..] == *b"==" {
        Ok(key)
    } else {
        Err(WebSocketKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_in_base64() {
        assert!(websocket_key(b"dGhlIHNhbXBsZSBub25jZQ==").is_ok());
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ=a",
            "dGhlIHNhb\u{1}BsZSBub25jZQ==",
        ] {
            assert_eq!(websocket_key(bad.as_bytes()), Err(WebSocketKeyError), "{bad}");
        }
    }
}
