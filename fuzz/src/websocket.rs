use weir_wire::websocket::{
    CONTROL_BYTES_MAX, Close, Decoder, HEADER_BYTES_MAX, Mask, Opcode, Piece, Role, Step, WebSocketError,
    frame_header,
};

/// What the frames of a connection say; data that is next to data is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

/// Frames of a WebSocket say the same however they are split, hold back little, and their data comes out again when it
/// is written as one frame.
///
/// The lowest bit of the first byte says which end we are.
pub fn websocket(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let role = if kind & 1 == 0 { Role::Server } else { Role::Client };
    let whole = read(role, data, data.len().max(1));
    for size in [1, 2, 3, 14, 125] {
        assert_eq!(read(role, data, size), whole, "in pieces of {size}");
    }
    for said in &whole.0 {
        if let Said::Data(data) = said {
            let mask = (role == Role::Server).then(|| Mask::new([kind, 0x5a, 0, 0xff]));
            assert_eq!(read(role, &written(data, mask), 7), (vec![said.clone()], None));
        }
    }
}

/// What was said before the first fault, and the fault.
fn read(role: Role, data: &[u8], size: usize) -> (Vec<Said>, Option<WebSocketError>) {
    let mut decoder = Decoder::new(role);
    let (mut said, mut waiting) = (Vec::new(), Vec::new());
    for piece in data.chunks(size) {
        waiting.extend_from_slice(piece);
        loop {
            let before = waiting.len();
            let Step { used, piece } = match decoder.step(&mut waiting) {
                Ok(step) => step,
                Err(error) => return (said, Some(error)),
            };
            assert!(used <= before && (used > 0 || piece == Piece::Incomplete), "a step goes on or waits");
            if piece == Piece::Incomplete {
                waiting.drain(..used);
                assert!(waiting.len() < HEADER_BYTES_MAX + CONTROL_BYTES_MAX, "{} bytes wait", waiting.len());
                break;
            }
            note(piece, &waiting, &mut said);
            waiting.drain(..used);
        }
    }
    (said, None)
}

fn note(piece: Piece, bytes: &[u8], said: &mut Vec<Said>) {
    let control = |place: std::ops::Range<usize>| {
        assert!(place.len() <= CONTROL_BYTES_MAX);
        bytes[place].to_vec()
    };
    let next = match piece {
        Piece::Incomplete => return,
        Piece::Data(place) => {
            assert!(!place.is_empty());
            if let Some(Said::Data(data)) = said.last_mut() {
                data.extend_from_slice(&bytes[place]);
                return;
            }
            Said::Data(bytes[place].to_vec())
        }
        Piece::Ping(place) => Said::Ping(control(place)),
        Piece::Pong(place) => Said::Pong(control(place)),
        Piece::Close(Close { code, reason }) => {
            assert!(std::str::from_utf8(&bytes[reason.clone()]).is_ok());
            Said::Close(code.map(|code| code.get()), control(reason))
        }
    };
    said.push(next);
}

fn written(data: &[u8], mask: Option<Mask>) -> Vec<u8> {
    let mut bytes = frame_header(Opcode::Binary, mask, data.len() as u64).as_slice().to_vec();
    let start = bytes.len();
    bytes.extend_from_slice(data);
    if let Some(mask) = mask {
        mask.apply(&mut bytes[start..], 0);
    }
    bytes
}
