//! Distinguished and alternative names as texts that may stand in a header or a log line.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::X509Name;

/// A distinguished name as RFC 4514 writes it: the most specific part first. Holds no control characters.
pub(crate) fn distinguished(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(short) => text.push_str(short),
                Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push('=');
            match attribute.as_str() {
                Ok(value) => escape(value, &mut text),
                Err(_) => {
                    text.push('#');
                    let hex = |byte: &u8| write!(text, "{byte:02x}").expect("a text takes all");
                    attribute.as_slice().iter().for_each(hex);
                }
            }
        }
    }
    text
}

/// RFC 4514 section 2.4; control characters as pairs of hexadecimal digits.
fn escape(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, char) in value.chars().enumerate() {
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', char]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            char if char.is_control() => {
                let mut bytes = [0; 4];
                for byte in char.encode_utf8(&mut bytes).bytes() {
                    write!(text, "\\{byte:02X}").expect("a text takes all");
                }
            }
            char => text.push(char),
        }
    }
}

/// One alternative name with its kind: `DNS:example.com`, `URI:spiffe://…`; none for kinds that are no plain text.
pub(crate) fn alternative(name: &GeneralName<'_>) -> Option<String> {
    let plain = |kind: &str, value: &str| {
        let is_plain = value.chars().all(|char| !char.is_control() && char != ',');
        is_plain.then(|| format!("{kind}:{value}"))
    };
    match name {
        GeneralName::DNSName(value) => plain("DNS", value),
        GeneralName::RFC822Name(value) => plain("email", value),
        GeneralName::URI(value) => plain("URI", value),
        GeneralName::IPAddress(bytes) => Some(format!("IP:{}", address(bytes)?)),
        GeneralName::DirectoryName(name) => Some(format!("DirName:{}", distinguished(name))),
        _ => None,
    }
}

/// An address as certificates hold it.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4().or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_so_that_they_break_neither_a_name_nor_a_line() {
        for (value, escaped) in [
            ("a", "a"),
            ("a, b=c", "a\\, b=c"),
            (" a ", "\\ a\\ "),
            ("#1#", "\\#1#"),
            ("a\r\nx: y", "a\\0D\\0Ax: y"),
            ("ä", "ä"),
        ] {
            let mut text = String::new();
            escape(value, &mut text);
            assert_eq!(text, escaped);
        }
        assert_eq!(alternative(&GeneralName::DNSName("a\nb")), None);
        assert_eq!(alternative(&GeneralName::IPAddress(&[1, 2, 3, 4])).as_deref(), Some("IP:1.2.3.4"));
    }
}
