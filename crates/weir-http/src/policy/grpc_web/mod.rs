//! `grpc_web`: lets browsers call gRPC services, by translating gRPC-Web to gRPC and back.
//!
//! Nothing is buffered: a message is on its way before the next one is made. Requests that are not gRPC-Web pass.

mod filter;
mod spec;

use weir_wire::grpc_web::ContentType;
use weir_wire::http1::{Body, Known, list_items};

pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::filter as body_filter;
use crate::reject::Reject;
use filter::{RequestFilter, ResponseFilter};

/// `grpc_web` as checked.
#[derive(Debug, Clone, Copy)]
pub struct GrpcWebPlan;

impl Policy for GrpcWebPlan {
    fn kind(&self) -> &'static str {
        "grpc_web"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        let fields = &exchange.request.fields;
        let Some(media) = fields.get(Known::ContentType).and_then(ContentType::parse) else {
            return Ok(Flow::Continue);
        };
        let mut grpc = Vec::new();
        media.write_grpc(&mut grpc);
        let asked = media.mode;
        // The body of the answer is written as the client says it wants it, else as its own was.
        let accepted = fields.all(Known::Accept).flat_map(list_items).find_map(ContentType::parse);
        exchange.grpc_web = Some(accepted.map_or(asked, |accepted| accepted.mode));
        let fields = &mut exchange.request.fields;
        fields.set(b"content-type", &grpc);
        fields.remove(Known::ContentLength);
        fields.remove(Known::Accept);
        fields.remove_named(b"x-grpc-web");
        // gRPC servers refuse calls of callers that do not read trailers; here the gateway does.
        exchange.wants_trailers = true;
        if exchange.framing != Body::Empty {
            exchange.framing = Body::Chunked;
        }
        body_filter::add(&mut exchange.request_filter, Box::new(RequestFilter::new(asked)));
        Ok(Flow::Continue)
    }

    fn on_response(&self, exchange: &mut Exchange) {
        let Some(mode) = exchange.grpc_web else { return };
        let fields = &mut exchange.response.fields;
        let Some(suffix) = fields.get(Known::ContentType).and_then(ContentType::grpc_suffix) else {
            // Whatever stands behind does not speak gRPC: its status says so.
            return;
        };
        let mut media = Vec::new();
        ContentType { mode, suffix }.write(&mut media);
        fields.set(b"content-type", &media);
        // Trailers alone are told in the head, as in gRPC, and then nowhere else.
        let is_trailers_only = fields.named(b"grpc-status").next().is_some();
        if is_trailers_only {
            return;
        }
        if exchange.body_length == Some(0) {
            fields.append(b"grpc-status", filter::NO_STATUS);
            fields.append(b"grpc-message", filter::NO_STATUS_MESSAGE);
        } else {
            fields.remove(Known::ContentLength);
            fields.remove(Known::Trailer);
            body_filter::add(&mut exchange.response_filter, Box::new(ResponseFilter::new(mode)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Exchange;
    use std::time::Instant;
    use weir_wire::http1::HeadLimits;

    fn asked(fields: &str) -> Exchange {
        let mut exchange = Exchange::new(Instant::now());
        let text = format!("POST /a.B/C HTTP/1.1\r\n{fields}\r\n\r\n");
        exchange.request.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
        exchange.framing = Body::Length(5);
        assert_eq!(GrpcWebPlan.on_request(&mut exchange).unwrap(), Flow::Continue);
        exchange
    }

    fn shown(head: &weir_wire::http1::Head) -> Vec<String> {
        let mut bytes = Vec::new();
        head.write_fields(&mut bytes);
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_call_becomes_one_of_grpc() {
        let exchange = asked(
            "Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\nX-Grpc-Web: 1\r\ngrpc-timeout: 1S",
        );
        assert_eq!(
            shown(&exchange.request.fields),
            ["grpc-timeout: 1S", "content-type: application/grpc+proto"]
        );
        assert!(exchange.wants_trailers && exchange.request_filter.is_some());
        assert_eq!(exchange.framing, Body::Chunked);
    }

    #[test]
    fn other_requests_pass() {
        for media in ["application/grpc", "application/json", "application/grpc-webx"] {
            let exchange = asked(&format!("Content-Type: {media}"));
            assert_eq!(shown(&exchange.request.fields), [format!("Content-Type: {media}")]);
            assert!(exchange.request_filter.is_none() && exchange.grpc_web.is_none());
        }
    }

    #[test]
    fn the_answer_is_written_as_the_client_wants_it() {
        let cases = [
            ("application/grpc-web", "", "application/grpc+proto", "application/grpc-web+proto"),
            ("application/grpc-web-text", "", "application/grpc", "application/grpc-web-text"),
            (
                "application/grpc-web",
                "application/grpc-web-text",
                "application/grpc",
                "application/grpc-web-text",
            ),
            ("application/grpc-web-text", "application/grpc-web", "application/grpc", "application/grpc-web"),
            ("application/grpc-web-text", "*/*", "application/grpc", "application/grpc-web-text"),
        ];
        for (media, accept, answer, wanted) in cases {
            let mut exchange = asked(&format!("Content-Type: {media}\r\nAccept: {accept}"));
            exchange.response.reset(200);
            exchange.response.fields.append(b"Content-Type", answer.as_bytes());
            GrpcWebPlan.on_response(&mut exchange);
            assert_eq!(
                shown(&exchange.response.fields),
                [format!("content-type: {wanted}")],
                "{media} {accept}"
            );
            assert!(exchange.response_filter.is_some());
        }
    }

    #[test]
    fn trailers_alone_stay_in_the_head_and_other_answers_are_untouched() {
        let mut exchange = asked("Content-Type: application/grpc-web");
        exchange.response.reset(200);
        exchange.response.fields.append(b"content-type", b"application/grpc");
        exchange.response.fields.append(b"grpc-status", b"5");
        GrpcWebPlan.on_response(&mut exchange);
        assert_eq!(
            shown(&exchange.response.fields),
            ["grpc-status: 5", "content-type: application/grpc-web"]
        );
        assert!(exchange.response_filter.is_none());

        let mut exchange = asked("Content-Type: application/grpc-web");
        exchange.response.reset(502);
        exchange.response.fields.append(b"content-type", b"text/html");
        GrpcWebPlan.on_response(&mut exchange);
        assert_eq!(shown(&exchange.response.fields), ["content-type: text/html"]);
        assert!(exchange.response_filter.is_none());
    }
}
