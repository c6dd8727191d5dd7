//! `headers`: changes request and response fields, and guards the request's.

mod spec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest, Sha1};
use weir_base::ErrorCode;
use weir_wire::http1::{Head, Known};

pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::reject::Reject;
use crate::template::Template;
use crate::trailers::{TrailerRule, Trailers, is_twin};

/// `headers` as checked.
#[derive(Debug, Clone, Default)]
pub struct HeadersPlan {
    /// On the request as it is forwarded.
    pub request: FieldChanges,
    /// On the answer as it is sent, Weir's own errors among them.
    pub response: FieldChanges,
}

/// What is done to the fields of one message, in this order. Names are in lower case.
#[derive(Debug, Clone, Default)]
pub struct FieldChanges {
    /// A request with one of these is answered 400; requests only.
    pub deny: Vec<String>,
    /// Where present, only these fields (and those that the protocol needs) are kept.
    pub allow: Option<Vec<String>>,
    /// Removed.
    pub remove: Vec<String>,
    /// Set, in place of what was there.
    pub set: Vec<(String, Template)>,
    /// Added beside what is there.
    pub add: Vec<(String, Template)>,
    /// Set where nothing is there.
    pub set_if_absent: Vec<(String, Template)>,
    /// Their values are replaced by a hash of 20 characters, so that they can be told apart but not read.
    pub hash: Vec<String>,
}

impl Policy for HeadersPlan {
    fn kind(&self) -> &'static str {
        "headers"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        if let Some(name) = self
            .request
            .deny
            .iter()
            .find(|name| exchange.request.fields.named(name.as_bytes()).next().is_some())
        {
            return Err(Reject::because(
                ErrorCode::HeaderDenied,
                format!("the field `{name}` is not allowed"),
            ));
        }
        // Values are made from the request as it was.
        let values = self.request.fill(exchange);
        self.request.apply(&mut exchange.request.fields, values, false);
        Ok(Flow::Continue)
    }

    fn on_response(&self, exchange: &mut Exchange) {
        let values = self.response.fill(exchange);
        self.response.apply(&mut exchange.response.fields, values, true);
    }

    fn trailers(&self) -> Trailers {
        Trailers { request: self.request.trailers(), response: self.response.trailers() }
    }
}

impl FieldChanges {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty()
            && self.allow.is_none()
            && self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.set_if_absent.is_empty()
            && self.hash.is_empty()
    }

    /// What a trailer must not bring back: fields that are denied, not allowed, removed, set or hashed.
    fn trailers(&self) -> Vec<TrailerRule> {
        let mut rules = vec![TrailerRule::Deny(self.deny.clone())];
        rules.extend(self.allow.clone().map(TrailerRule::Keep));
        rules.push(TrailerRule::Drop([self.remove.clone(), self.hash.clone()].concat()));
        rules.push(TrailerRule::DropWithTwins(self.set.iter().map(|(name, _)| name.clone()).collect()));
        rules
    }

    /// The values of `set`, `add` and `set_if_absent`, in this order.
    fn fill(&self, exchange: &Exchange) -> Vec<Vec<u8>> {
        let templates = self.set.iter().chain(&self.add).chain(&self.set_if_absent);
        templates
            .map(|(_, template)| {
                let mut value = Vec::new();
                template.write(exchange, &mut value);
                value
            })
            .collect()
    }

    fn apply(&self, fields: &mut Head, values: Vec<Vec<u8>>, is_response: bool) {
        if let Some(allow) = &self.allow {
            fields.retain(|known, name, _| {
                is_needed(known, is_response)
                    || allow.iter().any(|allowed| name.eq_ignore_ascii_case(allowed.as_bytes()))
            });
        }
        for name in &self.remove {
            fields.remove_named(name.as_bytes());
        }
        let mut values = values.into_iter();
        for ((name, _), value) in self.set.iter().zip(&mut values) {
            fields.retain(|_, other, _| !is_twin(other, name));
            fields.append(name.as_bytes(), &value);
        }
        for ((name, _), value) in self.add.iter().zip(&mut values) {
            fields.append(name.as_bytes(), &value);
        }
        for ((name, _), value) in self.set_if_absent.iter().zip(&mut values) {
            if fields.named(name.as_bytes()).next().is_none() {
                fields.append(name.as_bytes(), &value);
            }
        }
        for name in &self.hash {
            let hashed: Vec<String> = fields.named(name.as_bytes()).map(hash).collect();
            if fields.remove_named(name.as_bytes()) {
                for value in hashed {
                    fields.append(name.as_bytes(), value.as_bytes());
                }
            }
        }
    }
}

