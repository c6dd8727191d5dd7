mod tls;

use std::fmt;
use std::io::Write;

use thiserror::Error;
use tls::TlsPiece;

use crate::exchange::Exchange;

/// A text with variables in braces: `{client_ip}`, `{host}`, `{header.NAME}`, `{NAME}` of a path parameter.
///
/// `{{` and `}}` stand for single braces. Split once, so that filling it in is copying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    ClientIp,
    Host,
    Method,
    Path,
    Query,
    /// Path and query as they came.
    Uri,
    Scheme,
    Tls(TlsPiece),
    RequestId,
    TraceId,
    Route,
    Header(Vec<u8>),
    Param(String),
}

/// Why a text is not a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A `{` without its `}`, or the reverse.
    #[error("a brace has no partner; write `{{{{` or `}}}}` for a brace itself")]
    Unbalanced {
        /// Where the brace stands in the text.
        at: usize,
    },
    /// No variable and no path parameter of this name.
    #[error("there is no variable `{name}`")]
    Unknown {
        /// The name between the braces.
        name: String,
        /// Where the brace stands in the text.
        at: usize,
    },
}

/// The variables that every route has, each with what it stands for.
pub const VARIABLES: [(&str, &str); 20] = [
    ("client_ip", "the client's address, as told by trusted proxies"),
    ("host", "the host of the request, in lower case, without a port"),
    ("method", "the method"),
    ("path", "the path as it was matched"),
    ("query", "the query, without `?`"),
    ("uri", "the path and the query"),
    ("scheme", "`http` or `https`"),
    ("tls_version", "the version of TLS; this and what follows of it is empty without TLS"),
    ("tls_cipher", "the TLS cipher suite"),
    ("tls_certificate", "what the certificate that was served is called"),
    ("sni", "the server name of the TLS handshake"),
    ("client_cert_subject", "the subject of the client's certificate, which was verified"),
    ("client_cert_issuer", "its issuer"),
    ("client_cert_names", "its alternative names, such as `DNS:a.example, URI:spiffe://b`"),
    ("client_cert_serial", "its serial number in hexadecimal"),
    ("client_cert_fingerprint", "its SHA-256 in hexadecimal"),
    ("request_id", "the value of `X-Request-Id`"),
    ("trace_id", "the trace id, 32 hexadecimal digits"),
    ("route", "the route's name"),
    ("header.NAME", "the first header of this name"),
];

