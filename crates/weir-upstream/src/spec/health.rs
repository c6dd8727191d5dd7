mod udp;

use regex::Regex;
use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};
use weir_wire::grpc_health::SERVICE_BYTES_MAX;

use super::statuses;
use crate::{
    ActivePlan, Address, BodyPlan, CheckPlan, EndpointPlan, GrpcCheckPlan, HealthPlan, HttpCheckPlan,
    PassivePlan, Target,
};

/// `health` of an upstream.
pub static HEALTH: Object = Object::new(
    "health",
    "How it is found out which endpoints are well. Both ways restore an endpoint by themselves.",
    &[
        Key::new(
            "active",
            Shape::OneOf(&[Shape::Off, Shape::Object(&ACTIVE)]),
            "Ask each endpoint from time to time.",
        )
        .default("off"),
        Key::new(
            "passive",
            Shape::OneOf(&[Shape::Off, Shape::Object(&PASSIVE)]),
            "Judge each endpoint by its answers to requests; on unless `off`.",
        ),
    ],
);

const INTERVAL: Key = Key::new(
    "interval",
    Shape::duration(10, 86_400_000),
    "Pause between two checks, ±10 %; the first is made at once.",
)
.default("10s");
const TIMEOUT: Key =
    Key::new("timeout", Shape::duration(1, 3_600_000), "Longest wait for a whole check.").default("5s");
const UP_AFTER: Key = Key::new(
    "up_after",
    Shape::Integer { min: 1, max: 1_000 },
    "Good checks in a row that bring an endpoint up.",
)
.default("2");
const DOWN_AFTER: Key = Key::new(
    "down_after",
    Shape::Integer { min: 1, max: 1_000 },
    "Failed checks in a row that take an endpoint down; the first check of all decides alone.",
)
.default("3");
const PATH: Key = Key::new("path", Shape::Text, "Path and query of the GET.").default("/health");
const HOST: Key =
    Key::new("host", Shape::Text, "The `Host` field; the endpoint's own name or address by default.");
const STATUSES: Key = Key::new(
    "statuses",
    Shape::OneOrMany(&Shape::Text),
    "Good statuses, such as `200-299`. Redirects are not followed.",
)
.default("200-299");
const BODY_SHAPES: &[Shape] = &[Shape::Text, Shape::Object(&BODY_MATCH)];
const BODY: Key = Key::new(
    "body",
    Shape::OneOf(BODY_SHAPES),
    "What the first 64 KiB of the body must hold: a text, a regular expression, or a value in a JSON document. Anything by default.",
);

static ACTIVE: Object = Object::new(
    "active",
    "A check of each endpoint, by HTTP unless `grpc`, `tcp` or `udp` is there, on a connection of its own that is secured \
     as the upstream's are. What all of them have, and what a check by HTTP has, may stand here or within.",
    &[
        Key::new("http", Shape::Object(&HTTP_CHECK), "A GET is answered with a good status."),
        Key::new("grpc", Shape::Object(&GRPC_CHECK), "grpc.health.v1.Health/Check answers SERVING."),
        Key::new(
            "tcp",
            Shape::Object(&TCP_CHECK),
            "A connection is accepted, TLS included where the upstream has it.",
        ),
        Key::new("udp", Shape::Object(&udp::CHECK), "A datagram is answered."),
        INTERVAL,
        TIMEOUT,
        UP_AFTER,
        DOWN_AFTER,
        PATH,
        HOST,
        STATUSES,
        BODY,
    ],
);

static HTTP_CHECK: Object = Object::new(
    "http_check",
    "A GET with the User-Agent `Weir-HealthChecker/VERSION` that must be answered as expected.",
    &[PATH, HOST, STATUSES, BODY, INTERVAL, TIMEOUT, UP_AFTER, DOWN_AFTER],
);

static TCP_CHECK: Object = Object::new(
    "tcp_check",
    "A connection that must be accepted; it is closed at once.",
    &[INTERVAL, TIMEOUT, UP_AFTER, DOWN_AFTER],
);

static GRPC_CHECK: Object = Object::new(
    "grpc_check",
    "A call of grpc.health.v1.Health/Check over HTTP/2, by prior knowledge where the upstream has no `tls`. SERVING is good.",
    &[
        Key::new("service", Shape::Text, "The service that is asked for; the server as a whole by default.")
            .default(""),
        INTERVAL,
        TIMEOUT,
        UP_AFTER,
        DOWN_AFTER,
    ],
);

static BODY_MATCH: Object = Object::new(
    "body_match",
    "What the body of a health check's answer must hold.",
    &[
        Key::new("regex", Shape::Text, "An expression that matches somewhere."),
        Key::new(
            "json",
            Shape::Text,
            "A place in a JSON document: names and indexes joined by dots, `checks.0.state`.",
        ),
        Key::new("value", Shape::Any, "With `json`, the value that must stand there."),
    ],
)
.exactly_one(&["regex", "json"]);

