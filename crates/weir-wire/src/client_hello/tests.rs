use proptest::prelude::*;

use super::*;

mod fixtures;
mod message;

use message::{Message, alpn, records, server_name};

/// A result that borrows nothing: the name and the protocols, or what else it was.
type Found = Result<Outcome, HelloError>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Incomplete,
    Absent(Absent),
    Hello(Option<String>, Vec<Vec<u8>>),
}

fn found(bytes: &[u8]) -> Found {
    let mut joined = b"left over".to_vec();
    Ok(match parse(bytes, &mut joined)? {
        Parsed::Incomplete => Outcome::Incomplete,
        Parsed::Absent(absent) => Outcome::Absent(absent),
        Parsed::Hello(hello) => {
            let protocols = hello.alpn.iter().map(<[u8]>::to_vec).collect();
            Outcome::Hello(hello.server_name.map(str::to_owned), protocols)
        }
    })
}

fn named(name: &str, protocols: &[&str]) -> Found {
    Ok(Outcome::Hello(
        Some(name.to_owned()),
        protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
    ))
}

fn nameless() -> Found {
    Ok(Outcome::Hello(None, Vec::new()))
}

/// A hello with the usual parts and this name.
fn hello(name: &str) -> Message {
    Message::default().with(server_name(name.as_bytes())).with(alpn(&["h2", "http/1.1"]))
}

/// What is found out about each beginning: nothing, then the same answer for all that are longer.
fn settles(bytes: &[u8]) -> Found {
    let whole = found(bytes);
    let mut settled = false;
    for end in 0..bytes.len() {
        match found(&bytes[..end]) {
            Ok(Outcome::Incomplete) => assert!(!settled, "undecided again at {end}"),
            early => {
                assert_eq!(early, whole, "at {end} bytes");
                settled = true;
            }
        }
    }
    whole
}

#[test]
fn hellos_of_clients_are_read() {
    for (bytes, expected) in fixtures::all() {
        assert_eq!(settles(&bytes), expected);
        // What follows is not looked at.
        assert_eq!(found(&[&bytes[..], b"\x14\x03\x03\0\x01\x01more"].concat()), expected);
        let message = message::of_records(&bytes);
        for size in [1, 2, 3, 7, 255, 1 << 14] {
            assert_eq!(found(&records(&message, size)), expected, "in records of {size}");
        }
    }
}

#[test]
fn a_hello_is_incomplete_at_every_byte_before_its_end() {
    for size in [1, 5, 1 << 14] {
        let bytes = records(&hello("shop.example.com").bytes(), size);
        for end in 0..bytes.len() {
            assert_eq!(found(&bytes[..end]), Ok(Outcome::Incomplete), "at {end} bytes");
        }
        assert_eq!(found(&bytes), named("shop.example.com", &["h2", "http/1.1"]));
    }
}

#[test]
fn a_hello_in_one_record_is_borrowed_and_only_others_are_joined() {
    let message = hello("a.example").bytes();
    let (one, two) = (records(&message, 1 << 14), records(&message, message.len() - 1));
    let mut joined = Vec::new();
    let Ok(Parsed::Hello(hello)) = parse(&one, &mut joined) else { panic!("a hello") };
    assert!(one.as_ptr_range().contains(&hello.server_name.unwrap().as_ptr()));
    assert_eq!(joined.capacity(), 0);
    let Ok(Parsed::Hello(_)) = parse(&two, &mut joined) else { panic!("a hello") };
    assert!(joined.len() >= message.len());
}

#[test]
fn a_hello_without_extensions_names_nothing() {
    for message in [Message::default(), Message { extensions: None, ..Message::default() }] {
        assert_eq!(settles(&records(&message.bytes(), 1 << 14)), nameless());
    }
}

#[test]
fn names_are_those_of_dns() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
    assert_eq!(longest.len(), 253);
    for name in
        ["a", "Shop.Example.COM", "_dmarc.a-b.xn--bcher-kva.example", "1.2.3", "1.2.3.4.example", &longest]
    {
        for written in [name.to_owned(), format!("{name}.")] {
            let message = Message::default().with(server_name(written.as_bytes()));
            assert_eq!(found(&records(&message.bytes(), 1 << 14)), named(name, &[]), "{written}");
        }
    }
    let bad: [&[u8]; 17] = [
        b".",
        b"..",
        b"a..b",
        b".a",
        b"a..",
        b"*",
        b"*.example.com",
        b"a b",
        b"a\0.example.com",
        b"a.example.com\0",
        b"a\n",
        b"a/b",
        b"a:443",
        b"[::1]",
        b"b\xc3\xbccher.example",
        b"\xff",
        b"user@a",
    ];
    let long = [format!("{label}a.b"), format!("{longest}a"), format!("a.{longest}."), "a.".repeat(2_000)];
    for name in bad.into_iter().chain(long.iter().map(String::as_bytes)) {
        let bytes = records(&Message::default().with(server_name(name)).bytes(), 1 << 14);
        assert_eq!(settles(&bytes), Err(HelloError::ServerName), "{}", name.escape_ascii());
    }
}

