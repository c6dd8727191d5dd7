use bytes::Bytes;
use http::{HeaderMap, Method, Request, Version};
use weir_wire::grpc_health::{ANSWER_BYTES_MAX, Serving, answer, request};

use super::connect::Asked;
use super::http2::exchange;
use super::{Fault, USER_AGENT};
use crate::GrpcCheckPlan;

/// Calls grpc.health.v1.Health/Check; good is what serves.
pub(super) async fn ask(asked: &Asked, plan: &GrpcCheckPlan) -> Result<(), Fault> {
    let call = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{}://{}/grpc.health.v1.Health/Check", asked.scheme(), asked.host))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", USER_AGENT)
        .body(())
        .map_err(|error| Fault::early(format!("cannot ask: {error}")))?;
    // One byte more than an answer can have tells one that is too long.
    let stream = asked.connect_http2().await?;
    let answered = exchange(stream, call, Bytes::from(request(&plan.service)), ANSWER_BYTES_MAX + 1).await?;
    if answered.status != 200 {
        return Err(Fault { status: Some(answered.status), reason: format!("status {}", answered.status) });
    }
    let told = |fields: &HeaderMap| {
        let text = |name| Some(fields.get(name)?.to_str().ok()?.to_owned());
        Some((text("grpc-status")?, text("grpc-message").unwrap_or_default()))
    };
    // An answer without a body has its status in the head.
    let status = answered.trailers.as_ref().and_then(told).or_else(|| told(&answered.fields));
    let service = if plan.service.is_empty() { "the server" } else { &*plan.service };
    match status.as_ref().map(|(status, message)| (&**status, &**message)) {
        Some(("0", _)) => {}
        Some(("5", _)) => return Err(Fault::early(format!("the server does not know `{service}`"))),
        Some(("12", _)) => return Err(Fault::early("the server has no grpc.health.v1.Health")),
        Some((status, "")) => return Err(Fault::early(format!("grpc-status {status:.8}"))),
        Some((status, message)) => {
            return Err(Fault::early(format!("grpc-status {status:.8}: {message:.128}")));
        }
        None if answered.body.len() > ANSWER_BYTES_MAX => {}
        None => return Err(Fault::early("the answer ends without grpc-status")),
    }
    match answer(&answered.body).map_err(|error| Fault::early(error.to_string()))? {
        Serving::Serving => Ok(()),
        Serving::NotServing => Err(Fault::early(format!("`{service}` does not serve (NOT_SERVING)"))),
        Serving::Unknown => Err(Fault::early(format!("`{service}` is UNKNOWN"))),
        Serving::ServiceUnknown => Err(Fault::early(format!("the server does not know `{service}`"))),
        Serving::Other(state) => Err(Fault::early(format!("`{service}` is in the unknown state {state}"))),
    }
}
