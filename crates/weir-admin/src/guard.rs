use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_base::ErrorCode;
use weir_config::Secret;
use weir_wire::http1::{Known, RequestHead, Target};

use crate::answer::Refusal;
use crate::lockout::{Failure, Lockout};
use crate::source::Ends;

/// Who may ask.
#[derive(Debug)]
pub struct Guard {
    hosts: Box<[String]>,
    token: Option<Secret>,
    lockout: Mutex<Lockout>,
}

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It has no `Authorization`; a guess would, so this is not counted as one.
    NoToken,
    WrongToken(Failure),
    /// Its source has presented too many wrong tokens.
    LockedOut {
        left: Duration,
    },
}

impl Denied {
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::NoToken | Self::WrongToken(_) => Refusal::new(ErrorCode::Unauthorized)
                .with_field("www-authenticate", "Bearer realm=\"weir admin\""),
            Self::LockedOut { left } => {
                // Rounded up: who comes back then is not refused again.
                let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                Refusal::new(ErrorCode::TooManyFailures).with_field("retry-after", seconds.to_string())
            }
        }
    }
}

impl Guard {
    /// Answers to loopback names, to the address that a connection came to, and to `hosts`; asks for `token` where
    /// there is one, but for the health probes.
    pub fn new(hosts: &[String], token: Option<Secret>) -> Self {
        Self {
            hosts: hosts.iter().map(|host| canonical(host).to_owned()).collect(),
            token,
            lockout: Mutex::default(),
        }
    }

    /// Whether the request names this address and comes from no other site's page.
    ///
    /// # Errors
    ///
    /// 421 for a foreign name, 403 for a foreign origin.
    pub(crate) fn check_site(&self, head: &RequestHead, local: Option<IpAddr>) -> Result<(), Refusal> {
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
    /// A source that is locked out is refused whatever it presents, so that guessing ends there. Not so on this very
    /// machine: whoever is on it shares a source with its operator and could keep them out for good. There the right
    /// token passes always and only the wrong ones are answered 429, and what withstands guessing is the token's length.
    ///
    /// # Errors
    ///
    /// [`Denied`]; wrong tokens are counted against the connection's source.
    pub(crate) fn check_token(&self, head: &RequestHead, ends: Ends, now: Instant) -> Result<(), Denied> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut fields = head.fields.all(Known::Authorization);
        let Some(first) = fields.next() else { return Err(Denied::NoToken) };
        let mut lockout = self.lockout.lock().unwrap_or_else(PoisonError::into_inner);
        let locked_for = lockout.locked_for(ends.source(), now);
        let presented = if fields.next().is_none() { bearer(first) } else { None };
        let is_right = || presented.is_some_and(|presented| is_same(presented, token.expose().as_bytes()));
        match locked_for {
            Some(left) if !ends.is_within_the_machine() => Err(Denied::LockedOut { left }),
            _ if is_right() => Ok(()),
            Some(left) => Err(Denied::LockedOut { left }),
            None => Err(Denied::WrongToken(lockout.fail(ends.source(), now))),
        }
    }

    fn is_own(&self, authority: &[u8], local: Option<IpAddr>) -> bool {
        let Some(host) = std::str::from_utf8(authority).ok().and_then(without_port) else { return false };
        let host = canonical(host);
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => {
                let ip = ip.to_canonical();
                ip.is_loopback() || local == Some(ip) || self.lists(host)
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