impl Template {
    /// Splits a text; `params` are the path parameters that the route's patterns bind.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] with the place in the text.
    pub fn parse(text: &str, params: &[String]) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let place = text.len() - rest.len() + at;
            plain.extend_from_slice(&rest.as_bytes()[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.push(brace.as_bytes()[0]);
                rest = &brace[2..];
                continue;
            }
            let end =
                brace.find('}').filter(|end| *end > 0).ok_or(TemplateError::Unbalanced { at: place })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Self::variable(&brace[1..end], params, place)?);
            rest = &brace[end + 1..];
        }
        plain.extend_from_slice(rest.as_bytes());
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    fn variable(name: &str, params: &[String], at: usize) -> Result<Piece, TemplateError> {
        Ok(match name {
            "client_ip" => Piece::ClientIp,
            "host" => Piece::Host,
            "method" => Piece::Method,
            "path" => Piece::Path,
            "query" => Piece::Query,
            "uri" => Piece::Uri,
            "scheme" => Piece::Scheme,
            "request_id" => Piece::RequestId,
            "trace_id" => Piece::TraceId,
            "route" => Piece::Route,
            _ => match name.strip_prefix("header.") {
                Some(header) if weir_wire::http1::is_token(header.as_bytes()) => {
                    Piece::Header(header.to_ascii_lowercase().into_bytes())
                }
                _ if params.iter().any(|param| param == name) => Piece::Param(name.to_owned()),
                _ => match TlsPiece::named(name) {
                    Some(piece) => Piece::Tls(piece),
                    None => return Err(TemplateError::Unknown { name: name.to_owned(), at }),
                },
            },
        })
    }

    /// The names that may stand between braces where these path parameters are bound.
    pub fn names(params: &[String]) -> Vec<String> {
        VARIABLES.iter().map(|(name, _)| (*name).to_owned()).chain(params.iter().cloned()).collect()
    }

    /// Appends the text with its variables filled in; what is not there is empty.
    pub(crate) fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::ClientIp => {
                    if let Some(client) = exchange.client {
                        write!(out, "{client}").expect("writing to memory does not fail");
                    }
                }
                Piece::Host => out.extend_from_slice(&exchange.host),
                Piece::Method => out.extend_from_slice(exchange.request.method_bytes()),
                Piece::Path => out.extend_from_slice(&exchange.path),
                Piece::Query => out.extend_from_slice(&exchange.query),
                Piece::Uri => {
                    out.extend_from_slice(&exchange.path);
                    if exchange.has_query {
                        out.push(b'?');
                        out.extend_from_slice(&exchange.query);
                    }
                }
                Piece::Scheme => out.extend_from_slice(exchange.scheme.as_bytes()),
                Piece::Tls(piece) => {
                    let facts = exchange.tls.as_deref();
                    out.extend_from_slice(facts.map_or("", |facts| piece.of(facts)).as_bytes());
                }
                Piece::RequestId => out.extend_from_slice(&exchange.request_id),
                Piece::TraceId => out.extend_from_slice(exchange.trace.trace_id_hex().as_ref()),
                Piece::Route => {
                    if let Some(route) = &exchange.record.route {
                        out.extend_from_slice(route.name.as_bytes());
                    }
                }
                Piece::Header(name) => {
                    if let Some(value) = exchange.request.fields.named(name).next() {
                        out.extend_from_slice(value);
                    }
                }
                Piece::Param(name) => {
                    if let Some(value) = exchange.param(name) {
                        out.extend_from_slice(value);
                    }
                }
            }
        }
    }
}

impl fmt::Display for Template {
    /// As it is written, so that it can be parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => f.write_str(&text(plain).replace('{', "{{").replace('}', "}}"))?,
                Piece::ClientIp => f.write_str("{client_ip}")?,
                Piece::Host => f.write_str("{host}")?,
                Piece::Method => f.write_str("{method}")?,
                Piece::Path => f.write_str("{path}")?,
                Piece::Query => f.write_str("{query}")?,
                Piece::Uri => f.write_str("{uri}")?,
                Piece::Scheme => f.write_str("{scheme}")?,
                Piece::Tls(piece) => write!(f, "{{{}}}", piece.as_str())?,
                Piece::RequestId => f.write_str("{request_id}")?,
                Piece::TraceId => f.write_str("{trace_id}")?,
                Piece::Route => f.write_str("{route}")?,
                Piece::Header(name) => write!(f, "{{header.{}}}", text(name))?,
                Piece::Param(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_shown_as_it_is_written() {
        let names = VARIABLES.iter().map(|(name, _)| format!("{{{name}}} "));
        let text = names.collect::<String>() + "a{{b}}ä{rest}";
        let params = ["rest".to_owned()];
        let template = Template::parse(&text, &params).unwrap();
        assert_eq!(template.to_string(), text.replace("NAME", "name"));
        assert_eq!(Template::parse(&template.to_string(), &params), Ok(template));
    }

    #[test]
    fn variables_are_told_from_text_and_braces() {
        let params = ["rest".to_owned()];
        let template = Template::parse("a{{b}}{host}/{rest}{header.X-A}", &params).unwrap();
        assert_eq!(
            template.0,
            [
                Piece::Text(b"a{b}".to_vec()),
                Piece::Host,
                Piece::Text(b"/".to_vec()),
                Piece::Param("rest".into()),
                Piece::Header(b"x-a".to_vec())
            ]
        );
    }

    #[test]
    fn mistakes_are_found_with_their_place() {
        assert_eq!(Template::parse("ab{host", &[]), Err(TemplateError::Unbalanced { at: 2 }));
        assert_eq!(Template::parse("ab}", &[]), Err(TemplateError::Unbalanced { at: 2 }));
        assert_eq!(
            Template::parse("x{hots}", &[]),
            Err(TemplateError::Unknown { name: "hots".into(), at: 1 })
        );
    }
}
