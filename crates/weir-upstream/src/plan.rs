use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use rustls_pki_types::ServerName;
use weir_base::Percent;
use weir_net::tls::{ClientTlsPlan, Trust};

use crate::Address;
use crate::names::Name;

/// An upstream as configured and checked; every value is usable as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamPlan {
    /// The name that routes forward to.
    pub name: Arc<str>,
    /// How an endpoint is chosen; default round robin.
    pub balance: BalancePlan,
    /// The endpoints in the order written; duplicates of an address are ignored, the first one counts.
    pub endpoints: Vec<EndpointPlan>,
    /// What the `Host` field of forwarded requests says; default as the client sent it.
    pub host: HostPlan,
    /// How connections to the endpoints are secured; default not at all.
    pub tls: Option<Arc<TlsPlan>>,
    /// The versions of HTTP that are spoken to the endpoints.
    pub http: HttpVersions,
    /// Longest wait for a connection, per attempt; default 5 s.
    pub connect_timeout: Duration,
    /// Longest wait for the response head, per attempt; default 60 s.
    pub response_timeout: Duration,
    /// Longest pause between two pieces of the response body; default 60 s.
    pub idle_timeout: Duration,
    /// What idle connections are kept.
    pub pool: PoolPlan,
    /// What waits while every endpoint is at its cap.
    pub queue: QueuePlan,
    /// When a failed attempt is repeated.
    pub retry: RetryPlan,
    /// What decides whether an endpoint is available.
    pub health: HealthPlan,
    /// How long a recovered or newly added endpoint takes to reach its full weight; default off.
    pub slow_start: Option<Duration>,
    /// When a smaller share of the endpoints than this is available, all are used; default 30 %, 0 % never.
    pub panic_threshold: Percent,
    /// Whether the gateway is not ready while no endpoint is available; default false.
    pub required: bool,
}

impl UpstreamPlan {
    /// An upstream without endpoints and with the documented defaults.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            balance: BalancePlan::RoundRobin,
            endpoints: Vec::new(),
            host: HostPlan::Preserve,
            tls: None,
            http: HttpVersions::Auto,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            pool: PoolPlan::default(),
            queue: QueuePlan::default(),
            retry: RetryPlan::default(),
            health: HealthPlan::default(),
            slow_start: None,
            panic_threshold: Percent::new(30),
            required: false,
        }
    }

    /// Whom the server behind this line must prove to be by its certificate; none without TLS, and none where the name
    /// cannot be one of a certificate.
    ///
    /// `tls.server_name` where it is given, else the name that the `Host` field says by configuration, else the name or
    /// the address that the line is written with, `localhost` for a unix socket. Never what a client says.
    pub(crate) fn server_name(&self, target: &Target) -> Option<ServerName<'static>> {
        let tls = self.tls.as_ref()?;
        if let Some(name) = &tls.server_name {
            return Some(name.clone());
        }
        match (&self.host, target) {
            (HostPlan::Name(authority), _) => server_name(host_of(authority)),
            (_, Target::Name { host, .. }) => server_name(host),
            (_, Target::Address(Address::Tcp(address))) => Some(ServerName::IpAddress(address.ip().into())),
            (_, Target::Address(Address::Unix(_) | Address::Tunnel(_))) => server_name("localhost"),
        }
    }

    /// The DNS names among the endpoints, with their ports; one that is written twice comes twice.
    pub(crate) fn names(&self) -> impl Iterator<Item = Name> {
        self.endpoints.iter().filter_map(|line| match &line.target {
            Target::Name { host, port } => Some((host.clone(), *port)),
            Target::Address(_) => None,
        })
    }
}

/// The name or address that a server can prove to be; `None` for what is neither.
pub(crate) fn server_name(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text.strip_suffix('.').unwrap_or(text).to_owned()).ok()
}

/// The host of an authority, without its port and the brackets of an IPv6 address.
fn host_of(authority: &str) -> &str {
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// How connections to endpoints are secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPlan {
    /// Who is trusted, what we show, which versions are offered.
    pub client: ClientTlsPlan,
    /// Whom every endpoint must prove to be; default each its own name or address.
    pub server_name: Option<ServerName<'static>>,
    /// The file of the trusted certificates; none for the system's.
    pub ca: Option<PathBuf>,
    /// The file of our certificate, where we show one.
    pub certificate: Option<PathBuf>,
}