/// What `allow` never takes away: framing, routing, and what the gateway itself has written.
fn is_needed(known: Known, is_response: bool) -> bool {
    match known {
        Known::ContentLength | Known::ContentType | Known::Trailer => true,
        Known::Date | Known::Location | Known::WeirError | Known::SecWebSocketAccept => is_response,
        Known::Host
        | Known::Expect
        | Known::SecWebSocketKey
        | Known::SecWebSocketVersion
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedProto
        | Known::XRealIp
        | Known::XRequestId
        | Known::Traceparent => !is_response,
        _ => false,
    }
}

fn hash(value: &[u8]) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(Sha1::digest(value));
    text.truncate(20);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn exchange(fields: &[(&str, &str)]) -> Exchange {
        let mut exchange = Exchange::new(Instant::now());
        for (name, value) in fields {
            exchange.request.fields.append(name.as_bytes(), value.as_bytes());
        }
        exchange
    }

    fn lines(head: &Head) -> Vec<String> {
        head.iter()
            .map(|(_, n, v)| format!("{}: {}", String::from_utf8_lossy(n), String::from_utf8_lossy(v)))
            .collect()
    }

    fn to(text: &str) -> Template {
        Template::parse(text, &[]).unwrap()
    }

    #[test]
    fn fields_are_removed_set_added_and_set_if_absent() {
        let mut x = exchange(&[("X-A", "1"), ("x_a", "twin"), ("X-B", "2"), ("X-C", "3")]);
        let plan = HeadersPlan {
            request: FieldChanges {
                remove: vec!["x-b".into()],
                set: vec![("x-a".into(), to("new"))],
                add: vec![("x-c".into(), to("4"))],
                set_if_absent: vec![("x-c".into(), to("no")), ("x-d".into(), to("{header.x-b}"))],
                ..FieldChanges::default()
            },
            ..HeadersPlan::default()
        };
        plan.on_request(&mut x).unwrap();
        assert_eq!(lines(&x.request.fields), ["X-C: 3", "x-a: new", "x-c: 4", "x-d: 2"]);
    }

    #[test]
    fn denied_fields_end_the_request_and_allowed_ones_stay() {
        let changes = FieldChanges {
            deny: vec!["x-admin".into()],
            allow: Some(vec!["accept".into()]),
            ..FieldChanges::default()
        };
        let plan = HeadersPlan { request: changes, ..HeadersPlan::default() };
        let denied = plan.on_request(&mut exchange(&[("X-Admin", "1")])).unwrap_err();
        assert_eq!(denied.code, ErrorCode::HeaderDenied);
        let mut x = exchange(&[("Host", "a"), ("Accept", "*/*"), ("X-Other", "1"), ("Content-Length", "3")]);
        plan.on_request(&mut x).unwrap();
        assert_eq!(lines(&x.request.fields), ["Host: a", "Accept: */*", "Content-Length: 3"]);
    }

    #[test]
    fn hashed_values_can_be_told_apart_but_not_read() {
        let mut x = exchange(&[("X-User", "ada"), ("x-user", "bob")]);
        let changes = FieldChanges { hash: vec!["x-user".into()], ..FieldChanges::default() };
        HeadersPlan { request: changes, ..HeadersPlan::default() }.on_request(&mut x).unwrap();
        let values: Vec<_> = x.request.fields.named(b"x-user").collect();
        assert!(values.len() == 2 && values[0] != values[1] && values.iter().all(|v| v.len() == 20));
    }
}
