use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use weir_base::ErrorCode;
use weir_wire::http1::{Known, RequestHead, list_items};

use crate::answer::{Answer, Refusal};
use crate::resource::Resource;
use crate::{Gateway, ReloadRejected};

/// Longest work for one request; a reload goes on after it, unseen.
pub const HANDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most requests that are worked on at a time, the probes aside: views of a large configuration must not take every core
/// from the traffic. Later ones wait, and may be cut while they do.
pub const WORKS_MAX: usize = 2;

/// Longest look at the dependencies: with what the network takes, `/health/ready` answers within a second.
pub const READY_TIMEOUT: Duration = Duration::from_millis(800);

/// The media type that Prometheus asks for.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a query asks `/healthz` for more than whether the process lives.
pub(crate) fn is_deep(query: &[u8]) -> bool {
    query.split(|&b| b == b'&').any(|pair| pair == b"deep=true" || pair == b"deep=1" || pair == b"deep")
}

/// The gateway and the leave to make it work.
pub(crate) struct Work {
    pub(crate) gateway: Arc<dyn Gateway>,
    /// One of [`WORKS_MAX`], given back when the work ends, however long its asker waits; none for a probe.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Does what was asked for.
pub(crate) async fn handle(
    work: Work,
    resource: Resource,
    head: &RequestHead,
    deep: bool,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let ok = |value: Value| Answer::json(200, &value);
    match resource {
        Resource::Live => Ok(ok(json!({ "status": "UP" }))),
        Resource::Healthz if !deep => Ok(ok(json!({ "status": "ok" }))),
        Resource::Healthz => work.ask(<dyn Gateway>::health).await.map(ok),
        Resource::Ready => Ok(ready(work).await),
        Resource::Metrics => {
            let text = work.ask(<dyn Gateway>::metrics).await?;
            Ok(Answer::text(METRICS_TYPE, text))
        }
        Resource::Status => work.ask(<dyn Gateway>::status).await.map(ok),
        Resource::Config => work.ask(<dyn Gateway>::config).await.map(ok),
        Resource::Routes => work.ask(<dyn Gateway>::routes).await.map(ok),
        Resource::Upstreams => work.ask(<dyn Gateway>::upstreams).await.map(ok),
        Resource::Certificates => work.ask(<dyn Gateway>::certificates).await.map(ok),
        Resource::Reload => reload(work, head).await,
        Resource::Explain => explain(work, body).await.map(ok),
        Resource::Endpoint { upstream, address, order } => {
            let answer = json!({ "upstream": upstream, "endpoint": address, "order": order.as_str() });
            let done = work.ask(move |gateway| gateway.set_endpoint(&upstream, &address, order)).await?;
            match done {
                Ok(()) => Ok(ok(answer)),
                Err(unknown) => Err(Refusal::because(ErrorCode::NotFound, unknown.to_string())),
            }
        }
    }
}

impl Work {
    /// Asks on the blocking pool; a panic there, or no answer in time, is our fault and nobody else's.
    async fn ask<T: Send + 'static>(
        self,
        question: impl FnOnce(&dyn Gateway) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let asked = tokio::task::spawn_blocking(move || {
            let Self { gateway, permit: _permit } = self;
            question(&*gateway)
        });
        match timeout(HANDLE_TIMEOUT, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(ErrorCode::Internal)),
        }
    }
}

/// Never an error: who cannot say that it is ready is not.
async fn ready(work: Work) -> Answer {
    let word = |up: bool| if up { "UP" } else { "DOWN" };
    let (up, dependencies) = match timeout(READY_TIMEOUT, work.ask(<dyn Gateway>::readiness)).await {
        Ok(Ok(readiness)) => (readiness.up, readiness.dependencies),
        Ok(Err(_)) | Err(_) => (false, vec![("gateway".to_owned(), false)]),
    };
    let dependencies: Vec<Value> =
        dependencies.iter().map(|(name, up)| json!({ "name": name, "status": word(*up) })).collect();
    let body = json!({ "status": word(up), "dependencies": dependencies });
    Answer::json(if up { 200 } else { 503 }, &body)
}

async fn reload(work: Work, head: &RequestHead) -> Result<Answer, Refusal> {
    // In a task of its own: it must not stop half-way because the client went away, nor take us with it in a panic.
    let reloading = tokio::spawn(async move {
        let Work { gateway, permit: _permit } = work;
        gateway.reload().await
    });
    match timeout(HANDLE_TIMEOUT, reloading).await {
        Ok(Ok(Ok(revision))) => Ok(Answer::json(200, &json!({ "revision": revision }))),
        Ok(Ok(Err(rejected))) => rejection(rejected, head),
        Ok(Err(_)) | Err(_) => Err(Refusal::new(ErrorCode::Internal)),
    }
}

/// Problems as the one text for people, or as a list where the client asks for JSON by name.
fn rejection(rejected: ReloadRejected, head: &RequestHead) -> Result<Answer, Refusal> {
    let code = ErrorCode::ConfigurationRejected;
    if !accepts_json(head) {
        return Err(Refusal::because(code, rejected.text));
    }
    let body = json!({ "problems": rejected.problems });
    Ok(Answer::json(code.status(), &body).with_field("weir-error", code.as_str()))
}

fn accepts_json(head: &RequestHead) -> bool {
    head.fields.all(Known::Accept).flat_map(list_items).any(|item| {
        let name = item.split(|&b| b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"application/json")
    })
}

async fn explain(work: Work, body: &[u8]) -> Result<Value, Refusal> {
    let malformed = |why: String| Refusal::because(ErrorCode::InvalidArgument, why);
    let question: Value =
        serde_json::from_slice(body).map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
    work.ask(move |gateway| gateway.explain(&question)).await?.map_err(malformed)
}