impl TlsPlan {
    /// Whether any server is believed to be the right one.
    pub const fn is_insecure(&self) -> bool {
        matches!(self.client.trust, Trust::Anybody)
    }
}

/// The versions of HTTP that are spoken to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersions {
    /// What both sides speak over TLS, HTTP/1.1 without.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http11,
    /// HTTP/2 alone; without TLS by prior knowledge.
    Http2,
}

impl HttpVersions {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }

    /// What is offered by ALPN, the preferred one first.
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Auto => &[b"h2", b"http/1.1"],
            Self::Http11 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
        }
    }
}

/// The version of HTTP that an endpoint was found to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Spoken {
    /// HTTP/1.1.
    Http11 = 1,
    /// HTTP/2.
    Http2 = 2,
}

impl Spoken {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalancePlan {
    /// In turn, smoothly by weight.
    RoundRobin,
    /// The fewest requests in flight for its weight.
    LeastConn,
    /// The less loaded of two drawn by chance.
    RandomTwo,
    /// The shortest expected wait: peak-sensitive average latency times the requests in flight.
    LeastTime,
    /// By the client's full address, the same endpoint as long as it is there.
    IpHash,
    /// By a part of the request, the same endpoint as long as it is there.
    Hash(HashKey),
}

/// The part of a request that `balance: hash` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The normalised path, without the query.
    Path,
    /// The first field of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// The query parameter of this name.
    Query(String),
}

/// One line of an upstream's `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPlan {
    /// An address, or a name that stands for all its addresses.
    pub target: Target,
    /// Share of the requests relative to the others; default 1; 0 drains: no new requests.
    pub weight: u16,
    /// Most requests in flight, over all workers; default none.
    pub max_connections: Option<u32>,
    /// Used only while no other endpoint is available; default false.
    pub backup: bool,
}

impl EndpointPlan {
    /// An endpoint with weight 1, no cap, no backup.
    pub fn new(target: Target) -> Self {
        Self { target, weight: 1, max_connections: None, backup: false }
    }
}

/// What an endpoint is written as.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address.
    Address(Address),
    /// A DNS name; each of its addresses becomes an endpoint with the name's settings.
    Name {
        /// The name, without a trailing dot.
        host: String,
        /// The port of every address.
        port: u16,
    },
}

/// What the `Host` field of forwarded requests says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPlan {
    /// What the client sent.
    Preserve,
    /// The endpoint's own name or address ([`Endpoint::host`](crate::Endpoint::host)).
    Endpoint,
    /// This text.
    Name(String),
}

/// What idle connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPlan {
    /// Most idle connections to one endpoint on one worker; default 64; 0 keeps none.
    pub idle_per_worker: usize,
    /// How long a connection may lie idle; default 55 s, below the 60 s after which common servers close.
    pub idle_timeout: Duration,
    /// How long a connection may live at all, ±10 % so that they do not all end at once; default 1 h.
    pub max_age: Duration,
}

impl Default for PoolPlan {
    fn default() -> Self {
        Self {
            idle_per_worker: 64,
            idle_timeout: Duration::from_secs(55),
            max_age: Duration::from_secs(3_600),
        }
    }
}

/// What waits while every endpoint is at its cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlan {
    /// Most requests that wait, over all workers; default 1024; 0 refuses at once.
    pub size: usize,
    /// Longest wait; default 3 s.
    pub timeout: Duration,
}

impl Default for QueuePlan {
    fn default() -> Self {
        Self { size: 1_024, timeout: Duration::from_secs(3) }
    }
}

/// When a failed attempt is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPlan {
    /// Most attempts in total; default 3; 1 never repeats.
    pub attempts: u32,
    /// Answers that are tried again; default none.
    pub statuses: Vec<u16>,
    /// Whether methods that are not idempotent are repeated too; default false.
    pub non_idempotent: bool,
    /// What each request adds to the retries that may be made, 10 of which are there from the start; default 20 %.
    pub budget: Percent,
    /// Most body bytes kept for a repetition; default 64 KiB.
    pub body_bytes_max: usize,
}

impl Default for RetryPlan {
    fn default() -> Self {
        Self {
            attempts: 3,
            statuses: Vec::new(),
            non_idempotent: false,
            budget: Percent::new(20),
            body_bytes_max: 64 * 1_024,
        }
    }
}

