use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use weir_base::ErrorCode;
use weir_net::tls::TlsFacts;
use weir_route::Params;
use weir_telemetry::trace::TraceContext;
use weir_wire::grpc_web::Mode;
use weir_wire::http1::{Body, RequestHead, ResponseHead};

use crate::filter::BodyFilter;
use crate::plane::RouteInfo;
use crate::policy::Coding;

/// One request and its answer, as policies and actions see them.
///
/// Recycled by its worker: a request allocates only what is larger than anything before it.
#[derive(Debug)]
pub struct Exchange {
    /// The request as it will be forwarded: hop-by-hop fields gone, the gateway's own in place.
    pub request: RequestHead,
    /// The answer as it will be sent.
    pub response: ResponseHead,
    /// The host that was matched: lower case, no port, no trailing dot.
    pub host: Vec<u8>,
    /// `Host` as the client wrote it, port included; what is forwarded where the upstream preserves it.
    pub authority: Vec<u8>,
    /// The path that was matched and is forwarded unless rewritten.
    pub path: Vec<u8>,
    /// The query as written, without `?`; empty where `has_query` is false.
    pub query: Vec<u8>,
    /// Whether the target has a `?`.
    pub has_query: bool,
    /// The path and query to forward where a policy rewrote them.
    pub rewritten: Option<Vec<u8>>,
    /// The host to forward where a policy rewrote it.
    pub rewritten_host: Option<Vec<u8>>,
    /// Path parameters of the route.
    pub params: Params,
    /// The client's address as far as it can be believed; none on unix sockets.
    pub client: Option<IpAddr>,
    /// `http` or `https`, as the client spoke it.
    pub scheme: &'static str,
    /// What the TLS handshake with the client has settled.
    pub tls: Option<Arc<TlsFacts>>,
    /// The request id that is forwarded and logged.
    pub request_id: Vec<u8>,
    /// The trace that this request belongs to.
    pub trace: TraceContext,
    /// The origin whose pages may read the answer, `*` for all; empty for none.
    pub(crate) allowed_origin: Vec<u8>,
    /// The coding in which the client takes the answer best, of those that are offered.
    pub(crate) coding: Option<Coding>,
    /// How the body of the answer to a gRPC-Web call is to be written.
    pub(crate) grpc_web: Option<Mode>,
    /// The length of the answer's body, where it is known before it comes.
    pub(crate) body_length: Option<u64>,
    /// What the bodies pass through on their way.
    pub(crate) request_filter: Option<Box<dyn BodyFilter>>,
    pub(crate) response_filter: Option<Box<dyn BodyFilter>>,
    /// The protocol that a CONNECT over HTTP/2 names (RFC 8441).
    pub(crate) connect: Option<Box<str>>,
    /// What the client wants the connection to become.
    pub upgrade: Option<Upgrade>,
    /// How the request's body is delimited.
    pub(crate) framing: Body,
    /// Whether the client will keep the connection, and whether it waits for a 100 before it sends a body.
    pub(crate) persistent: bool,
    pub(crate) expects_continue: bool,
    /// Whether the peer's word on the client, the host and the scheme is believed.
    pub(crate) trusted_peer: bool,
    /// Whether the client said that it reads trailers.
    pub(crate) wants_trailers: bool,
    /// Requests after which the connection is closed.
    pub(crate) requests_max: Option<u64>,
    /// Most bytes that the request's body may have.
    pub body_bytes_max: u64,
    pub(crate) record: Record,
    /// Bytes to write to the client: an interim response, or the head of the answer.
    pub(crate) out: Vec<u8>,
    /// Bytes to write to the upstream.
    pub(crate) up: Vec<u8>,
    /// What was taken of the request's body, to be written again on a retry.
    pub(crate) replay: Replay,
}

/// What a client wants its connection to become (RFC 9110 section 7.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// WebSocket, version 13.
    WebSocket,
    /// Another protocol, by the first token of its `Upgrade` field.
    Other(Vec<u8>),
}

