use proptest::prelude::*;

use super::*;

fn header(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Ok(Parsed::Header(header)) => header,
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// A header of version 2 with this command, family and block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

const INET: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xc3, 0x50, 0, 80];

fn good() -> Vec<Vec<u8>> {
    let with_tlvs = [&INET[..], &[0x04, 0, 1, 0, 0x02, 0, 3, b'a', b'.', b'b', 0xe0, 0, 0]].concat();
    vec![
        b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 80\r\n".to_vec(),
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 50000 443\r\n".to_vec(),
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF 65535 65535\r\n".to_vec(),
        b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 1 2\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n".to_vec(),
        b"PROXY UNKNOWN  what\0ever\xff\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0xff, &[1, 2, 3]),
        v2(0x21, 0x00, &[9; 40]),
        v2(0x21, 0x10, &INET),
        v2(0x21, 0x11, &INET),
        v2(0x21, 0x12, &INET),
        v2(0x21, 0x21, &[7; 36]),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x21, 0x11, &with_tlvs),
        v2(0x20, 0x00, &[0; HEADER_BYTES_MAX - 16]),
    ]
}

fn bad() -> Vec<(Vec<u8>, ProxyError)> {
    use ProxyError::*;
    let lines: &[(&str, ProxyError)] = &[
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", LineEnd),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rX", LineEnd),
        ("PROXY UNKNOWN \r\r\n", LineEnd),
        ("PROXY \r\n", Protocol),
        ("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Protocol),
        ("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", Protocol),
        ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", Protocol),
        ("PROXY UNKNOWNX\r\n", Protocol),
        ("PROXY /path HTTP/1.1\r\n", Protocol),
        ("PROXY TCP4\r\n", Fields),
        ("PROXY TCP4 \r\n", Fields),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", Fields),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", Fields),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", Fields),
        ("PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", Fields),
        ("PROXY TCP4 1.2.3.4\t5.6.7.8 1 2 3\r\n", Address),
        ("PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", Address),
        ("PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", Address),
        ("PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n", Address),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Address),
        ("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", Address),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Address),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", Address),
        ("PROXY TCP6 1::2::3 ::1 1 2\r\n", Address),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n", Port),
    ];
    let mut all: Vec<_> = lines.iter().map(|(line, error)| (line.as_bytes().to_vec(), *error)).collect();
    all.push((format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 15)).into_bytes(), LineEnd));
    all.push((format!("PROXY {}", "x".repeat(LINE_BYTES_MAX - 6)).into_bytes(), LineEnd));
    all.push((v2(0x11, 0x11, &INET), Version));
    all.push((v2(0x31, 0x11, &INET), Version));
    all.push((v2(0x22, 0x11, &INET), Command));
    all.push((v2(0x21, 0x41, &INET), Family));
    all.push((v2(0x21, 0x13, &INET), Family));
    all.push((v2(0x21, 0x11, &INET[..11]), TooShort));
    all.push((v2(0x21, 0x21, &[0; 35]), TooShort));
    all.push((v2(0x21, 0x31, &[0; 215]), TooShort));
    all.push((v2(0x21, 0x11, &[0; HEADER_BYTES_MAX - 15]), TooLong));
    all.push((v2(0x20, 0x00, &[0; 0xffff]), TooLong));
    for cut in [&[0x04][..], &[0x04, 0], &[0x04, 0, 1], &[0x04, 0xff, 0xff, 0], &[0x04, 0, 0, 0x05, 0, 2, 1]]
    {
        all.push((v2(0x21, 0x11, &[&INET[..], cut].concat()), Tlv));
    }
    all
}

#[test]
fn a_line_declares_both_ends() {
    let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 80\r\nGET / HTTP/1.1\r\n";
    let found = header(line);
    assert_eq!(found.source, address("203.0.113.7:50000"));
    assert_eq!(found.destination, address("192.0.2.1:80"));
    assert!(line[found.length..].starts_with(b"GET"));
    assert!(!found.is_local);
    let found = header(b"PROXY TCP6 2001:DB8::7 ::1 0 443\r\n");
    assert_eq!(found.source, address("[2001:db8::7]:0"));
    assert_eq!(found.destination, address("[::1]:443"));
}

#[test]
fn a_binary_header_declares_both_ends() {
    let found = header(&v2(0x21, 0x11, &INET));
    assert_eq!(found.source, address("203.0.113.7:50000"));
    assert_eq!(found.destination, address("192.0.2.1:80"));
    let mut block = [0; 36];
    (block[15], block[31], block[33], block[35]) = (1, 2, 3, 4);
    let found = header(&v2(0x21, 0x21, &block));
    assert_eq!(found.source, address("[::1]:3"));
    assert_eq!(found.destination, address("[::2]:4"));
}

