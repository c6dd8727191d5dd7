//! The one spelling of paths and hosts, and the patterns held against it.

use proptest::prelude::*;
use weir_route::{
    EncodedSlashes, Expression, HostError, HostPattern, Method, PathError, PathPattern, PathRules,
    PatternErrorKind, normalize_host, normalize_path,
};

fn path(text: &[u8]) -> Result<Vec<u8>, PathError> {
    normalize_path(text, &mut Vec::new()).map(<[u8]>::to_vec)
}

#[test]
fn paths_get_one_spelling() {
    for (written, normal) in [
        ("", "/"),
        ("/", "/"),
        ("/a//b///c", "/a/b/c"),
        ("/%7euser/%41", "/~user/A"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2E/b", "/b"),
        ("/a//../b", "/b"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/.well-known/...", "/.well-known/..."),
        ("/a;x=1/b", "/a;x=1/b"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/a|b", "/a%7Cb"),
        ("/caf\u{e9}", "/caf%C3%A9"),
    ] {
        assert_eq!(path(written.as_bytes()), Ok(normal.into()), "{written}");
    }
}

#[test]
fn encoded_slashes_are_refused_where_that_is_asked_for_normalised_or_not() {
    for normalize in [true, false] {
        let rules = PathRules { normalize, encoded_slashes: EncodedSlashes::Refuse };
        for slash in ["%2F", "%2f", "%5C", "%5c"] {
            let path = format!("/a%20b{slash}c");
            let refused = rules.read(path.as_bytes(), &mut Vec::new()).unwrap_err();
            assert_eq!(refused, PathError::EncodedSlash { offset: 6 }, "{path}");
        }
        // What decodes into an encoded slash is none.
        for path in ["/", "/a%20b/c", "/%252F", "/%2E5C"] {
            assert!(rules.read(path.as_bytes(), &mut Vec::new()).is_ok(), "{path}");
        }
    }
}

#[test]
fn paths_that_servers_read_in_two_ways_are_refused() {
    assert_eq!(path(b"a"), Err(PathError::NotAbsolute));
    assert_eq!(path(b"*"), Err(PathError::NotAbsolute));
    assert_eq!(path(b"/%"), Err(PathError::InvalidEncoding { offset: 1 }));
    assert_eq!(path(b"/%4"), Err(PathError::InvalidEncoding { offset: 1 }));
    assert_eq!(path(b"/%g0"), Err(PathError::InvalidEncoding { offset: 1 }));
    assert_eq!(path(b"/a%00"), Err(PathError::Nul { offset: 2 }));
    assert_eq!(path(b"/a\\b"), Err(PathError::Backslash { offset: 2 }));
    assert_eq!(path(b"/a%5cb"), Err(PathError::Backslash { offset: 2 }));
    assert_eq!(path(b"/a%5Cb"), Err(PathError::Backslash { offset: 2 }));
    assert!(matches!(path(b"/.."), Err(PathError::AboveRoot { .. })));
    assert!(matches!(path(b"/a/%2e%2e/%2e%2e/b"), Err(PathError::AboveRoot { .. })));
    assert!(matches!(path(b"/a/..;/b"), Err(PathError::DotSegmentWithParameter { .. })));
    assert!(matches!(path(b"/a/%2e%2e;x/b"), Err(PathError::DotSegmentWithParameter { .. })));
    for hidden in ["/a/..%2Fb", "/..%2fb", "/a%2F..", "/a%2f%2E%2e%2fb", "/.%2Fb", "/a/b%2F../c", "/a%2F..;x"]
    {
        assert!(
            matches!(path(hidden.as_bytes()), Err(PathError::DotSegmentBesideEncodedSlash { .. })),
            "{hidden}"
        );
    }
    assert_eq!(path(b"/a..%2F...%2F.b").unwrap(), b"/a..%2F...%2F.b");
    for byte in [0, b'\t', b'\n', b' ', b'#', b'?', 0x7f] {
        assert_eq!(path(&[b'/', byte]), Err(PathError::InvalidByte { offset: 1, byte }));
    }
}

#[test]
fn a_normal_path_is_returned_borrowed_and_leaves_the_buffer_alone() {
    let mut buffer = Vec::new();
    let written: &[u8] = b"/v1/users/%E4%BD%A0/.well-known";
    let normal = normalize_path(written, &mut buffer).unwrap();
    assert!(std::ptr::eq(normal, written));
    assert_eq!(buffer.capacity(), 0);
}

#[test]
fn hosts_get_one_spelling() {
    for (written, name, port) in [
        ("Example.COM", "example.com", None),
        ("example.com.:8080", "example.com", Some(8080)),
        ("example.com:", "example.com", None),
        ("[::1]:443", "[::1]", Some(443)),
        ("[FE80::1]", "[fe80::1]", None),
    ] {
        let mut buffer = Vec::new();
        let host = normalize_host(written.as_bytes(), &mut buffer).unwrap();
        assert_eq!((host.name, host.port), (name.as_bytes(), port), "{written}");
    }
}

#[test]
fn host_games_are_refused() {
    for written in [
        "",
        ".",
        ":80",
        "a..b",
        ".a",
        "a,b",
        "a b",
        "u@a",
        "a/b",
        "a%2e",
        "*.a",
        "\u{e9}",
        "[::1",
        "[a]",
        "[::1%eth0]",
    ] {
        assert!(normalize_host(written.as_bytes(), &mut Vec::new()).is_err(), "{written}");
    }
    for written in ["a:x", "a:65536", "a:+1", "a:1:2", "[::1]x", "a:000001"] {
        assert_eq!(
            normalize_host(written.as_bytes(), &mut Vec::new()),
            Err(HostError::InvalidPort),
            "{written}"
        );
    }
}

#[test]
fn a_wildcard_host_covers_one_or_more_labels() {
    let pattern = HostPattern::parse("*.Example.com.").unwrap();
    assert!(pattern.covers(b"a.example.com") && pattern.covers(b"a.b.example.com"));
    assert!(!pattern.covers(b"example.com") && !pattern.covers(b"xexample.com"));
    assert!(HostPattern::parse("[::1]").unwrap().covers(b"[::1]"));
}

#[test]
fn a_bad_pattern_points_at_its_text_and_says_what_to_write() {
    let problem = |text| PathPattern::parse(text).unwrap_err();
    assert_eq!(problem("/a/:/b").range, 3..4);
    assert_eq!(problem("/a/*rest/b").range, 3..8);
    assert_eq!(problem("/a/:x/:x").kind, PatternErrorKind::RepeatedParam { name: "x".into() });
    assert_eq!(problem("/a//b%7e").help(), "write `/a/b~`");
    assert_eq!(problem("/{id}").kind, PatternErrorKind::BracedParam);
    assert_eq!(problem("/a?b").range, 2..4);
    assert_eq!(HostPattern::parse("a.com:80").unwrap_err().range, 5..8);
    assert_eq!(HostPattern::parse("[::1]:80").unwrap_err().range, 5..8);
    assert_eq!(HostPattern::parse("a.*.com").unwrap_err().range, 2..3);
    assert_eq!(Method::parse("get").unwrap_err().help(), "write `GET`");
    assert_eq!(Expression::parse("a(b").unwrap_err().range, 1..2);
    assert_eq!(Expression::parse("a{1000}{1000}{9}").unwrap_err().kind, PatternErrorKind::ExpressionTooLarge);
    assert_eq!(PathPattern::parse("/caf\u{e9}/*").unwrap().to_string(), "/caf%C3%A9/*");
}

#[test]
fn an_expression_matches_whole_values_only() {
    let digits = Expression::parse("[0-9]+").unwrap();
    assert!(digits.is_match(b"17") && !digits.is_match(b"17a") && !digits.is_match(b""));
    let either = Expression::parse("a|bc").unwrap();
    assert!(either.is_match(b"bc") && !either.is_match(b"ac") && !either.is_match(b"abc"));
    assert!(Expression::parse("^/r[0-9]+/.*$").unwrap().is_match(b"/r1/x"));
    assert!(Expression::parse("(?x) a #b").unwrap().is_match(b"a"));
}

/// A slow reading of the same rules: decode each segment, then resolve them on a stack. `None` is any refusal.
fn naive(text: &[u8]) -> Option<Vec<u8>> {
    let text: &[u8] = if text.is_empty() { b"/" } else { text };
    let mut stack: Vec<String> = Vec::new();
    let mut ends_in_slash = true;
    for raw in text.strip_prefix(b"/")?.split(|&byte| byte == b'/') {
        let mut segment = String::new();
        let mut at = 0;
        while at < raw.len() {
            let encoded = raw[at] == b'%';
            let byte = if encoded {
                let digits = raw.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
                at += 2;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            } else {
                raw[at]
            };
            at += 1;
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if byte == 0
                || byte == b'\\'
                || (!encoded && (byte <= b' ' || byte == 0x7f || b"?#".contains(&byte)))
            {
                return None;
            }
            if unreserved || (!encoded && b"!$&'()*+,;=:@".contains(&byte)) {
                segment.push(char::from(byte));
            } else {
                segment += &format!("%{byte:02X}");
            }
        }
        ends_in_slash = matches!(segment.as_str(), "" | "." | "..");
        match segment.as_str() {
            "" | "." => {}
            ".." => drop(stack.pop()?),
            other
                if other.split("%2F").any(|piece| {
                    matches!(piece, "." | "..") || piece.starts_with(".;") || piece.starts_with("..;")
                }) =>
            {
                return None;
            }
            _ => stack.push(segment),
        }
    }
    let slash = if ends_in_slash && !stack.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", stack.join("/")).into_bytes())
}

proptest! {
    #[test]
    fn normalising_agrees_with_a_slow_reading_of_the_rules(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "/", "/", ".", "..", "a", "%2e", "%2F", "%7e", "%", "%0", ";", "|", "%5c", "%00", "\u{e9}", "~", "%c3", "?",
            ]),
            0..14,
        )
    ) {
        let text = format!("/{}", parts.concat());
        prop_assert_eq!(path(text.as_bytes()).ok(), naive(text.as_bytes()), "{}", text);
    }

    #[test]
    fn normalising_twice_is_normalising_once(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let text = [b"/".as_slice(), &bytes].concat();
        if let Ok(once) = path(&text) {
            let mut buffer = Vec::new();
            prop_assert!(std::ptr::eq(normalize_path(&once, &mut buffer).unwrap(), once.as_slice()));
        }
    }

    #[test]
    fn no_host_value_panics_and_what_passes_is_normal(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
        let mut buffer = Vec::new();
        if let Ok(host) = normalize_host(&bytes, &mut buffer) {
            let again = normalize_host(host.name, &mut Vec::new()).map(|host| host.name.to_vec());
            prop_assert_eq!(again.unwrap(), host.name);
        }
    }

    #[test]
    fn no_pattern_text_panics_and_problems_lie_inside_the_text(text in "[/:*a-z.%{}0-9\\[\\]\u{e9}]{0,20}") {
        for error in [PathPattern::parse(&text).err(), HostPattern::parse(&text).err(), Expression::parse(&text).err()] {
            let Some(error) = error else { continue };
            prop_assert!(text.get(error.range.clone()).is_some(), "{:?} in {:?}", error, text);
        }
    }
}
