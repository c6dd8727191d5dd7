use super::HEADER_BYTES;
use crate::http1::Head;

/// The flag of a frame that holds trailers.
pub const TRAILERS_FLAG: u8 = 0x80;

/// Appends the last frame of an answer: the trailers as lines of `name: value`, names in lower case.
///
/// As long as the lines are, which the bounds of trailers bound.
pub fn write_trailers(trailers: &Head, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[TRAILERS_FLAG, 0, 0, 0, 0]);
    for (_, name, value) in trailers.iter() {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    let length = out.len() - start - HEADER_BYTES;
    let length = u32::try_from(length).expect("trailer sections are bounded far below 4 GiB");
    out[start + 1..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_lines_in_one_frame() {
        let mut trailers = Head::default();
        trailers.append(b"Grpc-Status", b"0");
        trailers.append(b"x-sum-bin", b"AAE=");
        let mut out = b"before".to_vec();
        write_trailers(&trailers, &mut out);
        assert_eq!(out, b"before\x80\0\0\0\x21grpc-status: 0\r\nx-sum-bin: AAE=\r\n");
    }
}
