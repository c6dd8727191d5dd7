use weir_wire::http1::{Body, HeadLimits, HeadScanner, RequestHead, Version, request_body};

const LIMITS: HeadLimits = HeadLimits { bytes: 64 << 10, fields: 128 };

/// Request heads that we take: httparse, which hyper reads with, takes them too and reads the same.
pub fn http1_differential(data: &[u8]) {
    let Ok(Some(end)) = HeadScanner::default().scan(data, LIMITS.bytes) else { return };
    let mut head = RequestHead::default();
    if head.parse(&data[..end], &LIMITS).is_err() || head.target().is_err() {
        return;
    }
    let Ok(body) = request_body(&head) else { return };

    let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields];
    let mut other = httparse::Request::new(&mut fields);
    let taken = other.parse(data);
    assert_eq!(taken, Ok(httparse::Status::Complete(end)), "we take what httparse does not");

    assert_eq!(other.method.map(str::as_bytes), Some(head.method_bytes()));
    assert_eq!(other.path.map(str::as_bytes), Some(head.target_bytes()));
    assert_eq!(other.version, Some(u8::from(head.version() == Version::Http11)));
    let ours: Vec<(&[u8], &[u8])> = head.fields.iter().map(|(_, name, value)| (name, value)).collect();
    let theirs: Vec<(&[u8], &[u8])> =
        other.headers.iter().map(|field| (field.name.as_bytes(), field.value.trim_ascii())).collect();
    assert_eq!(ours, theirs);
    assert_eq!(Some(body), framing(&theirs), "the body has another length");
}

/// The framing as a lenient reader of RFC 9112 section 6.3 would find it.
fn framing(fields: &[(&[u8], &[u8])]) -> Option<Body> {
    let values = |wanted: &str| {
        let wanted = wanted.to_owned();
        fields
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()))
            .map(|(_, value)| *value)
    };
    let codings: Vec<&[u8]> = values("transfer-encoding").collect();
    if !codings.is_empty() {
        let last = codings.concat().to_ascii_lowercase();
        return last.ends_with(b"chunked").then_some(Body::Chunked);
    }
    let lengths: Vec<&[u8]> = values("content-length").collect();
    let Some(first) = lengths.first() else { return Some(Body::Empty) };
    let length: u64 = std::str::from_utf8(first).ok()?.parse().ok()?;
    Some(if length == 0 { Body::Empty } else { Body::Length(length) })
}
