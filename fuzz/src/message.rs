use weir_wire::http1::{
    Head, HeadLimits, HeadScanner, Known, Method, RequestHead, ResponseHead, ScanError, request_body,
    response_body,
};

/// Small, so that a fuzzer reaches them.
const LIMITS: HeadLimits = HeadLimits { bytes: 4 << 10, fields: 32 };

/// The head at the beginning of the bytes; the same whether they come at once or one by one.
fn delimit(data: &[u8]) -> Option<&[u8]> {
    let whole = HeadScanner::default().scan(data, LIMITS.bytes);
    let mut scanner = HeadScanner::default();
    let pieces = (1..=data.len())
        .map(|length| scanner.scan(&data[..length], LIMITS.bytes))
        .find(|found| *found != Ok(None))
        .unwrap_or(Ok(None));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "the end of a head depends on how it arrives"),
        (Err(_), Err(_)) => {}
        // In one piece the end is looked for first, and the line end is refused when the lines are read.
        (Ok(Some(end)), Err(ScanError::BareLf)) => {
            assert!(RequestHead::default().parse(&data[..end], &LIMITS).is_err());
            assert!(ResponseHead::default().parse(&data[..end], &LIMITS).is_err());
        }
        differ => panic!("whether a head is refused depends on how it arrives: {differ:?}"),
    }
    let end = whole.ok()??;
    assert!(end <= LIMITS.bytes && data[..end].ends_with(b"\r\n\r\n"));
    Some(&data[..end])
}

fn fields(head: &Head) -> Vec<(Known, Vec<u8>, Vec<u8>)> {
    head.iter().map(|(known, name, value)| (known, name.to_vec(), value.to_vec())).collect()
}

/// Nothing that one reader could take for structure is in a name or a value.
fn check_fields(head: &Head) {
    assert!(head.len() <= LIMITS.fields);
    for (known, name, value) in head.iter() {
        assert!(
            !name.is_empty()
                && name.iter().all(|b| b.is_ascii_graphic() && !b"(),/:;<=>?@[\\]{}\"".contains(b))
        );
        assert!(value.iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f));
        assert!(
            !value.first().is_some_and(|b| b" \t".contains(b))
                && !value.last().is_some_and(|b| b" \t".contains(b))
        );
        assert_eq!(known, Known::of(name));
        assert_eq!(known, Known::of(&name.to_ascii_uppercase()), "a name has no case");
    }
}

fn check_stripped(mut head: Head) {
    let options: Vec<Vec<u8>> = head
        .all(Known::Connection)
        .flat_map(weir_wire::http1::list_items)
        .filter(|item| !item.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    head.strip_hop_by_hop();
    for (known, name, _) in head.iter() {
        assert!(!known.is_hop_by_hop());
        // What frames and addresses the message is not for a client to remove.
        let protected = matches!(known, Known::Host | Known::ContentLength | Known::TransferEncoding);
        assert!(
            protected || !options.contains(&name.to_ascii_lowercase()),
            "{:?}",
            String::from_utf8_lossy(name)
        );
    }
}

fn write_request(head: &RequestHead) -> Vec<u8> {
    let mut out =
        [head.method_bytes(), b" ", head.target_bytes(), b" ", head.version().as_str().as_bytes()].concat();
    out.extend(b"\r\n");
    head.fields.write_fields(&mut out);
    out.extend(b"\r\n");
    out
}

/// Request heads: read the same however they arrive, and written so that they are read the same again.
pub fn http1_request(data: &[u8]) {
    let Some(bytes) = delimit(data) else { return };
    let mut head = RequestHead::default();
    if head.parse(bytes, &LIMITS).is_err() {
        return;
    }
    check_fields(&head.fields);
    let written = write_request(&head);
    let mut again = RequestHead::default();
    again
        .parse(&written, &HeadLimits { bytes: 2 * LIMITS.bytes, ..LIMITS })
        .expect("what was written is a head");
    assert_eq!(fields(&again.fields), fields(&head.fields));
    assert_eq!(again.method_bytes(), head.method_bytes());
    assert_eq!(again.target(), head.target());
    assert_eq!(request_body(&again), request_body(&head));
    assert_eq!(again.is_persistent(), head.is_persistent());
    assert_eq!(again.expects_continue(), head.expects_continue());
    assert_eq!(write_request(&again), written);
    check_stripped(again.fields);
}

fn write_response(head: &ResponseHead) -> Vec<u8> {
    let mut out = Vec::new();
    head.write_status_line(&mut out);
    head.fields.write_fields(&mut out);
    out.extend(b"\r\n");
    out
}

/// Response heads: as requests.
pub fn http1_response(data: &[u8]) {
    let Some(bytes) = delimit(data) else { return };
    let mut head = ResponseHead::default();
    if head.parse(bytes, &LIMITS).is_err() {
        return;
    }
    check_fields(&head.fields);
    assert!((100..=999).contains(&head.status));
    let written = write_response(&head);
    let mut again = ResponseHead::default();
    again
        .parse(&written, &HeadLimits { bytes: 2 * LIMITS.bytes, ..LIMITS })
        .expect("what was written is a head");
    assert_eq!((again.status, again.reason()), (head.status, head.reason()));
    assert_eq!(fields(&again.fields), fields(&head.fields));
    if again.version() == head.version() {
        for method in [Method::Get, Method::Head, Method::Post] {
            assert_eq!(response_body(&again, method), response_body(&head, method));
        }
    }
    assert_eq!(write_response(&again), written);
    check_stripped(again.fields);
}
