use weir_wire::client_hello::{HELLO_BYTES_MAX, HelloError, Parsed, parse};

/// Longest beginning whose every byte is tried, in bytes.
const BEGINNING_BYTES_MAX: usize = 600;

/// A ClientHello is judged the same however it is split into segments and into records.
pub fn client_hello(data: &[u8]) {
    let mut joined = Vec::new();
    let whole = parse(data, &mut joined);
    match &whole {
        Ok(Parsed::Incomplete) => assert!(data.len() < HELLO_BYTES_MAX, "a full buffer decides"),
        Ok(Parsed::Hello(hello)) => {
            assert!(hello.server_name.is_none_or(|name| (1..=253).contains(&name.len())));
            let bytes: usize = hello.alpn.iter().map(|protocol| 1 + protocol.len()).sum();
            assert!(bytes <= data.len() && hello.alpn.iter().all(|protocol| !protocol.is_empty()));
            assert_eq!(hello.alpn.is_empty(), bytes == 0);
        }
        Ok(Parsed::Absent(_)) | Err(_) => {}
    }
    let mut again = Vec::new();
    let mut is_settled = false;
    for end in 0..data.len().min(BEGINNING_BYTES_MAX) {
        match parse(&data[..end], &mut again) {
            Ok(Parsed::Incomplete) => assert!(!is_settled, "undecided again at {end} bytes"),
            decided => {
                // A hello is whole before what follows it.
                assert_eq!(decided, whole, "at {end} bytes");
                is_settled = true;
            }
        }
    }
    let Some(message) = message(data) else { return };
    for size in [1, 3, 64, 4_000, 1 << 14] {
        let records = records(&message, size);
        match parse(&records, &mut again) {
            // Headers count for the bound, so smaller records may lie beyond it.
            Err(HelloError::TooLong) => {}
            other if whole != Err(HelloError::TooLong) => assert_eq!(other, whole, "in records of {size}"),
            _ => {}
        }
    }
}

/// The contents of the records, when they are all well-formed handshake records; the last may be cut.
fn message(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while !data.is_empty() {
        let (&[22, 3, _, high, low], rest) = data.split_first_chunk()? else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(1..=1 << 14).contains(&length) {
            return None;
        }
        let (content, behind) = rest.split_at(length.min(rest.len()));
        message.extend_from_slice(content);
        data = behind;
    }
    Some(message)
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for content in message.chunks(size) {
        records.extend([22, 3, 1]);
        records.extend((content.len() as u16).to_be_bytes());
        records.extend(content);
    }
    records
}
