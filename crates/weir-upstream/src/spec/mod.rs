//! What a user writes about an upstream, and how it becomes an [`UpstreamPlan`].

mod endpoint;
mod health;
mod statuses;
mod tls;

use std::collections::HashMap;

pub use endpoint::ENDPOINT;
pub use health::HEALTH;
pub use tls::TLS;
use weir_config::{Code, Entry, Key, Node, Object, Problem, Problems, Section, Shape, SourceReader};

use crate::{
    BalancePlan, EndpointPlan, HashKey, HostPlan, HttpVersions, PoolPlan, QueuePlan, RetryPlan, Target,
    UpstreamPlan,
};

const BALANCERS: &[&str] = &[
    "round_robin",
    "least_conn",
    "random_two",
    "least_time",
    "ip_hash",
    "hash",
    "weighted_round_robin",
    "least_connections",
];

/// One of `upstreams`.
pub static UPSTREAM: Object = Object::new(
    "upstream",
    "A group of endpoints that serve the same, and how they are used.",
    &[
        Key::new("endpoints", Shape::OneOrMany(&ENDPOINT_SHAPE), "Where requests go: addresses, names or mappings.")
            .required(),
        Key::new(
            "balance",
            Shape::Enum(BALANCERS),
            "How an endpoint is chosen. `weighted_round_robin` is `round_robin`, `least_connections` is `least_conn`.",
        )
        .default("round_robin"),
        Key::new(
            "key",
            Shape::Text,
            "With `balance: hash`, what is hashed: `client_ip`, `path`, `header:NAME`, `cookie:NAME` or `query:NAME`.",
        ),
        Key::new(
            "host",
            Shape::Text,
            "The `Host` field of forwarded requests: `preserve` as the client sent it, `endpoint` for the endpoint's own, or a name.",
        )
        .default("preserve"),
        Key::new(
            "tls",
            Shape::OneOf(&[Shape::OnOff, Shape::Object(&TLS)]),
            "Whether connections to the endpoints are secured by TLS, and how: `tls: {}` verifies them against the authorities that the system trusts. The header of `send_proxy_protocol` goes before it; TCP connections offer the protocol (ALPN) that their client has agreed on with us, else none.",
        )
        .default("off"),
        Key::new(
            "http",
            Shape::Enum(&["auto", "1.1", "2"]),
            "The HTTP version spoken to the endpoints: `auto` is 1.1 on plain connections and what both sides speak over TLS.",
        )
        .default("auto"),
        Key::new(
            "connect_timeout",
            Shape::duration(1, 300_000),
            "Longest wait for a connection, TLS included, per attempt. It cannot be switched off.",
        )
        .default("5s"),
        Key::new(
            "response_timeout",
            Shape::duration(1, 86_400_000),
            "Longest wait for the head of the response, per attempt, from when the request was written; while its body moves, `timeouts.body_idle` bounds the wait.",
        )
        .default("60s"),
        Key::new(
            "idle_timeout",
            Shape::duration(1, 86_400_000),
            "Longest pause between two pieces of the response body.",
        )
        .default("60s"),
        Key::new("pool", Shape::Object(&POOL), "Which idle connections are kept."),
        Key::new(
            "queue",
            Shape::OneOf(&[Shape::Off, Shape::Object(&QUEUE)]),
            "Requests that wait while every endpoint is at its cap; `off` refuses them at once.",
        ),
        Key::new(
            "retry",
            Shape::OneOf(&[Shape::Off, Shape::Object(&RETRY)]),
            "When a failed attempt is repeated; `off` never repeats one.",
        ),
        Key::new("health", Shape::Object(&HEALTH), "How it is found out which endpoints are well."),
        Key::new(
            "slow_start",
            Shape::duration_or_off(1, 86_400_000),
            "How long a recovered or new endpoint takes to reach its full weight.",
        )
        .default("off"),
        Key::new(
            "panic_threshold",
            Shape::Percent,
            "When a smaller share of the endpoints than this is available, all are used; `0%` never.",
        )
        .default("30%"),
        Key::new(
            "required",
            Shape::Bool,
            "While no endpoint of a required upstream is available, the gateway is not ready.",
        )
        .default("false"),
    ],
);

const ENDPOINT_SHAPE: Shape = Shape::OneOf(&[Shape::Address, Shape::Object(&ENDPOINT)]);