/// What decides whether an endpoint is available.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPlan {
    /// Asking it from time to time; default off.
    pub active: Option<ActivePlan>,
    /// Judging it by its answers to requests; on by default.
    pub passive: Option<PassivePlan>,
}

impl Default for HealthPlan {
    fn default() -> Self {
        Self { active: None, passive: Some(PassivePlan::default()) }
    }
}

/// Judging an endpoint by its answers to requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassivePlan {
    /// Failures in a row that pause an endpoint; default 5; at least 1.
    pub failures: u32,
    /// The first pause; default 30 s. It grows by itself with each repetition, up to 5 min (or itself, if longer).
    pub pause: Duration,
    /// Most endpoints paused at a time, at least one, never the last available; default 50 %.
    pub ejected_max: Percent,
    /// Statuses that count as failures; default none.
    pub statuses: Vec<u16>,
}

impl Default for PassivePlan {
    fn default() -> Self {
        Self {
            failures: 5,
            pause: Duration::from_secs(30),
            ejected_max: Percent::new(50),
            statuses: Vec::new(),
        }
    }
}

/// Asking an endpoint from time to time.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivePlan {
    /// Pause between two checks, ±10 %; default 10 s.
    pub interval: Duration,
    /// Longest wait for the whole check; default 5 s.
    pub timeout: Duration,
    /// Good checks in a row that bring an endpoint up; default 2.
    pub up_after: u32,
    /// Failed checks in a row that take an endpoint down; default 3. The first check of all decides alone.
    pub down_after: u32,
    /// What is asked.
    pub check: CheckPlan,
}

impl ActivePlan {
    /// The documented defaults around `check`.
    pub fn new(check: CheckPlan) -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            up_after: 2,
            down_after: 3,
            check,
        }
    }
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckPlan {
    /// Whether a connection is accepted.
    Tcp,
    /// Whether a GET is answered as expected.
    Http(HttpCheckPlan),
    /// Whether grpc.health.v1.Health/Check says that it serves.
    Grpc(GrpcCheckPlan),
    /// Whether a datagram is answered as expected.
    Udp(UdpCheckPlan),
}

/// A health check by gRPC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcCheckPlan {
    /// The service that is asked for, at most [`SERVICE_BYTES_MAX`](weir_wire::grpc_health::SERVICE_BYTES_MAX) bytes;
    /// default empty, which stands for the whole server.
    pub service: String,
}

/// A health check by UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpCheckPlan {
    /// The datagram that is sent; at most [`PROBE_BYTES_MAX`] bytes, and perhaps none.
    pub send: Vec<u8>,
    /// What one of the answers must hold somewhere, 1 to [`PROBE_BYTES_MAX`] bytes; default none, so that any answer is
    /// good, also an empty one.
    pub expect: Option<Vec<u8>>,
}

/// Most bytes of a check's datagram: what every path carries in one piece, the least IPv6 packet (RFC 8200, section 5)
/// less its headers.
pub const PROBE_BYTES_MAX: usize = 1_280 - 40 - 8;

/// A health check by HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheckPlan {
    /// Path and query; default `/health`.
    pub path: String,
    /// The `Host` field; default the endpoint's own name or address.
    pub host: Option<String>,
    /// Good statuses; default 200 to 299. Redirects are not followed.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// What the first 64 KiB of the body must hold; default anything.
    pub body: Option<BodyPlan>,
}

impl Default for HttpCheckPlan {
    fn default() -> Self {
        Self { path: "/health".to_owned(), host: None, statuses: vec![200..=299], body: None }
    }
}

/// What the body of a health check's answer must hold.
#[derive(Debug, Clone)]
pub enum BodyPlan {
    /// This text, anywhere.
    Text(String),
    /// A match of this expression, anywhere.
    Regex(Regex),
    /// This value at this place of a JSON document.
    Json {
        /// Member names and array indexes joined by dots, optionally after `$.`: `checks.0.state`.
        path: String,
        /// The expected value; a text equals a number or boolean that is written the same.
        value: serde_json::Value,
    },
}

impl PartialEq for BodyPlan {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Json { path: a, value: x }, Self::Json { path: b, value: y }) => a == b && x == y,
            _ => false,
        }
    }
}