static PASSIVE: Object = Object::new(
    "passive",
    "Failures in a row pause an endpoint: a refused connection, a failed TLS handshake, a timeout, a reset before the head, a listed status. \
     One good answer or check restores it; never the last endpoint is paused.",
    &[
        Key::new("failures", Shape::Integer { min: 1, max: 1_000_000 }, "Failures in a row.").default("5"),
        Key::new("pause", Shape::DURATION, "The first pause; it grows with repetition, up to 5m.")
            .default("30s"),
        Key::new("ejected_max", Shape::Percent, "Endpoints paused at a time, at least one.").default("50%"),
        Key::new(
            "statuses",
            Shape::OneOrMany(&Shape::Text),
            "Statuses that count as failures, such as `503` or `500-599`. None by default.",
        ),
    ],
);

pub(super) fn decode(upstream: &Section, endpoints: &[EndpointPlan], problems: &Problems) -> HealthPlan {
    let Some(health) = upstream.object("health", &HEALTH, problems) else { return HealthPlan::default() };
    let passive = match health.object("passive", &PASSIVE, problems) {
        Some(passive) => Some(PassivePlan {
            failures: passive.integer("failures"),
            pause: passive.duration("pause"),
            ejected_max: passive.percent("ejected_max"),
            statuses: statuses::listed(&passive, "statuses", problems),
        }),
        None if health.node("passive").is_some() => None,
        None => Some(PassivePlan::default()),
    };
    let active = health.object("active", &ACTIVE, problems).map(|active| {
        refuse_agents(active.this(), endpoints, problems);
        active_plan(&active, endpoints, problems)
    });
    HealthPlan { active, passive }
}

fn active_plan(active: &Section, endpoints: &[EndpointPlan], problems: &Problems) -> ActivePlan {
    let kinds = ["http", "grpc", "tcp", "udp"].map(|name| active.node(name));
    if let [first, .., last] = kinds.iter().flatten().collect::<Vec<_>>()[..] {
        let problem =
            Problem::error(Code::EXACTLY_ONE, *last, "a check is by one of `http`, `grpc`, `tcp` and `udp`");
        problems.push(problem.also(*first, "another one"));
    }
    let [http, grpc, tcp, udp] =
        [("http", &HTTP_CHECK), ("grpc", &GRPC_CHECK), ("tcp", &TCP_CHECK), ("udp", &udp::CHECK)]
            .map(|(name, table)| active.object(name, table, problems));
    let udp_plan = udp.as_ref().map(|udp| {
        refuse_unix_endpoints(udp.this(), endpoints, problems);
        udp::check(udp, problems)
    });
    let grpc_plan = grpc.as_ref().map(|grpc| grpc_check(grpc, problems));
    let is_tcp = tcp.is_some();
    let settings = Settings { active, inner: udp.or(grpc).or(tcp).or(http), problems };
    let common = |name| settings.of(name);
    ActivePlan {
        interval: common("interval").duration("interval"),
        timeout: common("timeout").duration("timeout"),
        up_after: common("up_after").integer("up_after"),
        down_after: common("down_after").integer("down_after"),
        check: match (udp_plan, grpc_plan) {
            (Some(plan), _) => {
                settings.refuse_http_settings("udp");
                CheckPlan::Udp(plan)
            }
            (None, Some(plan)) => {
                settings.refuse_http_settings("grpc");
                CheckPlan::Grpc(plan)
            }
            (None, None) if is_tcp => {
                settings.refuse_http_settings("tcp");
                CheckPlan::Tcp
            }
            (None, None) => CheckPlan::Http(settings.http_check()),
        },
    }
}

fn grpc_check(grpc: &Section, problems: &Problems) -> GrpcCheckPlan {
    let service = grpc.text("service").to_owned();
    if service.len() > SERVICE_BYTES_MAX {
        let message = format!("`service` is at most {SERVICE_BYTES_MAX} bytes, got {}", service.len());
        problems.push(Problem::error(Code::OUT_OF_RANGE, grpc.at("service"), message));
    }
    GrpcCheckPlan { service }
}

/// Whether an agent is there, its session says.
fn refuse_agents(active: &Node, endpoints: &[EndpointPlan], problems: &Problems) {
    let is_agent = |endpoint: &&EndpointPlan| matches!(endpoint.target, Target::Address(Address::Tunnel(_)));
    if let Some(endpoint) = endpoints.iter().find(is_agent) {
        let message = format!("active checks of agents such as `{}` are not there yet", endpoint.target);
        let problem = Problem::error(Code::NOT_YET, active, message);
        problems.push(problem.help("remove `active`: an agent without a session is passed over at once"));
    }
}

