//! `security_headers`: the usual security fields on answers.

mod spec;

pub(crate) use spec::KIND;

use super::Policy;
use crate::exchange::Exchange;
use crate::trailers::{TrailerRule, Trailers};

/// `security_headers` as checked.
#[derive(Debug, Clone, Default)]
pub struct SecurityHeadersPlan {
    /// Where to start from.
    pub preset: SecurityPreset,
    /// Fields in place of the preset's; an empty value takes a field out.
    pub overrides: Vec<(String, String)>,
}

/// A set of fields to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityPreset {
    /// Sites that people visit: no sniffing, no framing by others, little referrer.
    #[default]
    Default,
    /// Answers that are never shown as a page.
    Api,
    /// Nothing is loaded from elsewhere and nothing is framed.
    Strict,
}

impl SecurityPreset {
    /// The names in the configuration.
    pub const NAMES: [(&'static str, Self); 3] =
        [("default", Self::Default), ("api", Self::Api), ("strict", Self::Strict)];

    const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Default => &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "SAMEORIGIN"),
                ("referrer-policy", "strict-origin-when-cross-origin"),
                ("cross-origin-opener-policy", "same-origin"),
            ],
            Self::Api => &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
                ("cross-origin-resource-policy", "same-site"),
            ],
            Self::Strict => &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                (
                    "content-security-policy",
                    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
                ),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-embedder-policy", "require-corp"),
                ("cross-origin-resource-policy", "same-origin"),
                ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
            ],
        }
    }
}

/// `security_headers` as it runs: the fields, settled.
#[derive(Debug)]
pub(crate) struct SecurityHeaders(Vec<(String, String)>);

impl SecurityHeadersPlan {
    pub(crate) fn compile(self) -> SecurityHeaders {
        let mut fields: Vec<(String, String)> = self
            .preset
            .fields()
            .iter()
            .filter(|(name, _)| !self.overrides.iter().any(|(other, _)| other == name))
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        fields.extend(self.overrides.into_iter().filter(|(_, value)| !value.is_empty()));
        SecurityHeaders(fields)
    }
}

impl Policy for SecurityHeaders {
    fn kind(&self) -> &'static str {
        "security_headers"
    }

    fn on_response(&self, exchange: &mut Exchange) {
        for (name, value) in &self.0 {
            exchange.response.fields.set(name.as_bytes(), value.as_bytes());
        }
    }

    fn trailers(&self) -> Trailers {
        let names = self.0.iter().map(|(name, _)| name.clone()).collect();
        Trailers { response: vec![TrailerRule::DropWithTwins(names)], ..Trailers::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_replace_and_take_out_fields_of_the_preset() {
        let plan = SecurityHeadersPlan {
            preset: SecurityPreset::Api,
            overrides: vec![
                ("x-frame-options".into(), "SAMEORIGIN".into()),
                ("referrer-policy".into(), String::new()),
            ],
        };
        let fields = plan.compile().0;
        assert!(fields.contains(&("x-frame-options".into(), "SAMEORIGIN".into())));
        assert!(!fields.iter().any(|(name, _)| name == "referrer-policy"));
        assert_eq!(fields.iter().filter(|(name, _)| name == "x-frame-options").count(), 1);
    }
}
