//! Which route a request takes and why, and where it would go: for `weir explain` and the admin address alike.

mod certificate;
mod endpoints;
mod question;
mod text;

use std::sync::Arc;

pub(crate) use certificate::show as show_certificate;
pub(crate) use question::Question;
use serde_json::{Map, Value, json};
pub(crate) use text::text;
use weir_base::format_duration;
use weir_net::tls::certificates::Table;
use weir_route::{NearMiss, Reason, RequestView, Winner, normalize_host};
use weir_upstream::{Upstream, UpstreamPlan};

use crate::plan::{ActionPlan, RootPlan, RoutePlan};
use crate::spec;

/// Gives the running upstream of a name; none where nothing runs.
pub(crate) type Running<'a> = &'a dyn Fn(&str) -> Option<Arc<Upstream>>;

/// Gives the certificates of a listener; none where it has no TLS.
pub(crate) type Certificates<'a> = &'a dyn Fn(&str) -> Option<Arc<Table>>;

/// Explains a request against a plan; sends nothing and changes nothing. [`text`] writes the answer for people.
///
/// # Errors
///
/// A sentence when the question cannot be read, or when such a request is refused before it is matched.
pub(crate) fn explain(
    plan: &RootPlan,
    question: &Question,
    running: Running,
    tls: Certificates,
) -> Result<Value, String> {
    let (url_authority, target) = question.split()?;
    let (listener, is_assumed) = question.listener(plan, url_authority)?;
    let authority = question.header("host").unwrap_or(url_authority);
    let mut host_buffer = Vec::new();
    let host = match authority {
        "" => &b""[..],
        authority => normalize_host(authority.as_bytes(), &mut host_buffer).map_err(refused)?.name,
    };
    let (written, query) = target.split_once('?').unwrap_or((target, ""));
    let mut path_buffer = Vec::new();
    let rules = plan.listeners.get(listener).map(|listener| listener.paths).unwrap_or_default();
    let path = rules.read(written.as_bytes(), &mut path_buffer).map_err(refused)?;
    let listener_id = spec::listener_id(listener, &plan.listeners).ok_or("there is no such listener")?;
    let view = RequestView {
        listener: listener_id,
        host,
        path,
        query: query.as_bytes(),
        method: question.method.as_bytes(),
        fields: question,
    };
    let found = plan.table.explain(&view);
    let asked = Asked { plan, question, view: &view, running };
    Ok(json!({
        "method": question.method,
        "host": String::from_utf8_lossy(host),
        "path": String::from_utf8_lossy(path),
        "query": query,
        "listener": listener,
        "listener_assumed": is_assumed,
        "certificate": tls(listener).map(|table| certificate::served(&table, if url_authority.is_empty() { authority } else { url_authority })),
        "route": found.winner.as_ref().and_then(|winner| asked.route(winner)),
        "near_misses": found.near_misses.iter().filter_map(|miss| asked.near_miss(miss)).collect::<Vec<_>>(),
    }))
}

fn refused(error: impl std::fmt::Display) -> String {
    format!("such a request is answered 400: {error}")
}

/// A question with what was found out about it.
struct Asked<'a> {
    plan: &'a RootPlan,
    question: &'a Question,
    view: &'a RequestView<'a>,
    running: Running<'a>,
}

impl Asked<'_> {
    fn planned(&self, id: u32) -> Option<&RoutePlan> {
        self.plan.routes.get(id as usize)
    }

    fn route(&self, winner: &Winner) -> Option<Value> {
        let route = self.planned(winner.id)?;
        let params: Map<String, Value> =
            winner.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        Some(json!({
            "name": &*route.name,
            "place": route.place.to_string(),
            "because": winner.rank.to_string(),
            "params": params,
            "policies": route.policies.iter().map(weir_http::PolicyPlan::kind).collect::<Vec<_>>(),
            "action": action(&route.action),
            "upstreams": self.upstreams(route),
            "timeout": route.timeout.map(format_duration),
        }))
    }

    fn upstreams(&self, route: &RoutePlan) -> Vec<Value> {
        let ActionPlan::Forward(shares) = &route.action else { return Vec::new() };
        let planned = |name: &str| self.plan.upstreams.get(name);
        let known = shares.iter().filter_map(|(name, weight)| Some((planned(name)?, *weight)));
        known.map(|(plan, weight)| self.upstream(plan, weight)).collect()
    }

    fn upstream(&self, plan: &UpstreamPlan, weight: u32) -> Value {
        let running = (self.running)(&plan.name);
        json!({
            "name": &*plan.name,
            "weight": weight,
            "balance": endpoints::balance(plan),
            "tls": endpoints::tls(plan),
            "endpoints": endpoints::in_order(plan, running.as_deref(), self.question, self.view),
            "attempts": plan.retry.attempts,
            "timeouts": {
                "connect": format_duration(plan.connect_timeout),
                "response": format_duration(plan.response_timeout),
                "idle": format_duration(plan.idle_timeout),
                "queue": format_duration(plan.queue.timeout),
            },
        })
    }

    fn near_miss(&self, miss: &NearMiss) -> Option<Value> {
        let route = self.planned(miss.id)?;
        Some(json!({
            "route": &*route.name,
            "place": route.place.to_string(),
            "rank": miss.rank.to_string(),
            "reason": self.reason(&miss.reason),
        }))
    }

    /// Listeners have names here, and the table knows their ids only.
    fn reason(&self, reason: &Reason) -> String {
        let name = |id: &u32| self.plan.listeners.keys().nth(*id as usize).map_or("?", |name| &**name);
        match reason {
            Reason::Listener { wanted, got } => {
                let wanted: Vec<&str> = wanted.iter().map(name).collect();
                format!("wants listener {}, got {}", wanted.join(" or "), name(got))
            }
            other => other.to_string(),
        }
    }
}

