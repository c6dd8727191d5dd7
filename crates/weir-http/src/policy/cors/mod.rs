//! `cors`: lets pages of other origins read answers, and answers their preflights.
//!
//! Source: the Fetch standard, section 3.2. Not an access control: a request of an origin that is not listed passes,
//! and the browser keeps its answer from the page.

mod origin;
mod spec;

use std::time::Duration;

use weir_wire::http1::{Known, Method, is_token, list_items};

pub use origin::OriginPattern;
pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::reject::Reject;
use crate::trailers::{TrailerRule, Trailers};
use crate::vary;

/// `cors` as checked.
#[derive(Debug, Clone)]
pub struct CorsPlan {
    /// Whose pages may read answers.
    pub origins: Origins,
    /// The methods that a preflight is granted; in upper case.
    pub methods: Granted,
    /// The request fields that a preflight is granted; in lower case.
    pub headers: Granted,
    /// The fields of answers that pages may read.
    pub expose: Vec<String>,
    /// Whether requests with cookies or other credentials are granted.
    pub credentials: bool,
    /// How long a browser may remember a preflight.
    pub max_age: Duration,
    /// Whether pages of public addresses may send requests to private ones.
    pub private_network: bool,
}

/// The origins of a [`CorsPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every one, told as `*`; never with credentials.
    Any,
    /// These.
    Listed(Vec<OriginPattern>),
}

/// What a preflight may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// Whatever it asks for.
    Any,
    /// These.
    Listed(Vec<String>),
}

/// `cors` as it runs: lists are written as they go out.
#[derive(Debug)]
pub(crate) struct Cors {
    plan: CorsPlan,
    methods: String,
    headers: String,
    expose: String,
    max_age: String,
}

/// Most field names that a preflight asks for and is granted by `"*"`; a longer list is granted nothing.
const HEADERS_ECHOED_MAX: usize = 64;

/// What every field of CORS in an answer begins with.
const PREFIX: &[u8] = b"access-control-";

/// The fields of CORS in an answer.
const FIELDS: [&str; 7] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
];

impl CorsPlan {
    pub(crate) fn compile(self) -> Cors {
        let join = |granted: &Granted| match granted {
            Granted::Any => String::new(),
            Granted::Listed(names) => names.join(", "),
        };
        Cors {
            methods: join(&self.methods),
            headers: join(&self.headers),
            expose: self.expose.join(", "),
            max_age: self.max_age.as_secs().to_string(),
            plan: self,
        }
    }

    /// Whether pages of this origin may read answers.
    fn allows(&self, origin: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(patterns) => patterns.iter().any(|pattern| pattern.covers(origin)),
        }
    }
}

impl Policy for Cors {
    fn kind(&self) -> &'static str {
        "cors"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        self.judge(exchange);
        if !is_preflight(exchange) {
            return Ok(Flow::Continue);
        }
        self.answer_preflight(exchange);
        Ok(Flow::Answer(Vec::new()))
    }

    fn on_response(&self, exchange: &mut Exchange) {
        let is_preflight = is_preflight(exchange);
        let fields = &mut exchange.response.fields;
        if !is_preflight {
            fields.retain(|_, name, _| {
                !name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
            });
        }
        if self.plan.origins != Origins::Any {
            vary::add(fields, "Origin");
        }
        if exchange.allowed_origin.is_empty() {
            return;
        }
        fields.append(b"access-control-allow-origin", &exchange.allowed_origin);
        if self.plan.credentials {
            fields.append(b"access-control-allow-credentials", b"true");
        }
        if !is_preflight && !self.expose.is_empty() {
            fields.append(b"access-control-expose-headers", self.expose.as_bytes());
        }
    }

    fn trailers(&self) -> Trailers {
        let names = FIELDS.iter().map(|&name| name.to_owned()).collect();
        Trailers { response: vec![TrailerRule::DropWithTwins(names)], ..Trailers::default() }
    }
}

impl Cors {
    /// Remembers the origin that the answer names: what a later policy does to the request's fields is another matter.
    fn judge(&self, exchange: &mut Exchange) {
        exchange.allowed_origin.clear();
        let fields = &exchange.request.fields;
        match (&self.plan.origins, fields.get(Known::Origin)) {
            (Origins::Any, _) => exchange.allowed_origin.push(b'*'),
            (Origins::Listed(_), Some(origin))
                if fields.count(Known::Origin) == 1 && self.plan.allows(origin) =>
            {
                exchange.allowed_origin.extend_from_slice(origin);
            }
            _ => {}
        }
    }

    fn answer_preflight(&self, exchange: &mut Exchange) {
        exchange.response.reset(204);
        let (asked, fields) = (&exchange.request.fields, &mut exchange.response.fields);
        // What is granted depends on these, and the answer of a preflight may be kept by more than the browser.
        vary::add(fields, "Access-Control-Request-Method");
        vary::add(fields, "Access-Control-Request-Headers");
        if exchange.allowed_origin.is_empty() {
            return;
        }
        let methods = match &self.plan.methods {
            Granted::Any => asked.named(REQUEST_METHOD).find(|method| is_token(method)).unwrap_or_default(),
            Granted::Listed(_) => self.methods.as_bytes(),
        };
        fields.append(b"access-control-allow-methods", methods);
        let echoed;
        let headers = match &self.plan.headers {
            Granted::Any => {
                echoed = echo(asked.named(b"access-control-request-headers"));
                &echoed[..]
            }
            Granted::Listed(_) => self.headers.as_bytes(),
        };
        if !headers.is_empty() {
            fields.append(b"access-control-allow-headers", headers);
        }
        fields.append(b"access-control-max-age", self.max_age.as_bytes());
        let mut asks_private = asked.named(b"access-control-request-private-network");
        if self.plan.private_network && asks_private.any(|value| value == b"true") {
            fields.append(b"access-control-allow-private-network", b"true");
        }
    }
}

const REQUEST_METHOD: &[u8] = b"access-control-request-method";

/// Whether a browser asks if a page may send a request.
fn is_preflight(exchange: &Exchange) -> bool {
    let fields = &exchange.request.fields;
    exchange.request.method() == Method::Options
        && fields.get(Known::Origin).is_some()
        && fields.named(REQUEST_METHOD).next().is_some()
}

/// The names that are asked for, where each is one and they are not too many.
fn echo<'a>(asked: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut names = Vec::new();
    for (at, name) in asked.flat_map(list_items).enumerate() {
        if at == HEADERS_ECHOED_MAX || !is_token(name) {
            return Vec::new();
        }
        if at > 0 {
            names.extend_from_slice(b", ");
        }
        names.extend_from_slice(name);
    }
    names
}

#[cfg(test)]
mod tests;
