//! What a listener says about HTTPS: that browsers are to use it from now on, or that it is elsewhere.

mod spec;

pub use spec::{HSTS_KEY, REDIRECT_HTTPS_KEY};
use weir_base::ErrorCode;
use weir_wire::http1::{Method, Target};

use crate::exchange::Exchange;
use crate::reject::Reject;

/// `hsts` and `redirect_https` of a listener as checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpsPlan {
    /// The value of `Strict-Transport-Security` on answers over TLS.
    pub hsts: Option<Box<str>>,
    /// Where requests are sent that come without TLS.
    pub redirect: Option<HttpsRedirect>,
}

/// `redirect_https` as checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// The port that HTTPS is at; 443 is not written.
    pub port: u16,
}

const FIELD: &[u8] = b"strict-transport-security";

impl HttpsPlan {
    /// Adds what browsers are to remember to an answer over TLS; what a policy or the endpoint says stays.
    pub(crate) fn mark(&self, exchange: &mut Exchange) {
        let Some(value) = self.hsts.as_deref().filter(|_| exchange.scheme == "https") else { return };
        if exchange.response.fields.named(FIELD).next().is_none() {
            exchange.response.fields.append(b"Strict-Transport-Security", value.as_bytes());
        }
    }
}

impl HttpsRedirect {
    /// Where a request goes instead; path and query as they were written.
    ///
    /// # Errors
    ///
    /// 400 for a request that names no host: there is nowhere to send it.
    pub(crate) fn location(self, exchange: &Exchange) -> Result<Vec<u8>, Reject> {
        if exchange.host.is_empty() {
            return Err(Reject::because(
                ErrorCode::BadHost,
                "a request without a host cannot be sent to https",
            ));
        }
        let (path, query) = match exchange.request.target()? {
            Target::Origin { path, query } | Target::Absolute { path, query, .. } => (path, query),
            Target::Asterisk | Target::Authority(_) => (&b"/"[..], None),
        };
        let mut location = b"https://".to_vec();
        location.extend_from_slice(&exchange.host);
        if self.port != 443 {
            location.extend_from_slice(format!(":{}", self.port).as_bytes());
        }
        write(path, &mut location);
        if let Some(query) = query {
            location.push(b'?');
            write(query, &mut location);
        }
        Ok(location)
    }

    /// Makes the answer; returns its body.
    pub(crate) fn answer(self, exchange: &mut Exchange, location: &[u8]) -> Vec<u8> {
        exchange.response.reset(self.status);
        exchange.response.fields.append(b"Location", location);
        if exchange.request.method() != Method::Head {
            exchange.response.fields.append(b"Content-Type", b"text/plain; charset=utf-8");
        }
        let mut body = exchange.response.reason().to_vec();
        body.push(b'\n');
        body
    }
}

/// As written, but for bytes that no URI may hold.
fn write(part: &[u8], out: &mut Vec<u8>) {
    for &byte in part {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_uri_may_hold_is_encoded_and_the_rest_stays_as_it_was() {
        let mut out = Vec::new();
        write(b"/a%2f//b/../\xc3\xa4 \"<x>", &mut out);
        assert_eq!(out, b"/a%2f//b/../%C3%A4%20\"<x>");
    }
}
