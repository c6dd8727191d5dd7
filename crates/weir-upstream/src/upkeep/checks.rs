use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::{Change, Keeper, OnChange, Task, jittered, now};
use crate::health::active::{self, Asked};
use crate::{ActivePlan, Endpoint, Upstream, lock};

/// The running check of one endpoint.
pub(super) struct CheckTask {
    /// The settings it runs with.
    plan: ActivePlan,
    asked: Asked,
    subject: Arc<Mutex<Subject>>,
    task: Task,
}

/// Whom the results concern: the newest generation of the upstream and of the endpoint.
#[derive(Clone)]
struct Subject {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
}

impl CheckTask {
    pub(super) fn start(
        keeper: &Keeper,
        plan: &ActivePlan,
        upstream: &Arc<Upstream>,
        endpoint: &Arc<Endpoint>,
    ) -> Self {
        let subject = Subject { upstream: Arc::clone(upstream), endpoint: Arc::clone(endpoint) };
        let subject = Arc::new(Mutex::new(subject));
        let asked = Asked::of(endpoint);
        let work = run(
            plan.clone(),
            asked.clone(),
            Arc::clone(&subject),
            Arc::clone(&keeper.checks),
            Arc::clone(&keeper.on_change),
        );
        Self { plan: plan.clone(), asked, subject, task: keeper.spawn(work) }
    }

    /// Whether it is the check that this endpoint needs.
    pub(super) fn is_for(&self, plan: &ActivePlan, endpoint: &Endpoint) -> bool {
        self.plan == *plan && self.asked.is(endpoint) && self.task.is_running()
    }

    /// Lets the results concern another generation.
    pub(super) fn follow(&self, upstream: &Arc<Upstream>, endpoint: &Arc<Endpoint>) {
        let mut subject = lock(&self.subject);
        if !Arc::ptr_eq(&subject.endpoint, endpoint) || !Arc::ptr_eq(&subject.upstream, upstream) {
            *subject = Subject { upstream: Arc::clone(upstream), endpoint: Arc::clone(endpoint) };
        }
    }
}

async fn run(
    plan: ActivePlan,
    asked: Asked,
    subject: Arc<Mutex<Subject>>,
    turns: Arc<Semaphore>,
    on_change: OnChange,
) {
    loop {
        let turn = turns.acquire().await;
        let result = active::check(&asked, &plan).await;
        drop(turn);
        let Subject { upstream, endpoint } = lock(&subject).clone();
        if let Some(change) = upstream.checked(&endpoint, result, now()) {
            on_change(&Change::Endpoint(change));
        }
        drop((upstream, endpoint));
        tokio::time::sleep(jittered(plan.interval)).await;
    }
}
