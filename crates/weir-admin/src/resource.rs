use std::borrow::Cow;

use weir_base::ErrorCode;
use weir_wire::http1::Method;

use crate::EndpointOrder;
use crate::answer::Refusal;

/// One thing that the admin address offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Healthz,
    Live,
    Ready,
    Metrics,
    Status,
    Config,
    Routes,
    Upstreams,
    Certificates,
    Reload,
    Explain,
    Endpoint { upstream: String, address: String, order: EndpointOrder },
}

/// A path with the one method that serves it; HEAD goes wherever GET goes.
pub(crate) struct Row {
    /// As the OpenAPI file spells it.
    pub(crate) path: &'static str,
    pub(crate) is_post: bool,
    /// None for the one path with variables.
    resource: Option<Resource>,
}

const fn get(path: &'static str, resource: Resource) -> Row {
    Row { path, is_post: false, resource: Some(resource) }
}

const fn post(path: &'static str, resource: Resource) -> Row {
    Row { path, is_post: true, resource: Some(resource) }
}

/// Everything that is served.
pub(crate) const ROWS: &[Row] = &[
    get("/healthz", Resource::Healthz),
    get("/health/live", Resource::Live),
    get("/health/ready", Resource::Ready),
    get("/metrics", Resource::Metrics),
    get("/api/v1/status", Resource::Status),
    get("/api/v1/config", Resource::Config),
    get("/api/v1/routes", Resource::Routes),
    get("/api/v1/upstreams", Resource::Upstreams),
    get("/api/v1/certificates", Resource::Certificates),
    post("/api/v1/reload", Resource::Reload),
    post("/api/v1/explain", Resource::Explain),
    Row { path: "/api/v1/upstreams/{name}/endpoints/{address}/{order}", is_post: true, resource: None },
];

impl Row {
    fn find(&self, path: &str) -> Option<Resource> {
        match &self.resource {
            Some(resource) => (self.path == path).then(|| resource.clone()),
            None => endpoint(path),
        }
    }
}

impl Resource {
    /// What a method on a path, as written, means.
    ///
    /// # Errors
    ///
    /// 404 for a path that is not served, 405 for one that is, with another method.
    pub(crate) fn of(method: Method, path: &str) -> Result<Self, Refusal> {
        let Some((row, resource)) = ROWS.iter().find_map(|row| Some((row, row.find(path)?))) else {
            return Err(Refusal::new(ErrorCode::NotFound));
        };
        let served =
            if row.is_post { method == Method::Post } else { matches!(method, Method::Get | Method::Head) };
        if served {
            return Ok(resource);
        }
        let allow = if row.is_post { "POST" } else { "GET, HEAD" };
        let refusal =
            Refusal::because(ErrorCode::MethodNotAllowed, format!("this resource is served to {allow} only"));
        Err(refusal.with_field("allow", allow))
    }

    /// Whether it answers without the token: what a supervisor asks, which says no more than well or not well.
    pub(crate) const fn is_probe(&self) -> bool {
        matches!(self, Self::Healthz | Self::Live | Self::Ready)
    }
}

/// The address of a unix socket may be written with its slashes or with them encoded.
fn endpoint(path: &str) -> Option<Resource> {
    let (upstream, rest) = path.strip_prefix("/api/v1/upstreams/")?.split_once("/endpoints/")?;
    let (address, order) = rest.rsplit_once('/')?;
    if upstream.is_empty() || upstream.contains('/') || address.is_empty() {
        return None;
    }
    let (upstream, address) = (percent_decoded(upstream)?, percent_decoded(address)?);
    Some(Resource::Endpoint {
        upstream: upstream.into_owned(),
        address: address.into_owned(),
        order: EndpointOrder::of(order)?,
    })
}

/// The text behind percent-encodings; none where one is broken or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_address_is_decoded_and_may_be_a_socket_path() {
        for (written, address) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("%5B%3A%3A1%5D%3a80", "[::1]:80"),
            ("unix:%2Frun%2Fa%20b.sock", "unix:/run/a b.sock"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            let path = format!("/api/v1/upstreams/a%2Fb/endpoints/{written}/down");
            let wanted = Resource::Endpoint {
                upstream: "a/b".to_owned(),
                address: address.to_owned(),
                order: EndpointOrder::Down,
            };
            assert_eq!(Resource::of(Method::Post, &path), Ok(wanted), "{written}");
        }
    }

    #[test]
    fn what_is_nearly_a_path_is_none() {
        for path in [
            "",
            "/",
            "/healthz/",
            "/HEALTHZ",
            "//healthz",
            "/api/v1",
            "/api/v1/upstreams/",
            "/api/v1/upstreams/a",
            "/api/v1/upstreams/a/endpoints/b",
            "/api/v1/upstreams/a/endpoints//down",
            "/api/v1/upstreams//endpoints/b/down",
            "/api/v1/upstreams/a/endpoints/b/stop",
            "/api/v1/upstreams/a/endpoints/%zz/down",
            "/api/v1/upstreams/a/endpoints/%ff/down",
            "/api/v1/upstreams/a/endpoints/%4/down",
        ] {
            let refusal = Resource::of(Method::Post, path).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::NotFound, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        for (method, path, allow) in [
            (Method::Get, "/api/v1/reload", "POST"),
            (Method::Head, "/api/v1/explain", "POST"),
            (Method::Put, "/api/v1/upstreams/a/endpoints/b/up", "POST"),
            (Method::Post, "/api/v1/status", "GET, HEAD"),
            (Method::Options, "/metrics", "GET, HEAD"),
            (Method::Other, "/healthz", "GET, HEAD"),
        ] {
            let refusal = Resource::of(method, path).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.field),
                (ErrorCode::MethodNotAllowed, Some(("allow", Cow::Borrowed(allow)))),
                "{path}"
            );
        }
    }
}
