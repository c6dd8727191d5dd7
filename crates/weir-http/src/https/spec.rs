use std::time::Duration;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};

use super::{HttpsPlan, HttpsRedirect};

const HSTS_SHAPE: Shape = Shape::OneOf(&[Shape::OnOff, Shape::Object(&HSTS)]);
const REDIRECT_HTTPS_SHAPE: Shape = Shape::OneOf(&[Shape::OnOff, Shape::Object(&REDIRECT_HTTPS)]);

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// `hsts` of a listener's `http`.
pub const HSTS_KEY: Key = Key::new(
    "hsts",
    HSTS_SHAPE,
    "Tells browsers, on a listener with `tls`, to use nothing but HTTPS with this host (RFC 6797), on every answer that does not say so itself. `on` is for a year.",
)
.default("off");

/// `redirect_https` of a listener's `http`.
pub const REDIRECT_HTTPS_KEY: Key = Key::new(
    "redirect_https",
    REDIRECT_HTTPS_SHAPE,
    "Sends every request of a listener without `tls` to the same host, path and query over HTTPS. What a trusted proxy has taken over HTTPS (`X-Forwarded-Proto`) is served.",
)
.default("off");

static HSTS: Object = Object::new(
    "hsts",
    "What `Strict-Transport-Security` says.",
    &[
        Key::new(
            "max_age",
            Shape::duration(0, 100 * 365 * 86_400_000),
            "How long browsers remember it; `0s` makes them forget.",
        )
        .default("365d"),
        Key::new("include_subdomains", Shape::Bool, "Whether it holds for all names below too.")
            .default("false"),
        Key::new(
            "preload",
            Shape::Bool,
            "Whether browsers may carry it with them; asks for `include_subdomains` and a year at least.",
        )
        .default("false"),
    ],
);

static REDIRECT_HTTPS: Object = Object::new(
    "redirect_https",
    "Where requests without TLS are sent.",
    &[
        Key::new(
            "status",
            Shape::Enum(&["301", "302", "307", "308"]),
            "308 and 307 keep the method; 301 and 302 may turn POST into GET.",
        )
        .default("308"),
        Key::new(
            "port",
            Shape::Integer { min: 1, max: 65535 },
            "The port of the URL; that of the `http` listener with `tls` where there is one, else 443.",
        ),
    ],
);

impl HttpsPlan {
    /// Reads both keys of a listener's `http`; `port` is where HTTPS is unless they say, `has_tls` whether the listener
    /// itself is there.
    pub fn decode(http: &Section, has_tls: bool, port: u16, problems: &Problems) -> Self {
        let hsts = http.node("hsts").and_then(|node| hsts(node, problems));
        let redirect = http.node("redirect_https").and_then(|node| redirect(node, port, problems));
        if let (true, false, Some(node)) = (hsts.is_some(), has_tls, http.node("hsts")) {
            let message = "`hsts` has no effect without `tls`: browsers believe it over HTTPS alone";
            problems.push(
                Problem::warning(Code::CONFLICT, node, message).help("move it to the listener with `tls`"),
            );
        }
        if let (true, true, Some(node)) = (redirect.is_some(), has_tls, http.node("redirect_https")) {
            let message = "`redirect_https` has no meaning on a listener with `tls`";
            problems.push(
                Problem::error(Code::CONFLICT, node, message).help("move it to the listener without `tls`"),
            );
        }
        Self { hsts, redirect }
    }
}

/// What stands for `on`, or the mapping; none for `off`.
fn opened<'n>(node: &'n Node, table: &'static Object, problems: &Problems) -> Option<Section<'n>> {
    match node.entries() {
        Some(_) => Some(table.open(node, problems)),
        None if node.is_off() => None,
        // An empty mapping: every default.
        None => Some(table.defaults(node)),
    }
}

fn hsts(node: &Node, problems: &Problems) -> Option<Box<str>> {
    let section = opened(node, &HSTS, problems)?;
    let max_age = section.duration("max_age");
    let (subdomains, preload) = (section.boolean("include_subdomains"), section.boolean("preload"));
    if preload && !(subdomains && max_age >= YEAR) {
        let message =
            "`preload` is refused by browsers' lists without `include_subdomains` and a `max_age` of a year";
        problems.push(Problem::warning(Code::CONFLICT, section.at("preload"), message));
    }
    let mut value = format!("max-age={}", max_age.as_secs());
    for (is_set, word) in [(subdomains, "; includeSubDomains"), (preload, "; preload")] {
        if is_set {
            value.push_str(word);
        }
    }
    Some(value.into())
}

fn redirect(node: &Node, port: u16, problems: &Problems) -> Option<HttpsRedirect> {
    let section = opened(node, &REDIRECT_HTTPS, problems)?;
    let status = section.choice("status", &[("301", 301), ("302", 302), ("307", 307), ("308", 308)]);
    Some(HttpsRedirect { status, port: section.opt_integer("port").unwrap_or(port) })
}
