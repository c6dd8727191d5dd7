use weir_route::{HOST_BYTES_MAX, normalize_host, normalize_path as normalize};

/// Paths: one normal form, which is its own; what is refused is refused however it is encoded.
pub fn normalize_path(data: &[u8]) {
    let mut buffer = Vec::new();
    let found = normalize(data, &mut buffer).map(<[u8]>::to_vec);
    if let Ok(normal) = &found {
        check_normal(normal);
        let mut untouched = Vec::new();
        assert_eq!(normalize(normal, &mut untouched), Ok(&normal[..]), "normalising is idempotent");
        assert!(untouched.is_empty(), "what is normal is not copied");
    }
    // A reader that decodes what need not be encoded sees the same path, or the same refusal.
    let mut other_buffer = Vec::new();
    let other = normalize_encoded(data, &mut other_buffer);
    assert_eq!(found.clone().ok(), other, "{:?} however it is encoded", String::from_utf8_lossy(data));
}

fn check_normal(normal: &[u8]) {
    assert_eq!(normal.first(), Some(&b'/'));
    assert!(normal.iter().all(|b| b.is_ascii_graphic() && !b"\\?#\"<>^`{|}".contains(b)));
    for segment in normal[1..].split(|&b| b == b'/') {
        assert!(segment != b"." && segment != b"..");
        assert!(!segment.starts_with(b".;") && !segment.starts_with(b"..;"));
    }
    assert!(!normal.windows(2).any(|pair| pair == b"//"));
    for (at, _) in normal.iter().enumerate().filter(|(_, b)| **b == b'%') {
        let digits = std::str::from_utf8(&normal[at + 1..at + 3]).expect("graphic bytes are text");
        let byte = u8::from_str_radix(digits, 16).expect("two digits follow each percent sign");
        assert!(!digits.bytes().any(|b| b.is_ascii_lowercase()));
        assert!(byte != 0 && byte != b'\\' && !is_unreserved(byte));
    }
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~".contains(&b)
}

/// Normalises the path with every unreserved byte percent-encoded.
fn normalize_encoded(path: &[u8], buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut encoded = Vec::new();
    let mut at = 0;
    while let Some(&b) = path.get(at) {
        let is_triplet =
            b == b'%' && path.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        match b {
            _ if is_triplet => {
                encoded.extend(&path[at..at + 3]);
                at += 2;
            }
            // Any other `%` is an error, and must not become one more digit of a good encoding.
            b'%' => return normalize(path, buffer).ok().map(<[u8]>::to_vec),
            b if is_unreserved(b) => encoded.extend(format!("%{b:02x}").bytes()),
            b => encoded.push(b),
        }
        at += 1;
    }
    normalize(&encoded, buffer).ok().map(<[u8]>::to_vec)
}

/// Hosts: one spelling, whatever the case, the trailing dot and the port.
pub fn host(data: &[u8]) {
    let mut buffer = Vec::new();
    let Ok(found) = normalize_host(data, &mut buffer) else { return };
    let name = found.name.to_vec();
    assert!(!name.is_empty() && name.len() <= HOST_BYTES_MAX);
    assert!(name.iter().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"@/,%?#\\".contains(b)));
    assert_eq!(name.starts_with(b"["), name.contains(&b':'));
    assert!(!name.ends_with(b"."));

    let port = found.port;
    let mut spare = Vec::new();
    let mut same = |text: &[u8], port: Option<u16>| {
        let again = normalize_host(text, &mut spare).expect("another spelling of a good host is good");
        assert_eq!((again.name, again.port), (&name[..], port));
    };
    same(&name, None);
    same(&data.to_ascii_uppercase(), port);
    same(&data.to_ascii_lowercase(), port);
    let with_port = [&name[..], b":8080"].concat();
    same(&with_port, Some(8080));
    if !name.starts_with(b"[") {
        same(&[&name[..], b"."].concat(), None);
    }
}
