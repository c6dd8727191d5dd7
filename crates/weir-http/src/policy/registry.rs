use std::sync::LazyLock;

use weir_config::{KindRow, Node};

use super::{
    PolicyPlan, body_limit, compress, cors, grpc_web, headers, ip_rules, rewrite, security_headers, status,
    websocket_origins,
};
use crate::spec::Scope;

/// One kind of policy: its row in the table of keys, and what reads it.
pub(crate) struct PolicyKind {
    pub(crate) row: KindRow,
    pub(crate) decode: fn(&Node, Scope) -> Option<PolicyPlan>,
}

/// Every policy. Without its line here and its folder, a policy is gone.
static POLICIES: [PolicyKind; 10] = [
    headers::KIND,
    security_headers::KIND,
    rewrite::KIND,
    status::KIND,
    ip_rules::KIND,
    websocket_origins::KIND,
    body_limit::KIND,
    cors::KIND,
    compress::KIND,
    grpc_web::KIND,
];

/// The kinds as the table of a route's `policies` has them.
pub fn policy_kinds() -> &'static [KindRow] {
    static ROWS: LazyLock<Vec<KindRow>> = LazyLock::new(|| POLICIES.iter().map(|kind| kind.row).collect());
    &ROWS
}

impl PolicyPlan {
    /// Reads one item of a route's `policies`; `None` when the problems say why.
    pub fn decode(node: &Node, scope: Scope) -> Option<Self> {
        let [entry] = node.entries()? else { return None };
        let kind = POLICIES.iter().find(|kind| kind.row.name == entry.name())?;
        (kind.decode)(&entry.value, scope)
    }

    /// The policy's name in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Headers(_) => headers::KIND.row.name,
            Self::SecurityHeaders(_) => security_headers::KIND.row.name,
            Self::Rewrite(_) => rewrite::KIND.row.name,
            Self::Status(_) => status::KIND.row.name,
            Self::IpRules(_) => ip_rules::KIND.row.name,
            Self::WebSocketOrigins(_) => websocket_origins::KIND.row.name,
            Self::BodyLimit(_) => body_limit::KIND.row.name,
            Self::Cors(_) => cors::KIND.row.name,
            Self::Compress(_) => compress::KIND.row.name,
            Self::GrpcWeb(_) => grpc_web::KIND.row.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{IpRule, PathRewrite, SecurityPreset};
    use weir_config::{Code, Key, Object, Problem, Problems, Shape, load_bytes};

    static ROUTE: Object = Object::new(
        "route",
        "A route.",
        &[Key::new("policies", Shape::List(&Shape::Kind(policy_kinds)), "Some.")],
    );

    /// Decodes one policy in flow style, in a route that binds `id`.
    fn decoded(policy: &str) -> (Option<PolicyPlan>, Vec<Code>) {
        let problems = Problems::new();
        let document = load_bytes("t", format!("policies: [ {{ {policy} }} ]").as_bytes(), &ROUTE, &problems);
        let route = ROUTE.open(&document.root, &problems);
        let params = ["id".to_owned()];
        let scope = Scope { problems: &problems, params: &params };
        let plan = route.list("policies").first().and_then(|node| PolicyPlan::decode(node, scope));
        (plan, problems.to_vec().iter().map(Problem::code).collect())
    }

    fn good(policy: &str) -> PolicyPlan {
        let (plan, codes) = decoded(policy);
        assert_eq!(codes, [], "{policy}");
        plan.unwrap_or_else(|| panic!("{policy} has no plan and no problem"))
    }

    #[test]
    fn kinds_have_names_of_their_own_and_a_sentence() {
        let kinds = policy_kinds();
        for (at, kind) in kinds.iter().enumerate() {
            assert!(kind.doc.ends_with('.'), "{}", kind.name);
            assert!(kinds[..at].iter().all(|other| other.name != kind.name));
        }
    }

    #[test]
    fn headers_are_lowered_and_their_values_may_hold_parameters() {
        let plan = good(
            "headers: { request: { set: { X-Id: \"{id}\" }, remove: X-A, deny: [X-B, x-b] }, response: { allow: [] } }",
        );
        let PolicyPlan::Headers(plan) = plan else { panic!("{plan:?}") };
        assert_eq!(plan.request.set[0].0, "x-id");
        assert_eq!(
            (plan.request.remove, plan.request.deny),
            (vec!["x-a".to_owned()], vec!["x-b".to_owned()])
        );
        assert_eq!((plan.request.allow, plan.response.allow), (None, Some(Vec::new())));
        assert_eq!(decoded("headers: { request: { set: { x-id: \"{idd}\" } } }").1, [Code::UNKNOWN_NAME]);
    }

