use proptest::prelude::*;

use super::*;

const MASK: Mask = Mask::new([0x11, 0x82, 0xf3, 0x64]);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// What `role` makes of `bytes` that arrive in pieces of these sizes, the last one again and again; data is joined.
fn read(role: Role, bytes: &[u8], sizes: &[usize]) -> Result<Vec<Seen>, WebSocketError> {
    let mut decoder = Decoder::new(role);
    let mut seen = Vec::new();
    let mut waiting: Vec<u8> = Vec::new();
    let mut sizes = sizes.iter().copied();
    let mut size = usize::MAX;
    let mut rest = bytes;
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size).clamp(1, rest.len());
        waiting.extend(&rest[..size]);
        rest = &rest[size..];
        loop {
            let Step { used, piece } = decoder.step(&mut waiting)?;
            let is_over = piece == Piece::Incomplete;
            match piece {
                Piece::Incomplete => {}
                Piece::Data(place) => match seen.last_mut() {
                    Some(Seen::Data(data)) => data.extend(&waiting[place]),
                    _ => seen.push(Seen::Data(waiting[place].to_vec())),
                },
                Piece::Ping(place) => seen.push(Seen::Ping(waiting[place].to_vec())),
                Piece::Pong(place) => seen.push(Seen::Pong(waiting[place].to_vec())),
                Piece::Close(Close { code, reason }) => {
                    let reason = String::from_utf8(waiting[reason].to_vec()).unwrap();
                    seen.push(Seen::Close(code.map(CloseCode::get), reason));
                }
            }
            waiting.drain(..used);
            if is_over {
                assert!(
                    waiting.len() < HEADER_BYTES_MAX + CONTROL_BYTES_MAX,
                    "little is left with the caller"
                );
                break;
            }
        }
    }
    Ok(seen)
}

/// A frame byte by byte, so that it may be wrong in any way.
fn frame(first: u8, mask: Option<Mask>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_header(Opcode::Binary, mask, payload.len() as u64).as_slice().to_vec();
    bytes[0] = first;
    let start = bytes.len();
    bytes.extend(payload);
    if let Some(mask) = mask {
        mask.apply(&mut bytes[start..], 0);
    }
    bytes
}

#[test]
fn pieces_of_a_message_are_one_stream_with_control_frames_between_them() {
    let mut bytes = frame(0x02, Some(MASK), b"one ");
    bytes.extend(frame(0x89, Some(MASK), b"there?"));
    bytes.extend(frame(0x00, Some(MASK), b"and two"));
    bytes.extend(frame(0x8a, Some(MASK), b""));
    bytes.extend(frame(0x80, Some(MASK), b""));
    bytes.extend(frame(0x82, Some(MASK), &[7; 70_000]));
    bytes.extend(close_frame(Some(MASK), Some(CloseCode::GOING_AWAY), "bye").as_slice());
    let expected = [
        Seen::Data(b"one ".to_vec()),
        Seen::Ping(b"there?".to_vec()),
        Seen::Data(b"and two".to_vec()),
        Seen::Pong(Vec::new()),
        Seen::Data(vec![7; 70_000]),
        Seen::Close(Some(1001), "bye".into()),
    ];
    for size in [1, 2, 7, 4096, usize::MAX] {
        assert_eq!(read(Role::Server, &bytes, &[size]).unwrap(), expected, "in pieces of {size}");
    }
}

#[test]
fn a_frame_is_passed_on_long_before_it_is_whole() {
    let mut bytes = frame_header(Opcode::Binary, None, (1 << 63) - 1).as_slice().to_vec();
    bytes.extend(b"the beginning of eight exbibytes");
    let seen = read(Role::Client, &bytes, &[3]).unwrap();
    assert_eq!(seen, [Seen::Data(b"the beginning of eight exbibytes".to_vec())]);
}