/// A unix endpoint is a stream socket, and takes no datagrams.
fn refuse_unix_endpoints(udp: &Node, endpoints: &[EndpointPlan], problems: &Problems) {
    let is_unix = |endpoint: &&EndpointPlan| matches!(endpoint.target, Target::Address(Address::Unix(_)));
    if let Some(endpoint) = endpoints.iter().find(is_unix) {
        let message = format!("a check by `udp` cannot reach the endpoint `{}`", endpoint.target);
        let problem = Problem::error(Code::CONFLICT, udp, message);
        problems.push(problem.help("check unix sockets by `tcp` or `http`"));
    }
}

/// The settings of a check, which stand beside `http`, `tcp` or `udp`, or within.
struct Settings<'a, 'n> {
    active: &'a Section<'n>,
    inner: Option<Section<'n>>,
    problems: &'a Problems,
}

impl<'n> Settings<'_, 'n> {
    /// The section that holds a setting, or would.
    fn of(&self, name: &str) -> &Section<'n> {
        let Some(inner) = &self.inner else { return self.active };
        let (Some(here), Some(beside)) = (inner.node(name), self.active.node(name)) else {
            return if inner.node(name).is_some() { inner } else { self.active };
        };
        let problem =
            Problem::error(Code::REPEATED_KEY, here, format!("`{name}` is set twice for this check"));
        self.problems.push(problem.also(beside, "first set here"));
        inner
    }

    fn refuse_http_settings(&self, kind: &str) {
        for name in ["path", "host", "statuses", "body"] {
            if let Some(node) = self.active.node(name) {
                let message = format!("`{name}` has no meaning for a check by `{kind}`");
                self.problems.push(Problem::error(Code::CONFLICT, node, message));
            }
        }
    }

    fn http_check(&self) -> HttpCheckPlan {
        let default = HttpCheckPlan::default();
        let mut statuses = statuses::ranges(self.of("statuses"), "statuses", self.problems);
        if statuses.is_empty() {
            statuses = default.statuses;
        }
        HttpCheckPlan {
            path: self.path().unwrap_or(default.path),
            host: self.host(),
            statuses,
            body: self.of("body").node("body").and_then(|node| body(node, self.problems)),
        }
    }

    fn path(&self) -> Option<String> {
        let node = self.of("path").node("path")?;
        let text = node.text()?;
        if text.starts_with('/') && text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#') {
            return Some(text.to_owned());
        }
        let message = format!("`path` must begin with `/` and hold no spaces, got {}", node.describe());
        self.problems.push(Problem::error(Code::MALFORMED, node, message));
        None
    }

    fn host(&self) -> Option<String> {
        let node = self.of("host").node("host")?;
        let text = node.text()?;
        if super::is_authority(text) {
            return Some(text.to_owned());
        }
        let message = format!("`host` must be a host name, got {}", node.describe());
        self.problems.push(Problem::error(Code::MALFORMED, node, message));
        None
    }
}

fn body(node: &Node, problems: &Problems) -> Option<BodyPlan> {
    if let Some(text) = node.text() {
        return Some(BodyPlan::Text(text.to_owned()));
    }
    let section = BODY_MATCH.open(node, problems);
    match section.chosen()? {
        ("regex", pattern) => match Regex::new(pattern.text()?) {
            Ok(regex) => Some(BodyPlan::Regex(regex)),
            Err(error) => {
                // A syntax error is drawn over several lines; the last one says what is wrong.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("not a regular expression: {reason}");
                problems.push(Problem::error(Code::PATTERN, pattern, message));
                None
            }
        },
        (_, path) => match section.node("value") {
            Some(value) => Some(BodyPlan::Json { path: path.text()?.to_owned(), value: json(value)? }),
            None => {
                problems.push(Problem::error(
                    Code::MISSING_KEY,
                    path,
                    "`json` needs a `value` to compare with",
                ));
                None
            }
        },
    }
}

/// A scalar as JSON; lists and mappings are compared as a whole.
fn json(node: &Node) -> Option<serde_json::Value> {
    use serde_json::Value;
    if let Some(items) = node.items() {
        return Some(Value::Array(items.iter().filter_map(json).collect()));
    }
    if let Some(entries) = node.entries() {
        let entries = entries.iter().filter_map(|entry| Some((entry.name().to_owned(), json(&entry.value)?)));
        return Some(Value::Object(entries.collect()));
    }
    if node.is_null() {
        return Some(Value::Null);
    }
    let float =
        || node.plain().and_then(|text| text.parse::<f64>().ok()).and_then(serde_json::Number::from_f64);
    Some(match (node.boolean(), node.integer()) {
        (Some(value), _) => value.into(),
        (None, Some(value)) => value.into(),
        (None, None) => {
            float().map_or_else(|| Value::String(node.text().unwrap_or_default().into()), Value::Number)
        }
    })
}