#[test]
fn what_a_header_does_not_say_is_none() {
    for bytes in
        [&b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n"[..], &v2(0x21, 0x00, &INET), &v2(0x21, 0x31, &[1; 216])]
    {
        let found = header(bytes);
        assert_eq!((found.source, found.destination, found.is_local), (None, None, false));
    }
    let found = header(&v2(0x20, 0x11, &INET));
    assert_eq!((found.source, found.destination, found.is_local), (None, None, true));
}

#[test]
fn tlvs_are_read_one_by_one() {
    let bytes = v2(0x21, 0x11, &[&INET[..], &[0x02, 0, 3, b'a', b'.', b'b', 0xe0, 0, 0]].concat());
    let tlvs: Vec<_> = header(&bytes).tlvs(&bytes).map(Result::unwrap).collect();
    assert_eq!(tlvs, [Tlv { kind: 2, value: b"a.b" }, Tlv { kind: 0xe0, value: b"" }]);
    let mut cut = Tlvs::new(&[1, 0, 9, 0]);
    assert_eq!(cut.next(), Some(Err(TlvError)));
    assert_eq!(cut.next(), None);
}

#[test]
fn other_protocols_are_told_apart_by_the_first_byte_that_differs() {
    for absent in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROPFIND",
        b"PROXYX",
        b"\r\nGET",
        b"\r\n\r\n\0\r\nQUIX",
        b"\x16\x03\x01",
    ] {
        assert_eq!(parse(absent), Ok(Parsed::Absent), "{absent:?}");
    }
    for short in [&b""[..], b"P", b"PROXY", b"PROXY ", b"\r", b"\r\n\r\n"] {
        assert_eq!(parse(short), Ok(Parsed::Incomplete), "{short:?}");
    }
}

#[test]
fn a_header_is_incomplete_at_every_byte_before_its_end() {
    for mut bytes in good() {
        let length = bytes.len();
        for split in 0..length {
            assert_eq!(parse(&bytes[..split]), Ok(Parsed::Incomplete), "{:?}", &bytes[..split]);
        }
        let whole = header(&bytes);
        assert_eq!(whole.length, length);
        bytes.extend(b"GET / HTTP/1.1\r\n");
        assert_eq!(header(&bytes), whole);
    }
}

#[test]
fn a_malformed_header_is_refused_and_stays_refused() {
    for (mut bytes, error) in bad() {
        let mut refused = false;
        for split in 0..=bytes.len() {
            match parse(&bytes[..split]) {
                Ok(Parsed::Incomplete) if !refused => {}
                Err(found) => {
                    assert_eq!(found, error, "{:?}", String::from_utf8_lossy(&bytes));
                    refused = true;
                }
                other => panic!("{other:?} for {:?}", String::from_utf8_lossy(&bytes[..split])),
            }
        }
        bytes.extend(b"\r\nmore\r\n");
        assert_eq!(parse(&bytes), Err(error), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_header_too_long_is_refused_before_it_is_read() {
    assert_eq!(parse(&v2(0x21, 0x11, &[0; 0xffff])[..16]), Err(ProxyError::TooLong));
}

#[test]
fn headers_that_are_written_are_read_back() {
    for (from, to) in
        [("1.2.3.4:5", "6.7.8.9:10"), ("[::1]:5", "[2001:db8::1]:10"), ("1.2.3.4:5", "[::1]:10")]
    {
        let ends = (from.parse::<SocketAddr>().unwrap(), to.parse::<SocketAddr>().unwrap());
        let (mut line, mut binary) = (Vec::new(), Vec::new());
        write_v1(Some(ends), &mut line);
        write_v2(Some(ends), &[Tlv { kind: 5, value: b"id" }], &mut binary).unwrap();
        for bytes in [&line, &binary] {
            let found = header(bytes);
            let ip = |end: Option<SocketAddr>| end.map(|end| (end.ip().to_canonical(), end.port()));
            assert_eq!(ip(found.source), Some((ends.0.ip(), ends.0.port())));
            assert_eq!(ip(found.destination), Some((ends.1.ip(), ends.1.port())));
        }
        assert_eq!(header(&binary).tlvs(&binary).next(), Some(Ok(Tlv { kind: 5, value: b"id" })));
    }
    let mut out = Vec::new();
    write_v1(None, &mut out);
    assert_eq!(header(&out).source, None);
    out.clear();
    write_v2(None, &[], &mut out).unwrap();
    assert!(header(&out).is_local);
    out.clear();
    let long = [0; HEADER_BYTES_MAX];
    assert!(write_v2(None, &[Tlv { kind: 4, value: &long }], &mut out).is_err());
    assert!(out.is_empty());
}

#[test]
fn a_header_for_datagrams_differs_in_its_transport_alone() {
    for (from, to, family) in [("1.2.3.4:5", "6.7.8.9:10", 0x12), ("[::1]:5", "[2001:db8::1]:10", 0x22)] {
        let ends = (address(from).unwrap(), address(to).unwrap());
        let (mut stream, mut datagram) = (Vec::new(), Vec::new());
        write_v2(Some(ends), &[], &mut stream).unwrap();
        write_v2_datagram(ends.0, ends.1, &mut datagram);
        assert_eq!((datagram[13], header(&datagram).source), (family, Some(ends.0)));
        stream[13] = family;
        assert_eq!(stream, datagram);
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer_that_more_bytes_do_not_change(
        start in prop_oneof![Just(&b""[..]), Just(v1::SIGNATURE), Just(v2::SIGNATURE), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &rest[..]].concat();
        let mut settled = None;
        for split in 0..=bytes.len() {
            let found = parse(&bytes[..split]);
            if let Some(before) = &settled {
                prop_assert_eq!(&found, before);
            } else if found != Ok(Parsed::Incomplete) {
                settled = Some(found);
            }
        }
        if let Some(Ok(Parsed::Header(header))) = settled {
            prop_assert!(header.length <= bytes.len() && header.length <= HEADER_BYTES_MAX);
            prop_assert!(header.tlvs(&bytes).all(|tlv| tlv.is_ok()));
        }
    }

    #[test]
    fn any_line_of_text_gives_an_answer(line in "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9a-f.:]{0,110}(\r\n)?") {
        let _any = parse(line.as_bytes());
    }
}
