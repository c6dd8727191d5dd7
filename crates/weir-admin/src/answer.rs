use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Value, json};
use weir_base::ErrorCode;

/// An answer before it is bytes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) fields: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Vec<u8>,
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) detail: String,
    pub(crate) field: Option<(&'static str, Cow<'static, str>)>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode) -> Self {
        Self::because(code, code.title())
    }

    pub(crate) fn because(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None }
    }

    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some((name, value.into()));
        self
    }
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", fields: Vec::new(), body: line_of(body) }
    }

    pub(crate) fn text(content_type: &'static str, body: String) -> Self {
        Self { status: 200, content_type, fields: Vec::new(), body: body.into_bytes() }
    }

    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The refusal as RFC 9457 has it; `path` is the request's path as written.
    pub(crate) fn problem(refusal: &Refusal, path: &str) -> Self {
        let code = refusal.code;
        let body = json!({
            "type": format!("urn:weir:error:{}", code.as_str()),
            "title": code.title(),
            "status": code.status(),
            "detail": refusal.detail,
            "instance": if path.is_empty() { "/" } else { path },
        });
        let mut fields = vec![("weir-error", code.as_str().into())];
        fields.extend(refusal.field.clone());
        Self { status: code.status(), content_type: "application/problem+json", fields, body: line_of(&body) }
    }

    /// The whole answer as it stands on the wire; without the body for HEAD.
    pub(crate) fn into_bytes(self, with_body: bool, connection: Option<&str>, now: SystemTime) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.push_str(part);
            }
        };
        field("date", &httpdate::fmt_http_date(now));
        field("content-type", self.content_type);
        field("content-length", &self.body.len().to_string());
        HARDENING.iter().for_each(|(name, value)| field(name, value));
        self.fields.iter().for_each(|(name, value)| field(name, value));
        if let Some(connection) = connection {
            field("connection", connection);
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        if with_body {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// Nothing here is to be stored, guessed at, run, framed or read by another site's page.
const HARDENING: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
];

fn line_of(value: &Value) -> Vec<u8> {
    let mut body = value.to_string().into_bytes();
    body.push(b'\n');
    body
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // The phrase means nothing and may be empty (RFC 9112 section 4).
        _ => "",
    }
}
