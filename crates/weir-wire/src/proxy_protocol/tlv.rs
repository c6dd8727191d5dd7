use thiserror::Error;

/// One type-length-value of a header of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Such as 0x01 for ALPN, 0x02 for the server name, 0x05 for a connection's id.
    pub kind: u8,
    /// Its value; at most 65535 bytes.
    pub value: &'a [u8],
}

/// A TLV is cut short or reaches beyond the bytes that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a TLV reaches beyond the bytes that hold it")]
pub struct TlvError;

/// Reads TLVs one by one, without copying; ends after the first error.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// The TLVs of exactly these bytes, also those inside the value of another.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let split = rest.split_first_chunk::<3>().and_then(|(&[kind, high, low], rest)| {
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            Some((Tlv { kind, value }, rest))
        });
        let Some((tlv, rest)) = split else { return Some(Err(TlvError)) };
        self.rest = rest;
        Some(Ok(tlv))
    }
}