/// What is remembered of an exchange for the log and the metrics.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    pub(crate) route: Option<Arc<RouteInfo>>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) attempts: u32,
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorCode>,
    /// Whether the answer would have been compressed, had not so many been at the time.
    pub(crate) compression_refused: bool,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// When the head of the request was whole; the start where it came at once.
    pub(crate) read_at: Instant,
    /// When the head of the answer was there, and when its last byte was sent; the start until then.
    pub(crate) head_at: Instant,
    pub(crate) ended_at: Instant,
    /// Microseconds in the upstream's queue, connecting, and waiting for the head.
    pub(crate) queue_us: u32,
    pub(crate) connect_us: u32,
    pub(crate) head_us: u32,
}

/// What was taken of a request's body, as long as it fits its bound.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bytes_max: usize,
    pub(crate) overflowed: bool,
}

impl crate::transfer::Tap for Replay {
    fn took(&mut self, bytes: &[u8]) {
        if self.overflowed || self.bytes.len() + bytes.len() > self.bytes_max {
            self.overflowed = true;
            self.bytes.clear();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn lets_pass(&mut self, count: u64) -> bool {
        let fits =
            !self.overflowed && (self.bytes.len() as u64).saturating_add(count) <= self.bytes_max as u64;
        if !fits {
            self.overflowed = true;
            self.bytes.clear();
        }
        !fits
    }
}

/// Largest memory that a recycled exchange may hold on to.
const KEPT_BYTES_MAX: usize = 64 << 10;

impl Exchange {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            host: Vec::new(),
            authority: Vec::new(),
            path: Vec::new(),
            query: Vec::new(),
            has_query: false,
            rewritten: None,
            rewritten_host: None,
            params: Params::default(),
            client: None,
            scheme: "http",
            tls: None,
            request_id: Vec::new(),
            trace: TraceContext::default(),
            allowed_origin: Vec::new(),
            coding: None,
            grpc_web: None,
            body_length: None,
            request_filter: None,
            response_filter: None,
            connect: None,
            upgrade: None,
            framing: Body::Empty,
            persistent: false,
            expects_continue: false,
            trusted_peer: false,
            wants_trailers: false,
            requests_max: None,
            body_bytes_max: u64::MAX,
            record: Record::new(now),
            out: Vec::new(),
            up: Vec::new(),
            replay: Replay::default(),
        }
    }

    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.request.clear();
        self.response.reset(0);
        self.host.clear();
        self.authority.clear();
        self.path.clear();
        self.query.clear();
        self.has_query = false;
        self.rewritten = None;
        self.rewritten_host = None;
        self.params.clear();
        self.client = None;
        self.scheme = "http";
        self.tls = None;
        self.request_id.clear();
        self.allowed_origin.clear();
        self.coding = None;
        self.grpc_web = None;
        self.body_length = None;
        self.request_filter = None;
        self.response_filter = None;
        self.connect = None;
        self.upgrade = None;
        self.framing = Body::Empty;
        self.persistent = false;
        self.expects_continue = false;
        self.trusted_peer = false;
        self.wants_trailers = false;
        self.body_bytes_max = u64::MAX;
        self.record = Record::new(now);
        self.out.clear();
        self.up.clear();
        self.replay.bytes.clear();
        self.replay.overflowed = false;
    }

    /// Whether it is small enough to be kept for the next request.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.request.fields.capacity()
            + self.response.fields.capacity()
            + self.out.capacity()
            + self.up.capacity()
            + self.replay.bytes.capacity()
            <= KEPT_BYTES_MAX
    }

    /// The value of a path parameter of the matched route.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params.get(name, &self.path)
    }

    /// The path and query to forward.
    pub(crate) fn write_target(&self, out: &mut Vec<u8>) {
        match &self.rewritten {
            Some(target) => out.extend_from_slice(target),
            None => {
                out.extend_from_slice(&self.path);
                if self.has_query {
                    out.push(b'?');
                    out.extend_from_slice(&self.query);
                }
            }
        }
    }
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            started: now,
            route: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            status: 0,
            error: None,
            compression_refused: false,
            bytes_in: 0,
            bytes_out: 0,
            read_at: now,
            head_at: now,
            ended_at: now,
            queue_us: 0,
            connect_us: 0,
            head_us: 0,
        }
    }
}
