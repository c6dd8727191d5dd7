//! A check by UDP, and how its datagrams are written.

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};

use super::{DOWN_AFTER, INTERVAL, TIMEOUT, UP_AFTER};
use crate::{PROBE_BYTES_MAX, UdpCheckPlan};

const BYTES_SHAPES: &[Shape] = &[Shape::Text, Shape::Object(&HEX)];

pub(super) static CHECK: Object = Object::new(
    "udp_check",
    "A datagram that must be answered. It is sent once for each check, from a port of its own; a refusal by ICMP is a \
     failure at once. `send` and `expect` are a text or `{ hex: \"…\" }`, at most 1232 bytes.",
    &[
        Key::new("send", Shape::OneOf(BYTES_SHAPES), "The datagram; `\"\"` for one without content.")
            .required(),
        Key::new(
            "expect",
            Shape::OneOf(BYTES_SHAPES),
            "What must stand anywhere in an answer; answers without it are passed over until the `timeout`. Any answer by default.",
        ),
        INTERVAL,
        TIMEOUT,
        UP_AFTER,
        DOWN_AFTER,
    ],
);

static HEX: Object = Object::new(
    "hex_bytes",
    "Bytes that are no text.",
    &[Key::new("hex", Shape::Text, "Two hexadecimal digits a byte; spaces may stand between bytes.")
        .required()],
);

pub(super) fn check(udp: &Section, problems: &Problems) -> UdpCheckPlan {
    let expect = udp.node("expect").and_then(|node| Some((node, bytes("expect", node, problems)?)));
    if let Some((node, _)) = expect.as_ref().filter(|(_, bytes)| bytes.is_empty()) {
        let problem = Problem::error(Code::MALFORMED, *node, "`expect` is empty, which every answer holds");
        problems.push(problem.help("remove the line to take any answer"));
    }
    UdpCheckPlan {
        send: udp.node("send").and_then(|node| bytes("send", node, problems)).unwrap_or_default(),
        expect: expect.map(|(_, bytes)| bytes),
    }
}

/// The bytes of a text, or those that `hex` spells.
fn bytes(key: &str, node: &Node, problems: &Problems) -> Option<Vec<u8>> {
    let bytes = match node.text() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let section = HEX.open(node, problems);
            let hex = section.node("hex")?;
            let Some(bytes) = unhex(hex.text()?) else {
                let message = format!("`hex` must be pairs of hexadecimal digits, got {}", hex.describe());
                problems
                    .push(Problem::error(Code::MALFORMED, hex, message).help("write for example `12 34 ab`"));
                return None;
            };
            bytes
        }
    };
    if bytes.len() > PROBE_BYTES_MAX {
        let message = format!("`{key}` is at most {PROBE_BYTES_MAX} bytes, got {}", bytes.len());
        problems.push(Problem::error(Code::OUT_OF_RANGE, node, message));
        return None;
    }
    Some(bytes)
}

/// Reads pairs of hexadecimal digits, with or without whitespace between the pairs.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for word in text.split_ascii_whitespace() {
        for pair in word.as_bytes().chunks(2) {
            let &[high, low] = pair else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16);
            bytes.push((digit(high)? << 4 | digit(low)?) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(unhex("00ff Ab\n 7f"), Some(vec![0, 0xff, 0xab, 0x7f]));
        assert_eq!(unhex(""), Some(vec![]));
        for bad in ["0", "0 0", "123", "0x12", "zz", "+1", "é1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
