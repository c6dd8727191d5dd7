use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use weir_base::ErrorCode;
use weir_config::Secret;
use weir_wire::http1::{Known, RequestHead, Target};

use crate::answer::Refusal;

/// Who may ask.
#[derive(Debug)]
pub struct Guard {
    hosts: Box<[String]>,
    token: Option<Secret>,
}

impl Guard {
    /// Answers to loopback names, to the address that a connection came to, and to `hosts`; asks for `token` where
    /// there is one, but for the health probes.
    pub fn new(hosts: &[String], token: Option<Secret>) -> Self {
        Self { hosts: hosts.iter().map(|host| canonical(host).to_owned()).collect(), token }
    }

    /// Whether the request names this address and comes from no other site's page.
    ///
    /// # Errors
    ///
    /// 421 for a foreign name, 403 for a foreign origin.
    pub(crate) fn check_site(&self, head: &RequestHead, local: Option<SocketAddr>) -> Result<(), Refusal> {
        let mut hosts = head.fields.all(Known::Host);
        let (host, second) = (hosts.next(), hosts.next());
        let authority = match head.target() {
            Ok(Target::Absolute { authority, .. }) => Some(authority),
            _ => None,
        };
        let named = [authority, host].into_iter().flatten().all(|name| self.is_own(name, local));
        let Some(host) = host.filter(|_| named && second.is_none()) else {
            return Err(Refusal::because(
                ErrorCode::AdminHostRefused,
                "the admin address answers to loopback names, its own address and the names in admin.hosts",
            ));
        };
        let origins_are_own = head.fields.all(Known::Origin).all(|origin| is_same_site(origin, host));
        // `none`: the user typed it in. A page on another port of this host is `same-site`, and foreign.
        let fetched_from_here = head
            .fields
            .named(b"sec-fetch-site")
            .all(|site| site.eq_ignore_ascii_case(b"same-origin") || site.eq_ignore_ascii_case(b"none"));
        if origins_are_own && fetched_from_here {
            Ok(())
        } else {
            Err(Refusal::new(ErrorCode::AdminOriginRefused))
        }
    }

    /// Whether the request carries the token, if one is asked for.
    ///
    /// # Errors
    ///
    /// 401.
    pub(crate) fn check_token(&self, head: &RequestHead) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut fields = head.fields.all(Known::Authorization);
        let presented = match (fields.next(), fields.next()) {
            (Some(value), None) => bearer(value),
            _ => None,
        };
        if presented.is_some_and(|presented| is_same(presented, token.expose().as_bytes())) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Unauthorized)
            .with_field("www-authenticate", "Bearer realm=\"weir admin\""))
    }

    fn is_own(&self, authority: &[u8], local: Option<SocketAddr>) -> bool {
        let Some(host) = std::str::from_utf8(authority).ok().and_then(without_port) else { return false };
        let host = canonical(host);
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => {
                let ip = ip.to_canonical();
                ip.is_loopback()
                    || local.is_some_and(|local| local.ip().to_canonical() == ip)
                    || self.lists(host)
            }
            Err(_) => host.eq_ignore_ascii_case("localhost") || self.lists(host),
        }
    }

    fn lists(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// A name without its trailing dot.
fn canonical(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// The host of `host[:port]`; none where that is not its form.
fn without_port(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, _) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            address.len() + 2
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (!host.is_empty() && port_is_good).then_some(host)
}

/// Whether a page of this origin is a page of this very address. The scheme may be https: a proxy in front of us
/// may have ended TLS.
fn is_same_site(origin: &[u8], host: &[u8]) -> bool {
    let after = |scheme: &[u8]| {
        let (start, rest) = origin.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    [(&b"http://"[..], &b":80"[..]), (b"https://", b":443")].into_iter().any(|(scheme, port)| {
        let bare = |authority: &[u8]| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
        after(scheme).is_some_and(|authority| bare(authority) == bare(host))
    })
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that depends on the length of what the client presented alone.
fn is_same(presented: &[u8], secret: &[u8]) -> bool {
    if secret.is_empty() {
        return false;
    }
    let mut difference = presented.len() ^ secret.len();
    for (place, byte) in presented.iter().enumerate() {
        // The remainder keeps the reads inside the secret; the lengths have been compared above.
        difference |= black_box(usize::from(byte ^ secret[place % secret.len()]));
    }
    black_box(difference) == 0
}
