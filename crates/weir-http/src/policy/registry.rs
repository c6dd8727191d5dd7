use std::sync::LazyLock;

use weir_config::{KindRow, Node};

use super::{
    PolicyPlan, body_limit, headers, ip_rules, rewrite, security_headers, status, websocket_origins,
};
use crate::spec::Scope;

/// One kind of policy: its row in the table of keys, and what reads it.
pub(crate) struct PolicyKind {
    pub(crate) row: KindRow,
    pub(crate) decode: fn(&Node, Scope) -> Option<PolicyPlan>,
}

/// Every policy. Without its line here and its folder, a policy is gone.
static POLICIES: [PolicyKind; 7] = [
    headers::KIND,
    security_headers::KIND,
    rewrite::KIND,
    status::KIND,
    ip_rules::KIND,
    websocket_origins::KIND,
    body_limit::KIND,
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
        }
    }
}
