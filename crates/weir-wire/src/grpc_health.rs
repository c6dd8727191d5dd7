//! The messages of grpc.health.v1.Health/Check: one field each way, written and read without a protobuf library.
//!
//! A request is `message HealthCheckRequest { string service = 1; }`, an answer `message HealthCheckResponse
//! { ServingStatus status = 1; }`, each behind the five bytes that frame a message of gRPC.

/// Longest name of a service.
pub const SERVICE_BYTES_MAX: usize = 1_024;

/// Longest answer that is read, its frame included. One that is sent has two bytes and the frame; the rest is for fields
/// that later versions may add.
pub const ANSWER_BYTES_MAX: usize = 4_096;

/// What a server says of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// It does not know yet, or says nothing.
    Unknown,
    /// It serves.
    Serving,
    /// It does not serve.
    NotServing,
    /// It has no such service; said while watching only.
    ServiceUnknown,
    /// Something that a later version may mean.
    Other(u64),
}

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The five bytes before a message, or the message that they announce, are not all there.
    #[error("the answer is cut")]
    Cut,
    /// More than one message came, or one that is longer than an answer can be.
    #[error("the answer is longer than one can be")]
    TooLong,
    /// It is compressed, which nobody asked for.
    #[error("the answer is compressed")]
    Compressed,
    /// It is no protobuf.
    #[error("the answer is no message of protobuf")]
    Malformed,
}

/// A request for the state of a service, with its frame; the empty name stands for the whole server.
///
/// `service` has at most [`SERVICE_BYTES_MAX`] bytes; what is longer is cut.
pub fn request(service: &str) -> Vec<u8> {
    let service = &service.as_bytes()[..service.len().min(SERVICE_BYTES_MAX)];
    let mut message = Vec::with_capacity(service.len() + 3);
    // A field that has its default is left out.
    if !service.is_empty() {
        message.push(FIELD_1 << 3 | WIRE_BYTES);
        write_varint(service.len() as u64, &mut message);
        message.extend_from_slice(service);
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// Reads the whole body of an answer: one framed message.
///
/// # Errors
///
/// [`AnswerError`].
pub fn answer(body: &[u8]) -> Result<Serving, AnswerError> {
    if body.len() > ANSWER_BYTES_MAX {
        return Err(AnswerError::TooLong);
    }
    let (frame, message) = body.split_first_chunk::<5>().ok_or(AnswerError::Cut)?;
    let &[compressed, a, b, c, d] = frame;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if compressed != 0 {
        return Err(AnswerError::Compressed);
    }
    match message.len() {
        there if there < length => Err(AnswerError::Cut),
        there if there > length => Err(AnswerError::TooLong),
        _ => status(message),
    }
}

const FIELD_1: u8 = 1;
const WIRE_VARINT: u8 = 0;
const WIRE_64: u8 = 1;
const WIRE_BYTES: u8 = 2;
const WIRE_32: u8 = 5;

/// The last value of field 1, as protobuf has it; fields that are not known are passed over.
fn status(mut message: &[u8]) -> Result<Serving, AnswerError> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        match (tag >> 3, (tag & 7) as u8) {
            (0, _) => return Err(AnswerError::Malformed),
            (1, WIRE_VARINT) => status = read_varint(&mut message)?,
            (1, _) => return Err(AnswerError::Malformed),
            (_, WIRE_VARINT) => _ = read_varint(&mut message)?,
            (_, WIRE_64) => skip(&mut message, 8)?,
            (_, WIRE_32) => skip(&mut message, 4)?,
            (_, WIRE_BYTES) => {
                let length = read_varint(&mut message)?;
                skip(&mut message, usize::try_from(length).map_err(|_| AnswerError::Malformed)?)?;
            }
            _ => return Err(AnswerError::Malformed),
        }
    }
    Ok(match status {
        0 => Serving::Unknown,
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Other(other),
    })
}

fn skip(message: &mut &[u8], count: usize) -> Result<(), AnswerError> {
    *message = message.get(count..).ok_or(AnswerError::Malformed)?;
    Ok(())
}

/// Seven bits a byte, the lowest first; at most ten bytes.
fn read_varint(message: &mut &[u8]) -> Result<u64, AnswerError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().ok_or(AnswerError::Malformed)?;
        *message = rest;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && bits > 1 {
            return Err(AnswerError::Malformed);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(AnswerError::Malformed)
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_protobuf_libraries_write() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
        assert_eq!(request(&"x".repeat(5_000)).len(), 5 + 3 + SERVICE_BYTES_MAX);
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn answers_say_whether_the_service_serves() {
        for (message, serving) in [
            (&[][..], Serving::Unknown),
            (&[8, 1], Serving::Serving),
            (&[8, 2], Serving::NotServing),
            (&[8, 3], Serving::ServiceUnknown),
            (&[8, 0x80, 1], Serving::Other(128)),
            (&[8, 2, 8, 1], Serving::Serving),
            (
                &[0x12, 2, 8, 2, 8, 1, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 7],
                Serving::Serving,
            ),
        ] {
            assert_eq!(answer(&framed(message)), Ok(serving), "{message:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let eleven = [&[8][..], &[0xff; 10], &[1]].concat();
        let too_large = [&[8][..], &[0xff; 9], &[2]].concat();
        for bad in [&[8][..], &[0x12, 5, 1], &[0], &[0x0a, 1, 1], &[0x0b], &[0x12, 0xff], &eleven, &too_large]
        {
            assert_eq!(answer(&framed(bad)), Err(AnswerError::Malformed), "{bad:?}");
        }
        assert_eq!(answer(&[0, 0, 0, 0]), Err(AnswerError::Cut));
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8]), Err(AnswerError::Cut));
        assert_eq!(answer(&[0, 0xff, 0xff, 0xff, 0xff, 8]), Err(AnswerError::Cut));
        assert_eq!(answer(&[1, 0, 0, 0, 0]), Err(AnswerError::Compressed));
        assert_eq!(answer(&[0, 0, 0, 0, 0, 0]), Err(AnswerError::TooLong));
        assert_eq!(answer(&[0; ANSWER_BYTES_MAX + 1]), Err(AnswerError::TooLong));
    }

    #[test]
    fn the_largest_number_is_read() {
        let largest = [&[8][..], &[0xff; 9], &[1]].concat();
        assert_eq!(answer(&framed(&largest)), Ok(Serving::Other(u64::MAX)));
    }
}