static POOL: Object = Object::new(
    "pool",
    "Idle connections that wait for the next request. Each worker has its own.",
    &[
        Key::new(
            "idle_per_worker",
            Shape::Integer { min: 0, max: 100_000 },
            "Idle connections to one endpoint on one worker; 0 keeps none.",
        )
        .default("64"),
        Key::new("idle_timeout", Shape::DURATION, "How long a connection may lie idle.").default("55s"),
        Key::new(
            "max_age",
            Shape::duration(1, 30 * 86_400_000),
            "How long a connection may live at all, ±10 %.",
        )
        .default("1h"),
    ],
);

static QUEUE: Object = Object::new(
    "queue",
    "Requests that wait while every endpoint is at its `max_connections`, first come first served.",
    &[
        Key::new(
            "size",
            Shape::Integer { min: 0, max: 1_000_000 },
            "Requests that may wait, over all workers.",
        )
        .default("1024"),
        Key::new("timeout", Shape::DURATION, "Longest wait.").default("3s"),
    ],
);

static RETRY: Object = Object::new(
    "retry",
    "When a failed attempt is repeated. An attempt that sent nothing goes to the next endpoint, each at most once.",
    &[
        Key::new("attempts", Shape::Integer { min: 1, max: 100 }, "Attempts in total; 1 never repeats.")
            .default("3"),
        Key::new(
            "statuses",
            Shape::OneOrMany(&Shape::Text),
            "Statuses that are tried again, such as `503` or `502-504`; for idempotent methods unless `non_idempotent`. None by default.",
        ),
        Key::new(
            "non_idempotent",
            Shape::Bool,
            "Repeat methods such as POST too, although the endpoint may have acted on the first attempt.",
        )
        .default("false"),
        Key::new(
            "budget",
            Shape::Percent,
            "What each request adds to the retries that may be made; ten are there from the start, at most a thousand are saved up.",
        )
        .default("20%"),
        Key::new(
            "body_bytes_max",
            Shape::Size { min: 0, max: 64 << 20 },
            "How much of a request body is kept for a repetition; a longer one is sent once.",
        )
        .default("64KiB"),
    ],
);

impl UpstreamPlan {
    /// Reads one entry of `upstreams`: its name and its mapping.
    ///
    /// `reader` reads the files of certificates. Always gives a plan, with defaults in place of what is wrong; `problems` say whether it may be used.
    pub fn decode(entry: &Entry, reader: &dyn SourceReader, problems: &Problems) -> Self {
        let section = UPSTREAM.open(&entry.value, problems);
        let endpoints = endpoints(&section, problems);
        let plan = Self {
            name: entry.name().into(),
            balance: balance(&section, problems),
            host: host(&section, problems),
            tls: tls::decode(&section, reader, problems),
            http: match section.text("http") {
                "1.1" => HttpVersions::Http11,
                "2" => HttpVersions::Http2,
                _ => HttpVersions::Auto,
            },
            connect_timeout: section.duration("connect_timeout"),
            response_timeout: section.duration("response_timeout"),
            idle_timeout: section.duration("idle_timeout"),
            pool: section.object("pool", &POOL, problems).map_or_else(PoolPlan::default, |pool| PoolPlan {
                idle_per_worker: pool.integer("idle_per_worker"),
                idle_timeout: pool.duration("idle_timeout"),
                max_age: pool.duration("max_age"),
            }),
            queue: queue(&section, problems),
            retry: retry(&section, problems),
            health: health::decode(&section, &endpoints, problems),
            endpoints,
            slow_start: section.duration_or_off("slow_start"),
            panic_threshold: section.percent("panic_threshold"),
            required: section.boolean("required"),
        };
        tls::check_names(&plan, &section, problems);
        plan
    }
}

fn balance(section: &Section, problems: &Problems) -> BalancePlan {
    let key = section.node("key");
    let plan = match section.text("balance") {
        "least_conn" | "least_connections" => BalancePlan::LeastConn,
        "random_two" => BalancePlan::RandomTwo,
        "least_time" => BalancePlan::LeastTime,
        "ip_hash" => BalancePlan::IpHash,
        "hash" => return BalancePlan::Hash(hash_key(section, problems)),
        _ => BalancePlan::RoundRobin,
    };
    if let Some(key) = key {
        let problem = Problem::error(Code::CONFLICT, key, "`key` has no meaning without `balance: hash`");
        problems.push(problem.help("add `balance: hash`, or remove `key`"));
    }
    plan
}