    #[test]
    fn framing_and_hop_by_hop_names_are_refused_wherever_they_would_be_changed() {
        for name in
            ["Connection", "transfer-encoding", "Content-Length", "te", "upgrade", "keep-alive", "host"]
        {
            for key in ["remove", "hash", "deny"] {
                let codes = decoded(&format!("headers: {{ request: {{ {key}: {name} }} }}")).1;
                assert_eq!(codes, [Code::CONFLICT], "{key} {name}");
            }
            for key in ["set", "add", "set_if_absent"] {
                let codes = decoded(&format!("headers: {{ response: {{ {key}: {{ {name}: x }} }} }}")).1;
                assert_eq!(codes, [Code::CONFLICT], "{key} {name}");
            }
        }
        good("headers: { request: { allow: [host, content-length] } }");
    }

    #[test]
    fn rewrites_are_read_one_by_one() {
        let path = |text: &str| match good(&format!("rewrite: {{ {text} }}")) {
            PolicyPlan::Rewrite(plan) => plan.path,
            other => panic!("{other:?}"),
        };
        assert!(
            matches!(path("strip_prefix: /v1"), Some(PathRewrite::StripPrefix(prefix)) if prefix == "/v1")
        );
        assert!(matches!(path("add_prefix: /v1/"), Some(PathRewrite::AddPrefix(prefix)) if prefix == "/v1/"));
        assert!(matches!(path("path: \"/u/{id}\""), Some(PathRewrite::Path(_))));
        assert!(path("host: \"{id}.internal:80\"").is_none());
        let regex = path("regex: { pattern: \"^/(?P<a>.)(.)\", replacement: \"/$2/$a/$0/$$1\" }");
        assert!(
            matches!(regex, Some(PathRewrite::Regex { replacement, .. }) if replacement == "/$2/$a/$0/$1")
        );
    }

    #[test]
    fn presets_go_by_name_or_with_changes() {
        let plan = |text: &str| match good(text) {
            PolicyPlan::SecurityHeaders(plan) => (plan.preset, plan.overrides),
            other => panic!("{other:?}"),
        };
        assert_eq!(plan("security_headers: strict"), (SecurityPreset::Strict, vec![]));
        assert_eq!(plan("security_headers: {}"), (SecurityPreset::Default, vec![]));
        let (preset, overrides) =
            plan("security_headers: { preset: api, set: { X-A: b, referrer-policy: off } }");
        assert_eq!(preset, SecurityPreset::Api);
        assert_eq!(
            overrides,
            [("x-a".to_owned(), "b".to_owned()), ("referrer-policy".to_owned(), String::new())]
        );
    }

    #[test]
    fn addresses_are_denied_by_default_only_where_some_are_allowed() {
        let shown = |text: &str| format!("{:?}", good(&format!("ip_rules: {{ {text} }}")));
        let rules = |rules: &[(&str, bool)], others| {
            let rule =
                |(network, allow): &(&str, bool)| IpRule { network: network.parse().unwrap(), allow: *allow };
            let plan = super::super::IpRulesPlan::new(rules.iter().map(rule).collect(), others);
            format!("{:?}", PolicyPlan::IpRules(plan))
        };
        assert_eq!(shown("allow: 10.0.0.0/8"), rules(&[("10.0.0.0/8", true)], false));
        assert_eq!(
            shown("deny: [192.0.2.1, \"::1\"]"),
            rules(&[("192.0.2.1/32", false), ("::1/128", false)], true)
        );
        assert_eq!(shown("allow: 10.0.0.1, default: allow"), rules(&[("10.0.0.1/32", true)], true));
    }

    #[test]
    fn statuses_origins_and_limits_are_read() {
        let PolicyPlan::Status(plan) = good("status: { 404: 410, \"500\": 503 }") else { panic!("status") };
        assert_eq!(plan.map, [(404, 410), (500, 503)]);
        let PolicyPlan::WebSocketOrigins(plan) =
            good("websocket_origins: { allow: \"HTTPS://App.Example/\" }")
        else {
            panic!("websocket_origins")
        };
        assert_eq!((plan.allow, plan.allow_missing), (vec!["https://app.example".to_owned()], false));
        let PolicyPlan::BodyLimit(plan) = good("body_limit: { max: 1KiB }") else { panic!("body_limit") };
        assert_eq!(plan.bytes_max.bytes(), 1024);
    }

    #[test]
    fn every_plan_knows_the_name_it_was_written_under() {
        for (name, text) in [
            ("headers", "headers: { request: {} }"),
            ("security_headers", "security_headers: api"),
            ("rewrite", "rewrite: { host: a }"),
            ("status", "status: { 404: 410 }"),
            ("ip_rules", "ip_rules: { deny: 10.0.0.1 }"),
            ("websocket_origins", "websocket_origins: { allow: \"*\" }"),
            ("body_limit", "body_limit: { max: 0 }"),
            ("cors", "cors: { origins: \"*\" }"),
            ("compress", "compress: {}"),
            ("grpc_web", "grpc_web: {}"),
        ] {
            assert_eq!(good(text).kind(), name);
        }
    }

    #[test]
    fn an_unknown_kind_and_two_kinds_in_one_item_have_no_plan() {
        assert!(matches!(decoded("header: {}"), (None, codes) if codes == [Code::UNKNOWN_CHOICE]));
        assert!(matches!(decoded("headers: {}, rewrite: {}"), (None, codes) if codes == [Code::WRONG_TYPE]));
    }
}
