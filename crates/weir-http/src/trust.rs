use std::net::IpAddr;

use weir_net::TrustedProxies;
use weir_wire::http1::{Head, Known, list_items};

/// The client's address as told by `fields` of a request from the trusted `peer`.
///
/// `X-Forwarded-For`, else `Forwarded`, is read right to left: the first address that is not a trusted
/// proxy is the client. What cannot be read ends the walk at the last address that could.
pub(crate) fn client(trusted: &TrustedProxies, peer: IpAddr, fields: &Head) -> IpAddr {
    let mut client = peer;
    let mut walk = |value: &[u8]| {
        for item in value.rsplit(|&b| b == b',') {
            let Some(address) = parse_node(item) else { return false };
            client = address;
            if !trusted.contains(address) {
                return false;
            }
        }
        true
    };
    if fields.get(Known::XForwardedFor).is_some() {
        let mut values: Vec<&[u8]> = fields.all(Known::XForwardedFor).collect();
        values.reverse();
        values.into_iter().all(&mut walk);
    } else {
        let mut values: Vec<&[u8]> = fields.all(Known::Forwarded).flat_map(list_items).collect();
        values.reverse();
        values.into_iter().all(|element| forwarded_for(element).is_some_and(&mut walk));
    }
    client
}

/// The `for` parameter of one element of a `Forwarded` field (RFC 7239 section 4).
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    element.split(|&b| b == b';').find_map(|pair| {
        let pair = weir_wire::http1::trim_ows(pair);
        let (name, value) = pair.split_at_checked(4)?;
        let value = name.eq_ignore_ascii_case(b"for=").then_some(value)?;
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(weir_wire::http1::trim_ows(text)).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_good = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
        return address.parse().ok().filter(|_| port_is_good);
    }
    text.parse().ok().or_else(|| text.parse::<std::net::SocketAddrV4>().ok().map(|a| IpAddr::V4(*a.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &[(&str, &str)]) -> String {
        let trusted =
            TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        let mut head = Head::default();
        for (name, value) in fields {
            head.append(name.as_bytes(), value.as_bytes());
        }
        client(&trusted, "10.0.0.1".parse().unwrap(), &head).to_string()
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        assert_eq!(told(&[("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.9")]), "1.2.3.4");
        assert_eq!(
            told(&[("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4:55, 10.2.2.2")]),
            "1.2.3.4"
        );
        assert_eq!(told(&[("X-Forwarded-For", "10.0.0.7, 10.0.0.8")]), "10.0.0.7");
        assert_eq!(told(&[]), "10.0.0.1");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        assert_eq!(told(&[("X-Forwarded-For", "1.2.3.4, unknown, 10.0.0.9")]), "10.0.0.9");
        assert_eq!(told(&[("X-Forwarded-For", "evil")]), "10.0.0.1");
        assert_eq!(told(&[("X-Forwarded-For", "1.2.3.4, [2001:db8::1]:x")]), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
        assert_eq!(told(&[("Forwarded", "for=1.2.3.4;proto=https, for=\"[2001:db8::5]:80\"")]), "1.2.3.4");
        assert_eq!(told(&[("Forwarded", "proto=https")]), "10.0.0.1");
        assert_eq!(told(&[("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "2.2.2.2")]), "2.2.2.2");
    }
}
