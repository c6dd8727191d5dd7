use weir_config::{Key, KindRow, Node, Object, Shape};

use super::BodyLimitPlan;
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "body_limit",
        doc: "Bounds the request's body; a longer one is answered 413.",
        shape: Shape::Object(&BODY_LIMIT),
    },
    decode,
};

static BODY_LIMIT: Object = Object::new(
    "body_limit",
    "Bounds the request's body; a longer one is answered 413, at once where its length is announced.",
    &[Key::new("max", Shape::Size { min: 0, max: 1 << 50 }, "The largest body; 0 refuses every body.")
        .required()],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = BODY_LIMIT.open(node, scope.problems);
    let bytes_max = section.opt_size("max")?;
    Some(PolicyPlan::BodyLimit(BodyLimitPlan { bytes_max }))
}
