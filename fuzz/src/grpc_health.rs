use weir_wire::grpc_health::{ANSWER_BYTES_MAX, answer, request};

/// An answer is read or refused whatever its bytes are, and its bound holds; a request is always framed whole.
pub fn grpc_health(data: &[u8]) {
    if answer(data).is_ok() {
        assert!((5..=ANSWER_BYTES_MAX).contains(&data.len()));
    }
    let framed = request(&String::from_utf8_lossy(data));
    let length = u32::from_be_bytes([framed[1], framed[2], framed[3], framed[4]]) as usize;
    assert_eq!(framed.len(), 5 + length);
}