#[test]
fn what_breaks_the_protocol_is_named_and_has_its_close_code() {
    let masked = |first, payload: &[u8]| frame(first, Some(MASK), payload);
    let long = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    let middle = |length: u16| [&[0x82, 0xfe][..], &length.to_be_bytes(), &[0; 4]].concat();
    let cases: Vec<(&str, Vec<u8>, WebSocketError, u16)> = vec![
        ("a compressed message", masked(0xc2, b"x"), WebSocketError::ReservedBit, 1002),
        ("another reserved bit", masked(0x92, b"x"), WebSocketError::ReservedBit, 1002),
        ("text", masked(0x81, b"x"), WebSocketError::Text, 1003),
        ("opcode 3", masked(0x83, b"x"), WebSocketError::Opcode, 1002),
        ("opcode 15", masked(0x8f, b"x"), WebSocketError::Opcode, 1002),
        ("a client that does not mask", frame(0x82, None, b"x"), WebSocketError::Masking, 1002),
        ("2^63 bytes", long(1 << 63), WebSocketError::Length, 1002),
        ("eight bytes for what fits two", long(0xffff), WebSocketError::Length, 1002),
        ("two bytes for what fits seven bits", middle(125), WebSocketError::Length, 1002),
        ("a ping in pieces", masked(0x09, b"x"), WebSocketError::Control, 1002),
        ("a ping of 126 bytes", masked(0x89, &[0; 126]), WebSocketError::Control, 1002),
        ("a continuation of nothing", masked(0x80, b"x"), WebSocketError::Fragment, 1002),
        (
            "a message within a message",
            [masked(0x02, b"x"), masked(0x82, b"y")].concat(),
            WebSocketError::Fragment,
            1002,
        ),
        ("half a close code", masked(0x88, b"\x03"), WebSocketError::CloseCode, 1002),
        (
            "a close code that may not be sent",
            masked(0x88, &1005_u16.to_be_bytes()),
            WebSocketError::CloseCode,
            1002,
        ),
        ("a close code of nobody", masked(0x88, &999_u16.to_be_bytes()), WebSocketError::CloseCode, 1002),
        ("a close reason that is no text", masked(0x88, b"\x03\xe8\xff"), WebSocketError::CloseReason, 1007),
        (
            "a frame behind the close frame",
            [masked(0x88, b""), masked(0x82, b"y")].concat(),
            WebSocketError::AfterClose,
            1002,
        ),
    ];
    for (name, bytes, error, code) in cases {
        for size in [1, usize::MAX] {
            assert_eq!(read(Role::Server, &bytes, &[size]), Err(error), "{name}");
        }
        assert_eq!(error.close_code().get(), code, "{name}");
    }
    assert_eq!(read(Role::Client, &masked(0x82, b"x"), &[1]), Err(WebSocketError::Masking));
}

#[test]
fn a_close_frame_may_be_empty_and_its_reason_is_cut_at_a_character() {
    let empty = close_frame(None, None, "unsaid");
    assert_eq!(read(Role::Client, empty.as_slice(), &[1]).unwrap(), [Seen::Close(None, String::new())]);
    let long = close_frame(None, CloseCode::application(4001), &"ä".repeat(100));
    let seen = read(Role::Client, long.as_slice(), &[1]).unwrap();
    assert_eq!(seen, [Seen::Close(Some(4001), "ä".repeat(61))]);
}

#[test]
fn the_frames_of_the_rfc_are_read() {
    // RFC 6455 section 5.7, its text frames as binary ones.
    let unmasked = [0x82, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let masked = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(Role::Client, &unmasked, &[1]).unwrap(), [Seen::Data(b"Hello".to_vec())]);
    assert_eq!(read(Role::Server, &masked, &[1]).unwrap(), [Seen::Data(b"Hello".to_vec())]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_arrives(
        payloads in proptest::collection::vec((any::<bool>(), 0..70_000_usize, any::<[u8; 4]>()), 1..5),
        sizes in proptest::collection::vec(1..3000_usize, 1..20),
        is_client in any::<bool>(),
    ) {
        let reader = if is_client { Role::Client } else { Role::Server };
        let mut bytes = Vec::new();
        let mut sent = Vec::new();
        for (is_ping, length, key) in payloads {
            let mask = (reader == Role::Server).then_some(Mask::new(key));
            let payload: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
            if is_ping {
                bytes.extend(ping_frame(mask, &payload).as_slice());
            } else {
                bytes.extend(frame(0x82, mask, &payload));
                sent.extend(payload);
            }
        }
        let seen = read(reader, &bytes, &sizes).unwrap();
        let mut got = Vec::new();
        for seen in seen {
            if let Seen::Data(data) = seen { got.extend(data) }
        }
        prop_assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    }

    #[test]
    fn any_bytes_are_judged_the_same_however_they_arrive(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        size in 1..40_usize,
        is_client in any::<bool>(),
    ) {
        let reader = if is_client { Role::Client } else { Role::Server };
        prop_assert_eq!(read(reader, &bytes, &[size]), read(reader, &bytes, &[usize::MAX]));
    }
}