#[test]
fn an_ip_address_is_no_name() {
    for address in ["192.0.2.1", "192.0.2.1.", "::1", "2001:db8::7", "::ffff:192.0.2.1"] {
        let message = Message::default().with(server_name(address.as_bytes()));
        assert_eq!(settles(&records(&message.bytes(), 1 << 14)), nameless(), "{address}");
    }
}

/// The outer name is the public one; the inner hello is a value like any other.
#[test]
fn with_an_encrypted_hello_the_outer_name_counts() {
    let message = hello("public.example").with((0xfe0d, vec![7; 300]));
    let bytes = records(&message.bytes(), 1 << 14);
    assert_eq!(found(&bytes), named("public.example", &["h2", "http/1.1"]));
}

#[test]
fn a_hello_of_post_quantum_size_is_read_in_two_segments() {
    // A key share of X25519MLKEM768 beside one of X25519.
    let message = hello("a.example").with((51, vec![1; 1_262])).bytes();
    let bytes = records(&message, 1 << 14);
    assert!(bytes.len() > 1_300);
    assert_eq!(found(&bytes[..1_300]), Ok(Outcome::Incomplete));
    assert_eq!(found(&bytes), named("a.example", &["h2", "http/1.1"]));
}

#[test]
fn other_protocols_are_told_apart_as_soon_as_certain() {
    let absent = |absent| Ok(Outcome::Absent(absent));
    let table: &[(&[u8], Absent)] = &[
        (b"GET / HTTP/1.1\r\n", Absent::OtherProtocol),
        (b"SSH-2.0-x", Absent::OtherProtocol),
        (b"\0", Absent::OtherProtocol),
        (b"\x16\x02\x01", Absent::OtherProtocol),
        // An alert, a change of ciphers, application data.
        (b"\x15\x03\x01\0\x02\x02\x28", Absent::OtherProtocol),
        (b"\x14\x03\x03\0\x01\x01", Absent::OtherProtocol),
        (b"\x17\x03\x03", Absent::OtherProtocol),
        // A ServerHello.
        (b"\x16\x03\x03\0\x7a\x02", Absent::OtherMessage),
        (b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10", Absent::Ssl2),
        (b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10", Absent::Ssl2),
        (b"\xff\xff\x01\x03\x00", Absent::Ssl2),
        (b"\x80\x2e\x04", Absent::OtherProtocol),
        (b"\x80\x2e\x01\x02\x03", Absent::OtherProtocol),
        (b"\x80\x2e\x01\0\x03", Absent::OtherProtocol),
    ];
    for &(bytes, expected) in table {
        assert_eq!(settles(bytes), absent(expected), "{}", bytes.escape_ascii());
        let shorter = found(&bytes[..bytes.len().min(6) - 1]);
        assert!(shorter.is_ok(), "{}: {shorter:?}", bytes.escape_ascii());
    }
    let ssl3 = Message { version: [3, 0], extensions: None, ..Message::default() };
    assert_eq!(settles(&records(&ssl3.bytes(), 1 << 14)), absent(Absent::Ssl3));
}

#[test]
fn versions_of_records_and_of_unknown_minor_number_are_borne_with() {
    for version in [[3, 1], [3, 3], [3, 4], [3, 0x7f]] {
        let mut bytes = records(&Message { version, ..hello("a.example") }.bytes(), 1 << 14);
        bytes[2] = version[1].wrapping_add(3);
        assert_eq!(found(&bytes), named("a.example", &["h2", "http/1.1"]));
    }
}

#[test]
fn a_malformed_hello_is_refused_and_stays_refused() {
    use HelloError::*;
    let one = |message: Message| records(&message.bytes(), 1 << 14);
    let with = |kind: u16, value: &[u8]| one(Message::default().with((kind, value.to_vec())));
    let good = hello("a.example").bytes();
    let two = records(&good, good.len() - 10);
    let second = 5 + good.len() - 10;
    let altered = |at: usize, byte: u8| {
        let mut bytes = two.clone();
        bytes[at] = byte;
        bytes
    };
    let with_tail = |tail: &[u8]| {
        let mut message = hello("a.example");
        message.tail = tail.to_vec();
        one(message)
    };
    let many: Vec<(u16, Vec<u8>)> = (100..=100 + EXTENSIONS_MAX as u16).map(|kind| (kind, vec![])).collect();
    let table: Vec<(&str, Vec<u8>, HelloError)> = vec![
        ("an empty record", b"\x16\x03\x01\0\0".to_vec(), RecordLength),
        (
            "an empty record between",
            [&two[..second], b"\x16\x03\x01\0\0", &two[second..]].concat(),
            RecordLength,
        ),
        ("a record of more than 2^14 bytes", b"\x16\x03\x01\x40\x01".to_vec(), RecordLength),
        ("a longer message", b"\x16\x03\x01\x02\0\x01\x01\0\0".to_vec(), TooLong),
        ("another kind between", altered(second, 23), Interrupted),
        ("another version between", altered(second + 1, 2), Interrupted),
        ("version 2", one(Message { version: [2, 0], ..hello("a") }), Version),
        ("version 4", one(Message { version: [4, 0], ..hello("a") }), Version),
        ("a session of 33 bytes", one(Message { session: vec![0; 33], ..hello("a") }), Length),
        ("no cipher", one(Message { suites: vec![], ..hello("a") }), Length),
        ("half a cipher", one(Message { suites: vec![0; 3], ..hello("a") }), Length),
        ("no compression", one(Message { compressions: vec![], ..hello("a") }), Length),
        ("bytes behind the extensions", with_tail(&[0]), Length),
        ("a second list of extensions", with_tail(&[0, 0]), Length),
        (
            "half a length of the extensions",
            one(Message { extensions: None, tail: vec![0], ..hello("a") }),
            Length,
        ),
        (
            "extensions that end early",
            one(Message { extensions: None, tail: vec![0, 1], ..hello("a") }),
            Length,
        ),
        (
            "half an extension's type",
            one(Message { extensions: None, tail: vec![0, 1, 0], ..hello("a") }),
            Length,
        ),
        (
            "an extension that reaches beyond",
            one(Message { extensions: None, tail: vec![0, 5, 0, 99, 0, 2, 0], ..hello("a") }),
            Length,
        ),
        ("a repeated name", one(hello("a").with(server_name(b"a"))), RepeatedExtension),
        ("a repeated unknown one", one(hello("a").with((99, vec![])).with((99, vec![]))), RepeatedExtension),
        ("129 extensions", one(Message { extensions: Some(many), ..hello("a") }), TooManyExtensions),
        ("an empty extension of names", with(0, b""), Length),
        ("an empty list of names", with(0, b"\0\0"), Length),
        ("an empty name", with(0, b"\0\x03\0\0\0"), Length),
        ("bytes behind the list", with(0, b"\0\x04\0\0\x01ab"), Length),
        ("a list that reaches beyond", with(0, b"\0\x05\0\0\x01a"), Length),
        ("a name that reaches beyond", with(0, b"\0\x04\0\0\x02a"), Length),
        ("two names", with(0, b"\0\x08\0\0\x01a\0\0\x01b"), ServerNames),
        ("bytes behind the name", with(0, b"\0\x05\0\0\x01ab"), ServerNames),
        ("another kind of name", with(0, b"\0\x04\x01\0\x01a"), ServerNames),
        ("an empty extension of protocols", with(16, b""), Length),
        ("an empty list of protocols", with(16, b"\0\0"), Length),
        ("an empty protocol", with(16, b"\0\x04\0\x02h2"), Length),
        ("half a list of protocols", with(16, b"\0\x01\0"), Length),
        ("a protocol that reaches beyond", with(16, b"\0\x03\x03h2"), Length),
        ("bytes behind the protocols", with(16, b"\0\x03\x02h2\0"), Length),
    ];
    for (what, mut bytes, expected) in table {
        assert_eq!(settles(&bytes), Err(expected), "{what}");
        bytes.extend(b"\x16\x03\x01\0\x01\0more");
        assert_eq!(found(&bytes), Err(expected), "{what}, and more");
    }
}

#[test]
fn what_is_wrong_is_said_before_the_rest_came() {
    let of = |message: Message| records(&message.bytes(), 1 << 14);
    let names =
        of(Message::default().with(server_name(b"a")).with(server_name(b"a")).with((99, vec![0; 999])));
    assert_eq!(found(&names[..names.len() - 999]), Err(HelloError::RepeatedExtension));
    assert_eq!(found(b"\x16\x03\x01\0\xff\x01\0\0\xfb\x02"), Ok(Outcome::Incomplete));
    assert_eq!(found(b"\x16\x03\x01\0\xff\x01\0\0\xfb\x02\x00"), Err(HelloError::Version));
    assert_eq!(found(b"\x16\x03\x01\x40\x00\x01\x00\x40\x00"), Err(HelloError::TooLong));
    assert_eq!(found(b"\x16\x03\x01\0\x04\x01\0\0\0"), Err(HelloError::Length), "an empty message");
}

#[test]
fn a_hello_is_whole_within_its_bound_or_refused_at_the_record_that_shows_it() {
    let base = hello("a.example").bytes().len() + 4;
    let padded = |length: usize| hello("a.example").with((21, vec![0; length - base])).bytes();
    // In one record, in two, and in records of 100 bytes.
    for size in [1 << 14, 9_000, 100] {
        let mut longest = HELLO_BYTES_MAX;
        while longest + 5 * longest.div_ceil(size) > HELLO_BYTES_MAX {
            longest -= 1;
        }
        let fits = records(&padded(longest), size);
        assert_eq!(found(&fits), named("a.example", &["h2", "http/1.1"]));
        let bytes = records(&padded(longest + 1), size);
        assert!(bytes.len() > HELLO_BYTES_MAX);
        assert_eq!(found(&bytes), Err(HelloError::TooLong));
        assert_eq!(found(&bytes[..HELLO_BYTES_MAX]), Err(HelloError::TooLong), "a full buffer decides");
        assert_eq!(settles(&bytes[..HELLO_BYTES_MAX]), Err(HelloError::TooLong));
    }
}

/// However many bytes there are, a buffer of the bound decides: records of one byte take six times their content.
#[test]
fn records_of_one_byte_are_joined_up_to_the_bound() {
    let short = records(&hello("a.example").with((51, vec![1; 1_262])).bytes(), 1);
    assert_eq!(found(&short), named("a.example", &["h2", "http/1.1"]));
    let long = records(&hello("a.example").with((51, vec![1; 4_000])).bytes(), 1);
    assert_eq!(found(&long[..HELLO_BYTES_MAX]), Err(HelloError::TooLong));
}

#[test]
fn no_bit_flip_panics_or_changes_an_answer_given_early() {
    let good = records(&hello("shop.example.com").bytes(), 50);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _any = settles(&bytes);
    }
}

fn messages() -> impl Strategy<Value = (Message, Found)> {
    let name = proptest::option::of("[a-z0-9_-]{1,12}(\\.[A-Za-z]{1,5}){1,3}");
    let protocols = proptest::collection::vec("[a-z0-9/.]{1,9}", 0..4);
    let others =
        proptest::collection::btree_map(60_u16.., proptest::collection::vec(any::<u8>(), 0..90), 0..6);
    let (session, suites) = (proptest::collection::vec(any::<u8>(), 0..=32), 1..40_usize);
    (name, protocols, others, session, suites).prop_map(|(name, protocols, others, session, suites)| {
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let mut extensions: Vec<(u16, Vec<u8>)> = others.into_iter().collect();
        extensions.extend(name.as_deref().map(|name| server_name(name.as_bytes())));
        extensions.extend((!protocols.is_empty()).then(|| alpn(&protocols)));
        extensions.sort_by_key(|(_, value)| value.len());
        let expected = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let message = Message {
            session,
            suites: vec![0x13; suites * 2],
            extensions: Some(extensions),
            ..Message::default()
        };
        (message, Ok(Outcome::Hello(name, expected)))
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read_in_records_of_any_length(
        (message, expected) in messages(),
        sizes in proptest::collection::vec(1..600_usize, 1..9),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = &message.bytes()[..];
        let mut bytes = Vec::new();
        for size in sizes.into_iter().cycle() {
            let (content, rest) = message.split_at(size.min(message.len()));
            bytes.extend(records(content, 1 << 14));
            message = rest;
            if message.is_empty() {
                break;
            }
        }
        prop_assume!(bytes.len() <= HELLO_BYTES_MAX);
        prop_assert_eq!(found(&bytes), expected);
        prop_assert_eq!(found(&bytes[..cut.index(bytes.len())]), Ok(Outcome::Incomplete));
    }

    #[test]
    fn any_bytes_give_an_answer_that_more_bytes_do_not_change(
        size in 1..400_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = records(&hello("shop.example.com").bytes(), size);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(tail);
        let _any = settles(&bytes);
    }

    #[test]
    fn noise_never_panics(start in prop_oneof![Just(&b""[..]), Just(&b"\x16\x03\x01"[..]), Just(&b"\x80"[..])], noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _any = settles(&[start, &noise].concat());
    }
}
