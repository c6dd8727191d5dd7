//! Turns a rejection into the bytes of its answer: problem+json, HTML for browsers, a status for gRPC callers.

use std::time::Instant;

use weir_wire::grpc_web::ContentType;
use weir_wire::http1::{Head, Known, list_items};

use super::grpc;
use crate::exchange::Exchange;
use crate::reject::Reject;

/// Makes the answer's head; returns its body.
pub(super) fn write(exchange: &mut Exchange, reject: &Reject) -> Vec<u8> {
    let form = form(exchange);
    let code = reject.code;
    let response = &mut exchange.response;
    response.reset(if form == Form::Grpc { 200 } else { code.status() });
    let fields = &mut response.fields;
    fields.append(b"weir-error", code.as_str().as_bytes());
    if let Some((name, value)) = reject.field {
        fields.append(name.as_bytes(), value.as_bytes());
    }
    match form {
        Form::Json => {
            fields.append(b"content-type", b"application/problem+json");
            json(&exchange.path, reject)
        }
        Form::Html => {
            fields.append(b"content-type", b"text/html; charset=utf-8");
            fields.append(b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'");
            html(reject, &exchange.request_id)
        }
        Form::Grpc => {
            fields.append(b"content-type", &grpc_media(&exchange.request.fields));
            fields.append(b"grpc-status", grpc::status(code).as_bytes());
            fields.append(b"grpc-message", &grpc::message(&reject.detail));
            Vec::new()
        }
    }
}

/// The whole answer, head and body, to somebody whose request is not read; the connection is to be closed.
pub(crate) fn unread(reject: &Reject) -> Vec<u8> {
    let mut exchange = Exchange::new(Instant::now());
    let body = write(&mut exchange, reject);
    let fields = &mut exchange.response.fields;
    fields.append(b"content-length", body.len().to_string().as_bytes());
    fields.append(b"connection", b"close");
    let mut message = Vec::new();
    exchange.response.write_status_line(&mut message);
    exchange.response.fields.write_fields(&mut message);
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&body);
    message
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Grpc,
}

fn form(exchange: &Exchange) -> Form {
    let fields = &exchange.request.fields;
    let starts = |value: &[u8], with: &[u8]| {
        value.len() >= with.len() && value[..with.len()].eq_ignore_ascii_case(with)
    };
    if grpc::is_call(fields) || is_grpc_web(fields) {
        return Form::Grpc;
    }
    // Browsers name text/html first and explicitly; programs send */* or a JSON type.
    let wants_html = fields
        .all(Known::Accept)
        .flat_map(list_items)
        .next()
        .is_some_and(|first| starts(first, b"text/html"));
    if wants_html { Form::Html } else { Form::Json }
}

fn is_grpc_web(request: &Head) -> bool {
    request.get(Known::ContentType).is_some_and(|value| ContentType::parse(value).is_some())
}

/// gRPC in the form of the request: a browser's gRPC-Web stays that where no policy has translated it yet.
fn grpc_media(request: &Head) -> Vec<u8> {
    let mut media = Vec::new();
    match request.get(Known::ContentType).and_then(ContentType::parse) {
        Some(web) => web.write(&mut media),
        None => media.extend_from_slice(b"application/grpc"),
    }
    media
}

fn json(path: &[u8], reject: &Reject) -> Vec<u8> {
    let path = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path) };
    let mut body = serde_json::to_vec(&serde_json::json!({
        "type": format!("urn:weir:error:{}", reject.code.as_str()),
        "title": reject.code.title(),
        "status": reject.code.status(),
        "detail": reject.detail,
        "instance": path,
    }))
    .expect("strings and numbers always serialize");
    body.push(b'\n');
    body
}

fn html(reject: &Reject, request_id: &[u8]) -> Vec<u8> {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let (status, code, title) = (reject.code.status(), reject.code.as_str(), reject.code.title());
    let detail = escape(&reject.detail);
    let id = escape(&String::from_utf8_lossy(request_id));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}\
         small{{color:#666}}</style></head>\n<body><h1>{status}</h1><p>{title}.</p><p>{detail}.</p>\
         <p><small>{code} &middot; {id}</small></p></body></html>\n"
    )
    .into_bytes()
}
