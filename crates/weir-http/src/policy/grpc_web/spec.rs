use weir_config::{KindRow, Node, Object, Shape};

use super::GrpcWebPlan;
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "grpc_web",
        doc: "Lets browsers call gRPC services, by translating gRPC-Web to gRPC and back.",
        shape: Shape::Object(&GRPC_WEB),
    },
    decode,
};

static GRPC_WEB: Object = Object::new(
    "grpc_web",
    "Lets browsers call gRPC services: requests of `application/grpc-web` and `application/grpc-web-text` become gRPC, \
     and trailers of the answer its last frame. The upstream must speak HTTP/2 (`http: \"2\"` where it has no TLS). Pages \
     of other origins need the policy `cors` in front, with `x-grpc-web` and `grpc-timeout` among its `headers` and \
     `grpc-status` and `grpc-message` in `expose`.",
    &[],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    GRPC_WEB.open(node, scope.problems);
    Some(PolicyPlan::GrpcWeb(GrpcWebPlan))
}
