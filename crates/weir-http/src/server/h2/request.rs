//! The head of a request as frames brought it, read as strictly as one of HTTP/1.1.

use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, header};
use weir_base::ErrorCode;
use weir_wire::http1::{HeadLimits, Known, RequestHead};

use crate::reject::Reject;

/// Reads a head into `into`, with `:authority` as its Host field.
///
/// The library has refused pseudo fields that are unknown, repeated, missing or behind others, names in upper case, and
/// fields of HTTP/1.1 connections. What it lets pass and a server behind could read in two ways is refused here.
pub(super) fn read(head: &Parts, into: &mut RequestHead, limits: &HeadLimits) -> Result<(), Reject> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let fields = &head.headers;
    check_size(target, head.uri.authority().map_or(0, |authority| authority.as_str().len()), fields, limits)?;
    let is_extended = head.extensions.get::<Protocol>().is_some();
    // A tunnel for a protocol begins as a GET did on HTTP/1.1, and is routed as one (RFC 8441 section 5).
    let method = if is_extended { "GET" } else { head.method.as_str() };
    if head.method == http::Method::CONNECT && head.uri.authority().is_none() {
        return Err(bad("CONNECT says nowhere to connect to".to_owned()));
    }
    // Without a protocol CONNECT has no path; it is refused for its method.
    let target = if target.is_empty() { "/" } else { target };
    into.begin(method.as_bytes(), target.as_bytes())?;
    if let Some(host) = host(head)? {
        into.fields.push(b"host", host)?;
    }
    let mut cookies = fields.get_all(header::COOKIE).iter();
    for (name, value) in fields {
        match Known::of(name.as_str().as_bytes()) {
            Known::Host => {}
            Known::Cookie => {
                if let Some(first) = cookies.next() {
                    // Crumbs are one field again, which is all that HTTP/1.1 knows (RFC 9113 section 8.2.3).
                    let mut joined = first.as_bytes().to_vec();
                    for crumb in cookies.by_ref() {
                        joined.extend_from_slice(b"; ");
                        joined.extend_from_slice(crumb.as_bytes());
                    }
                    into.fields.push(b"cookie", &joined)?;
                }
            }
            Known::Te if value.as_bytes().eq_ignore_ascii_case(b"trailers") => {
                into.fields.push(b"te", value.as_bytes())?;
            }
            known if known.is_hop_by_hop() => {
                let name = name.as_str();
                return Err(bad(format!("`{name}` has no place in a request over HTTP/2")));
            }
            _ => into.fields.push(name.as_str().as_bytes(), value.as_bytes())?,
        }
    }
    Ok(())
}

/// The same bounds as for a head in text, which is what it may become: crumbs of cookies are counted as fields.
fn check_size(target: &str, authority: usize, fields: &HeaderMap, limits: &HeadLimits) -> Result<(), Reject> {
    if target.len() > limits.bytes {
        return Err(Reject::new(ErrorCode::UriTooLong));
    }
    let lines: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if target.len() + authority + lines > limits.bytes || fields.len() > limits.fields {
        return Err(Reject::new(ErrorCode::HeadersTooLarge));
    }
    Ok(())
}

/// The one host: two different ones are a trick or a fault (RFC 9113 section 8.3.1).
fn host(head: &Parts) -> Result<Option<&[u8]>, Reject> {
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = head.headers.get_all(header::HOST).iter().map(http::HeaderValue::as_bytes);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Reject::because(ErrorCode::BadHost, "there is more than one Host field"));
    }
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Reject::because(ErrorCode::BadHost, "Host differs from :authority"))
        }
        (Some(authority), _) => Ok(Some(authority)),
        (None, host) => Ok(host),
    }
}

fn bad(detail: String) -> Reject {
    Reject::because(ErrorCode::BadRequest, detail)
}
