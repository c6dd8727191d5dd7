//! The admin address of the running gateway: what it shows is read here, who may ask is judged in `weir-admin`.

mod config;
mod metrics;
mod policy;
mod secret;
mod stream;
mod tls;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_admin::{
    EndpointOrder, Guard, Readiness, ReloadAnswer, ReloadRejected, Server, StartError, TokenRefused,
    UnknownEndpoint,
};
use weir_telemetry::{Level, Value as Field};
use weir_upstream::AdminState;

use crate::explain::Question;
use crate::plan::AdminPlan;
use crate::run::{Gateway, Reloads};

/// The running admin address; dropping it closes it.
#[derive(Debug)]
pub(crate) struct AdminHandle(Server);

impl AdminHandle {
    /// Lets requests that run be answered, at most for `limit`, and closes.
    pub(crate) async fn shut_down(self, limit: Duration) {
        self.0.shut_down(limit).await;
    }
}

/// Registers the gateway's metrics, and serves the admin address where there is one.
///
/// # Errors
///
/// [`StartError`] where the address cannot be listened on.
pub(crate) async fn start(
    plan: Option<AdminPlan>,
    gateway: &Arc<Gateway>,
    reloads: Reloads,
) -> Result<Option<AdminHandle>, StartError> {
    metrics::register(gateway);
    let Some(plan) = plan else { return Ok(None) };
    let admin = Admin { gateway: Arc::clone(gateway), reloads };
    let guard = Guard::new(&plan.hosts, plan.token);
    let server = Server::start(&plan.bind, plan.unix_mode, guard, Arc::new(admin))?;
    gateway.registry.register(server.stats());
    let address = server.address().to_string();
    gateway.log.event(
        Level::Info,
        "listening",
        &[("listener", Field::Str("admin")), ("address", Field::Str(&address))],
    );
    // Started once in a process: there is no other address yet.
    let _first = gateway.admin_address.set(address);
    Ok(Some(AdminHandle(server)))
}

/// What the admin address reaches of the process.
struct Admin {
    gateway: Arc<Gateway>,
    reloads: Reloads,
}

impl weir_admin::Gateway for Admin {
    fn readiness(&self) -> Readiness {
        let now = Instant::now();
        let upstreams = self.gateway.upstreams();
        let required = upstreams.iter().filter(|upstream| upstream.plan().required);
        let dependencies: Vec<(String, bool)> =
            required.map(|upstream| (upstream.name().to_string(), upstream.is_available(now))).collect();
        let listens = !self.gateway.listeners().is_empty();
        let up = listens && self.gateway.is_ready() && dependencies.iter().all(|(_, up)| *up);
        Readiness { up, dependencies }
    }

    fn health(&self) -> Value {
        view::health(&self.gateway)
    }

    fn status(&self) -> Value {
        view::status(&self.gateway)
    }

    fn config(&self) -> Value {
        config::show(&self.gateway.plan())
    }

    fn routes(&self) -> Value {
        view::routes(&self.gateway)
    }

    fn upstreams(&self) -> Value {
        view::upstreams(&self.gateway)
    }

    fn certificates(&self) -> Value {
        view::certificates(&self.gateway)
    }

    fn metrics(&self) -> String {
        self.gateway.registry.render()
    }

    fn reload(&self) -> ReloadAnswer {
        let (reloads, gateway) = (self.reloads.clone(), Arc::clone(&self.gateway));
        Box::pin(async move {
            reloads.reload().await.map_err(|rejected| {
                let running = gateway.revision();
                let text =
                    format!("{}: nothing was changed, revision {running} keeps running", rejected.text);
                ReloadRejected { text, problems: rejected.problems }
            })
        })
    }

    fn explain(&self, question: &Value) -> Result<Value, String> {
        let question = Question::from_json(question)?;
        let running = self.gateway.upstreams();
        // A reload may come between the plan and its upstreams; then the plan alone is explained.
        let of_name = |name: &str| running.iter().find(|upstream| **upstream.name() == *name).cloned();
        let tls = self.gateway.tls();
        let certificates = |name: &str| tls.get(name).map(|tls| tls.certificates());
        crate::explain::explain(&self.gateway.plan(), &question, &of_name, &certificates)
    }

    fn set_endpoint(
        &self,
        upstream: &str,
        address: &str,
        order: EndpointOrder,
    ) -> Result<(), UnknownEndpoint> {
        let upstreams = self.gateway.upstreams();
        let upstream = upstreams.iter().find(|known| **known.name() == *upstream).ok_or(UnknownEndpoint)?;
        let state = match order {
            EndpointOrder::Drain => AdminState::Drain,
            EndpointOrder::Down => AdminState::Down,
            EndpointOrder::Up => AdminState::Up,
        };
        let changed =
            upstream.set_admin_state(address, state, Instant::now()).map_err(|_| UnknownEndpoint)?;
        if let Some(change) = changed {
            change.tell(&self.gateway.shared);
        }
        Ok(())
    }
    fn token_refused(&self, refused: &TokenRefused) {
        let fields = [
            ("client_ip", Field::Str(&refused.source)),
            ("failures", Field::U64(u64::from(refused.failures))),
            ("locked_out_s", Field::U64(refused.locked_for.map_or(0, |duration| duration.as_secs()))),
            ("unreported", Field::U64(refused.unreported)),
        ];
        self.gateway.log.event(Level::Warn, "admin_token_refused", &fields);
    }
}
