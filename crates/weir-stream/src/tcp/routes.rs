//! Which way a connection goes by what its ClientHello says, without decrypting anything.
//!
//! A route matches when all that it names matches. Among matching routes the winner is decided by the server name
//! (exact, then the longest wildcard, then none), then by the number of matchers (name and protocol before name), then
//! by the client's order of preference for the protocols. Two routes that none of this orders are a problem.

mod problem;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use weir_route::{HOST_BYTES_MAX, HostPattern};

pub use problem::{RouteProblem, problems};

/// Longest name of a protocol, in bytes (RFC 7301, section 3.1).
const PROTOCOL_BYTES_MAX: usize = 255;

/// What a hello must say for a route to match. With neither, every hello does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// The server names, of which one must cover the client's; empty for any, also for none at all.
    pub sni: Vec<HostPattern>,
    /// The application protocols, of which the client must offer one; empty for any, also for none at all.
    pub alpn: Vec<Protocol>,
}

/// An application protocol as ALPN names it: 1 to 255 bytes, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(Box<str>);

/// A text that names no protocol: it is empty, or longer than 255 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a protocol's name is 1 to {PROTOCOL_BYTES_MAX} bytes, such as `h2`")]
pub struct ProtocolError;

impl Protocol {
    /// Reads `h2`, `http/1.1`, `postgresql`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`].
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        match text.len() {
            1..=PROTOCOL_BYTES_MAX => Ok(Self(text.into())),
            _ => Err(ProtocolError),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The routes of a listener, arranged for lookup; immutable.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<[u8]>, Choices>,
    /// By the name after `*.`.
    wildcard: HashMap<Box<[u8]>, Choices>,
    any: Choices,
}

/// The routes of one pattern.
#[derive(Debug, Default)]
struct Choices {
    by_protocol: HashMap<Box<[u8]>, usize>,
    /// The route that asks for no protocol.
    plain: Option<usize>,
}

impl Routes {
    /// Arranges the routes. Of two that tie ([`problems`]) the first is kept.
    pub fn compile(routes: &[RouteMatch]) -> Self {
        let mut table = Self::default();
        for (place, route) in routes.iter().enumerate() {
            for (pattern, protocol) in route.choices() {
                let choices = match pattern {
                    None => &mut table.any,
                    Some(HostPattern::Exact(name)) => table.exact.entry(name.as_bytes().into()).or_default(),
                    Some(HostPattern::Wildcard(name)) => {
                        table.wildcard.entry(name.as_bytes().into()).or_default()
                    }
                };
                match protocol {
                    None => choices.plain.get_or_insert(place),
                    Some(protocol) => {
                        choices.by_protocol.entry(protocol.0.as_bytes().into()).or_insert(place)
                    }
                };
            }
        }
        table
    }

    /// The place of the route that wins, or none; never allocates.
    ///
    /// `name` is the name that the client asks for, in any case and without a trailing dot; `offered` are the protocols
    /// that it offers, the preferred one first. The cost is a hash for each label of the name, and for each protocol
    /// where a pattern that covers the name has routes by protocol.
    pub fn lookup<'a>(
        &self,
        name: Option<&str>,
        offered: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<usize> {
        let mut buffer = [0; HOST_BYTES_MAX];
        let name = name.and_then(|name| lowered(name, &mut buffer));
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcards = name.into_iter().flat_map(suffixes).filter_map(|suffix| self.wildcard.get(suffix));
        exact
            .into_iter()
            .chain(wildcards)
            .chain([&self.any])
            .find_map(|choices| choices.best(offered.clone()))
    }
}

impl RouteMatch {
    /// Each pattern with each protocol; nothing stands for anything.
    fn choices(&self) -> impl Iterator<Item = (Option<&HostPattern>, Option<&Protocol>)> {
        or_none(&self.sni).flat_map(|pattern| or_none(&self.alpn).map(move |protocol| (pattern, protocol)))
    }
}

impl Choices {
    fn best<'a>(&self, mut offered: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
        // A client may offer thousands, which need not be looked at where no route asks.
        if self.by_protocol.is_empty() {
            return self.plain;
        }
        offered.find_map(|protocol| self.by_protocol.get(protocol)).copied().or(self.plain)
    }
}

/// The items, or one that stands for any where there are none.
fn or_none<T>(items: &[T]) -> impl Iterator<Item = Option<&T>> {
    items.iter().map(Some).chain(items.is_empty().then_some(None))
}

/// The name in lower case; none for one that is longer than any pattern.
fn lowered<'b>(name: &str, buffer: &'b mut [u8; HOST_BYTES_MAX]) -> Option<&'b [u8]> {
    let lowered = buffer.get_mut(..name.len())?;
    lowered.copy_from_slice(name.as_bytes());
    lowered.make_ascii_lowercase();
    Some(lowered)
}

/// What stands behind each dot that has something before it, the longest first.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|&(at, &byte)| byte == b'.' && at > 0).map(|(at, _)| &name[at + 1..])
}