fn action(plan: &ActionPlan) -> Value {
    match plan {
        ActionPlan::Forward(shares) => {
            let shares = shares.iter().map(|(name, weight)| json!({ "upstream": &**name, "weight": weight }));
            json!({ "forward": shares.collect::<Vec<_>>() })
        }
        ActionPlan::Redirect(plan) => json!({ "redirect": { "status": plan.status } }),
        ActionPlan::Respond(plan) => json!({ "respond": { "status": plan.status } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
listeners:
  web: { bind: "127.0.0.1:8080", http: {} }
  ops: { bind: "127.0.0.1:8081", http: {} }
routes:
  - name: user
    match: { host: api.example.com, path: /users/:id, params: { id: "[0-9]+" } }
    policies: [ { rewrite: { strip_prefix: /users } }, { security_headers: api } ]
    forward: users
    timeout: 30s
  - { name: post, match: { host: api.example.com, path: /users/:id, methods: [POST] , priority: 1 }, respond: { status: 405 } }
  - { name: internal, match: { listeners: ops, path: /* }, respond: {} }
  - { name: rest, match: { path: /* }, redirect: { to: /, status: 307 } }
upstreams:
  users:
    endpoints: ["10.0.0.1:80", { address: "10.0.0.2:80", backup: true }, "users.internal:80", { address: "10.0.0.3:80", weight: 0 }]
"#;

    fn answer(question: Question) -> Result<Value, String> {
        let plan = spec::load_text("weir.yaml", CONFIG, &Default::default())
            .unwrap_or_else(|rejected| panic!("{}", rejected.text));
        explain(&plan, &question, &|_| None, &|_| None)
    }

    fn ask(method: &str, url: &str) -> Value {
        answer(Question { method: method.into(), url: url.into(), ..Question::default() }).unwrap()
    }

    #[test]
    fn the_winner_is_shown_with_all_that_it_does() {
        let answer = ask("GET", "http://API.example.com:8080//users/./42?x=1");
        let route = &answer["route"];
        assert_eq!((&answer["path"], &answer["listener"]), (&json!("/users/42"), &json!("web")));
        assert_eq!((&route["name"], &route["params"]), (&json!("user"), &json!({ "id": "42" })));
        assert_eq!(route["policies"], json!(["rewrite", "security_headers"]));
        assert_eq!((&route["timeout"], &route["place"]), (&json!("30s"), &json!("weir.yaml:6:5")));
        assert_eq!(route["upstreams"][0]["timeouts"]["connect"], "5s");
        let endpoints = route["upstreams"][0]["endpoints"].as_array().unwrap();
        let addresses: Vec<_> =
            endpoints.iter().map(|endpoint| endpoint["address"].as_str().unwrap()).collect();
        assert_eq!(addresses, ["10.0.0.1:80", "10.0.0.2:80", "users.internal:80", "10.0.0.3:80"]);
        let orders: Vec<_> = endpoints.iter().map(|endpoint| endpoint["order"].as_u64()).collect();
        assert_eq!(orders, [Some(1), Some(2), None, None]);
    }

    #[test]
    fn a_running_upstream_is_asked_for_its_state_and_does_not_notice() {
        let plan = spec::load_text("weir.yaml", CONFIG, &Default::default())
            .unwrap_or_else(|rejected| panic!("{}", rejected.text));
        let running = Upstream::compile(plan.upstreams["users"].clone(), None, std::time::Instant::now());
        let now = std::time::Instant::now();
        running.set_admin_state("10.0.0.1:80", weir_upstream::AdminState::Down, now).unwrap();
        let question = Question { url: "http://api.example.com/users/1".into(), ..Question::default() };
        let answer = explain(&plan, &question, &|_| Some(Arc::clone(&running)), &|_| None).unwrap();
        let endpoints = &answer["route"]["upstreams"][0]["endpoints"];
        assert_eq!(endpoints[0], json!({ "address": "10.0.0.2:80", "state": "up", "order": 1 }));
        assert_eq!(endpoints[1], json!({ "address": "10.0.0.1:80", "state": "switched-off", "order": null }));
        assert!(running.endpoints().iter().all(|endpoint| endpoint.requests() == 0));
    }

    #[test]
    fn near_misses_say_what_is_in_the_way() {
        let answer = ask("GET", "http://api.example.com:8080/users/42");
        let reason = |name: &str| {
            let misses = answer["near_misses"].as_array().unwrap().iter();
            misses
                .clone()
                .find(|miss| miss["route"] == name)
                .map(|miss| miss["reason"].as_str().unwrap().to_owned())
        };
        assert_eq!(reason("post").unwrap(), "wants method POST, got GET");
        assert_eq!(reason("internal").unwrap(), "wants listener ops, got web");
        assert!(reason("rest").unwrap().contains("the winner has the more specific host"));
    }

    #[test]
    fn the_port_of_the_url_or_a_name_chooses_the_listener() {
        assert_eq!(ask("GET", "http://x:8081/")["listener"], "ops");
        assert_eq!(ask("GET", "http://x:8081/")["listener_assumed"], false);
        assert_eq!(ask("GET", "http://[::1]:8080/")["listener"], "web");
        for url in ["/", "http://x/", "http://[::1]/", "http://x:1/"] {
            let answer = ask("GET", url);
            assert_eq!(
                (&answer["listener"], &answer["listener_assumed"]),
                (&json!("ops"), &json!(true)),
                "{url}"
            );
            assert!(text(&answer).contains("listener ops, the first by name: `--listener` chooses another"));
        }
        let question = Question { url: "/".into(), listener: Some("web".into()), ..Question::default() };
        let named = answer(question.clone()).unwrap();
        assert_eq!((&named["listener"], &named["listener_assumed"]), (&json!("web"), &json!(false)));
        assert!(!text(&named).contains("--listener"));
        let wrong = answer(Question { listener: Some("wbe".into()), ..question }).unwrap_err();
        assert_eq!(wrong, "there is no listener `wbe`; listeners are: ops, web");
    }

    #[test]
    fn a_listener_that_takes_no_requests_is_told_by_its_name_and_by_its_port() {
        let db = "listeners:\n  db: { bind: \":5432\", tcp: { forward: users } }\n  dns: { bind: \":8053\", udp: { forward: users } }";
        let text = CONFIG.replacen("listeners:", db, 1);
        let plan = spec::load_text("weir.yaml", &text, &Default::default())
            .unwrap_or_else(|rejected| panic!("{}", rejected.text));
        let ask = |url: &str, listener: Option<&str>| {
            let listener = listener.map(str::to_owned);
            explain(&plan, &Question { url: url.into(), listener, ..Question::default() }, &|_| None, &|_| {
                None
            })
        };
        let by_port = ask("http://127.0.0.1:5432/", None).unwrap_err();
        assert!(by_port.starts_with("port 5432 is that of the `tcp` listener `db`"), "{by_port}");
        let by_name = ask("/", Some("db")).unwrap_err();
        assert_eq!(by_name, "the listener `db` takes no HTTP requests: it is a `tcp` listener");
        assert_eq!(ask("http://x:5432/", Some("web")).unwrap()["listener"], "web");
        assert!(ask("http://x:8053/", None).is_ok(), "the ports of datagrams are others");
    }

    #[test]
    fn the_scheme_stands_for_its_port() {
        let text =
            CONFIG.replace("127.0.0.1:8080", "127.0.0.1:443").replace("127.0.0.1:8081", "127.0.0.1:9443");
        let plan = spec::load_text("weir.yaml", &text, &Default::default())
            .unwrap_or_else(|rejected| panic!("{}", rejected.text));
        let listener = |url: &str| {
            let question = Question { url: url.into(), ..Question::default() };
            let answer = explain(&plan, &question, &|_| None, &|_| None).unwrap();
            (answer["listener"].as_str().unwrap().to_owned(), answer["listener_assumed"].as_bool().unwrap())
        };
        assert_eq!(listener("https://x/"), ("web".to_owned(), false));
        assert_eq!(listener("https://x:9443/"), ("ops".to_owned(), false));
        assert_eq!(listener("http://x/"), ("ops".to_owned(), true));
    }

    #[test]
    fn what_is_refused_before_matching_is_told() {
        for url in ["/../x", "http://a b/", "ftp://x", "example.com/x"] {
            let question = Question { url: url.into(), ..Question::default() };
            assert!(answer(question).is_err(), "{url}");
        }
    }

    #[test]
    fn people_read_the_same_answer_as_a_text() {
        let shown = text(&ask("GET", "http://api.example.com/users/42"));
        for part in
            ["user", "weir.yaml:6:5", "rewrite, security_headers", "10.0.0.1:80", "30s", "wants method POST"]
        {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(text(&json!({ "method": "GET", "path": "/", "route": null })).contains("no route matches"));
    }

    #[test]
    fn questions_survive_the_way_to_the_admin_address() {
        let headers = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        let client = "192.0.2.1".parse().ok();
        let question = Question {
            method: "PUT".into(),
            url: "/x".into(),
            headers,
            listener: Some("web".into()),
            client,
        };
        assert_eq!(Question::from_json(&question.to_json()), Ok(question));
        assert!(Question::from_json(&json!({ "url": 1 })).is_err());
        assert!(Question::from_json(&json!({ "url": "/", "headers": [1] })).is_err());
        assert!(Question::from_json(&json!({ "url": "/", "client": "x" })).is_err());
    }
}
