//! W3C Trace Context: which trace a request belongs to (`traceparent`, version 00).

/// Bytes of a `traceparent` of version 00.
pub const TRACEPARENT_BYTES: usize = 55;

/// A trace id, the span that is the gateway's own, and whether the trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` field. Strict: lower-case hex, no version `ff`, no zero ids; a later version is read
    /// as far as version 00 goes when what follows is set off by `-`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let version = hex(&head[..2])?;
        let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
        let length_fits =
            if version == 0 { rest.is_empty() } else { matches!(rest.first(), None | Some(b'-')) };
        if version == 0xff || !dashes || !length_fits {
            return None;
        }
        let trace_id = hex(&head[3..35])?;
        let span_id = hex(&head[36..52])? as u64;
        let flags = hex(&head[53..55])? as u8;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags: flags & 1 })
    }

    /// A new trace of three random numbers: two for its id, one for the gateway's span. Not marked as sampled:
    /// nothing is recorded here.
    pub fn generate(high: u64, low: u64, span: u64) -> Self {
        let trace_id = (u128::from(high) << 64 | u128::from(low)).max(1);
        Self { trace_id, span_id: span.max(1), flags: 0 }
    }

    /// The same trace with a span of the gateway's own.
    #[must_use]
    pub fn child(self, span: u64) -> Self {
        Self { span_id: span.max(1), ..self }
    }

    /// The field's value to pass on.
    pub fn traceparent(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        out[3..35].copy_from_slice(&self.trace_id_hex());
        write_hex(&self.span_id.to_be_bytes(), &mut out[36..52]);
        write_hex(&[self.flags], &mut out[53..55]);
        out
    }

    /// The trace id as it is logged.
    pub fn trace_id_hex(&self) -> [u8; 32] {
        let mut out = [0; 32];
        write_hex(&self.trace_id.to_be_bytes(), &mut out);
        out
    }

    /// Whether the caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(nibble))
    })
}

/// The two digits of each byte.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

fn write_hex(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = HEX[usize::from(*byte)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_field_reads_back_and_a_child_keeps_the_trace() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.traceparent(), GOOD);
        assert!(context.is_sampled());
        let child = context.child(0xabc);
        assert_eq!(&child.traceparent(), b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01");
        assert_eq!(&child.trace_id_hex(), b"4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn what_is_not_exactly_a_traceparent_is_refused() {
        let good = String::from_utf8(GOOD.to_vec()).unwrap();
        for bad in [
            String::new(),
            good[..54].to_owned(),
            format!("{good}-"),
            format!("{good} "),
            good.to_uppercase(),
            good.replacen("00-", "ff-", 1),
            good.replacen("00-", "0g-", 1),
            good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            good.replace('-', "_"),
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = [b"cc".as_slice(), &GOOD[2..], b"-what-comes-later"].concat();
        assert_eq!(TraceContext::parse(&later), TraceContext::parse(GOOD));
        assert_eq!(TraceContext::parse(&[b"cc".as_slice(), &GOOD[2..], b"x"].concat()), None);
    }

    #[test]
    fn a_generated_context_is_never_zero() {
        let text = TraceContext::generate(0, 0, 0).traceparent();
        assert!(TraceContext::parse(&text).is_some());
    }
}