fn hash_key(section: &Section, problems: &Problems) -> HashKey {
    const HELP: &str = "keys are: client_ip, path, header:NAME, cookie:NAME, query:NAME";
    let Some((text, node)) = section.node("key").and_then(|node| Some((node.text()?, node))) else {
        let problem =
            Problem::error(Code::MISSING_KEY, section.at("balance"), "`balance: hash` needs a `key` to hash");
        problems.push(problem.help(HELP));
        return HashKey::ClientIp;
    };
    let named = |name: &str| weir_wire::http1::is_token(name.as_bytes());
    match text.split_once(':') {
        None if text == "client_ip" => HashKey::ClientIp,
        None if text == "path" => HashKey::Path,
        Some(("header", name)) if named(name) => HashKey::Header(name.to_ascii_lowercase()),
        Some(("cookie", name)) if named(name) => HashKey::Cookie(name.to_owned()),
        Some(("query", name)) if !name.is_empty() => HashKey::Query(name.to_owned()),
        _ => {
            let message = format!("`key` must name what is hashed, got {}", node.describe());
            let problem = Problem::error(Code::UNKNOWN_CHOICE, node, message);
            let kinds = ["client_ip", "path", "header", "cookie", "query"];
            let kind = text.split(':').next().unwrap_or_default();
            problems.push(match kinds.contains(&kind) {
                true => problem.help(HELP),
                false => problem.did_you_mean(kind, kinds).help(HELP),
            });
            HashKey::ClientIp
        }
    }
}

fn host(section: &Section, problems: &Problems) -> HostPlan {
    match section.text("host") {
        "preserve" => HostPlan::Preserve,
        "endpoint" => HostPlan::Endpoint,
        name if is_authority(name) => HostPlan::Name(name.to_owned()),
        _ => {
            let node = section.at("host");
            let message =
                format!("`host` must be `preserve`, `endpoint` or a host name, got {}", node.describe());
            problems.push(Problem::error(Code::MALFORMED, node, message));
            HostPlan::Preserve
        }
    }
}

/// A host with or without a port, as the `Host` field may have it.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    port.is_none_or(|port| port.parse::<u16>().is_ok()) && endpoint::is_host(host)
}

fn endpoints(section: &Section, problems: &Problems) -> Vec<EndpointPlan> {
    let mut plans: Vec<EndpointPlan> = Vec::new();
    // By target, where it was written first: a list may have tens of thousands.
    let mut places: HashMap<Target, &Node> = HashMap::new();
    let nodes = section.list("endpoints");
    for node in nodes {
        let Some((plan, place)) = endpoint::decode(node, problems) else { continue };
        if let Some(first) = places.get(&plan.target) {
            let message = format!("the endpoint {} is listed twice", place.describe());
            let problem = Problem::error(Code::SAME_ADDRESS, place, message);
            problems.push(problem.also(*first, "first listed here").help("give one of them a `weight`"));
            continue;
        }
        places.insert(plan.target.clone(), place);
        plans.push(plan);
    }
    let node = section.at("endpoints");
    if nodes.is_empty() && section.node("endpoints").is_some() {
        problems.push(Problem::error(Code::MISSING_KEY, node, "an upstream needs at least one endpoint"));
    } else if nodes.len() > usize::from(u16::MAX) {
        problems.push(Problem::error(Code::OUT_OF_RANGE, node, "an upstream has at most 65535 endpoints"));
    } else if plans.len() == nodes.len() && plans.iter().all(|plan| plan.weight == 0) && !plans.is_empty() {
        let problem =
            Problem::warning(Code::CONFLICT, node, "every endpoint has weight 0 and gets no requests");
        problems.push(problem.help("requests for this upstream are answered 503"));
    }
    plans
}

fn queue(section: &Section, problems: &Problems) -> QueuePlan {
    match section.object("queue", &QUEUE, problems) {
        Some(queue) => QueuePlan { size: queue.integer("size"), timeout: queue.duration("timeout") },
        None if section.node("queue").is_some() => QueuePlan { size: 0, ..QueuePlan::default() },
        None => QueuePlan::default(),
    }
}

fn retry(section: &Section, problems: &Problems) -> RetryPlan {
    match section.object("retry", &RETRY, problems) {
        Some(retry) => RetryPlan {
            attempts: retry.integer("attempts"),
            statuses: statuses::listed(&retry, "statuses", problems),
            non_idempotent: retry.boolean("non_idempotent"),
            budget: retry.percent("budget"),
            body_bytes_max: usize::try_from(retry.size("body_bytes_max").bytes()).unwrap_or(usize::MAX),
        },
        None if section.node("retry").is_some() => RetryPlan { attempts: 1, ..RetryPlan::default() },
        None => RetryPlan::default(),
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
