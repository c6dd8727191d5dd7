use weir_wire::proxy_protocol::{HEADER_BYTES_MAX, Parsed, parse};

/// A PROXY header is judged the same however it is split: what is decided about a prefix stays decided.
pub fn proxy_protocol(data: &[u8]) {
    let whole = parse(data);
    if let Ok(Parsed::Header(header)) = &whole {
        assert!(header.length <= data.len() && header.length <= HEADER_BYTES_MAX);
        assert!(header.tlvs.end <= header.length);
        // Bounded: each item takes at least three bytes, and the first that is malformed is the last.
        let items = header.tlvs(data).take_while(Result::is_ok).count();
        assert!(items <= header.length / 3);
    }
    for end in 0..data.len().min(300) {
        match parse(&data[..end]) {
            Ok(Parsed::Incomplete) => {}
            // A header is whole before what follows it.
            decided => assert_eq!(decided, whole, "at {end} bytes"),
        }
    }
}
