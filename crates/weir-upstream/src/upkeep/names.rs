use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Change, Keeper, NameChange, jittered, now};
use crate::names::Name;

/// Pause between two look-ups of a name, ±10 %. The system's resolver does not tell how long an answer is good, so this
/// is how long a change takes to be seen.
const INTERVAL: Duration = Duration::from_secs(10);

/// Longest wait for an answer; one that comes later is dropped.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Look-ups that are under way at a time, those that were given up among them: each blocks a thread of the runtime's
/// blocking pool, which also serves files.
pub(super) const LOOKUPS_MAX: usize = 32;

type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Asks for the addresses of a name.
pub(super) type Lookup = Arc<dyn Fn(&Name) -> Answer + Send + Sync>;

/// The system's resolver: hosts file, DNS, whatever it is told to use.
pub(super) fn system() -> Lookup {
    Arc::new(|name| {
        let name = name.clone();
        Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) })
    })
}

/// Looks a name up from time to time and tells the newest generation of the upstream.
pub(super) async fn run(keeper: Weak<Keeper>, upstream: Arc<str>, name: Name) {
    let mut is_failing = false;
    loop {
        let Some(answer) = keeper.upgrade().map(|keeper| ask(&keeper, &name)) else { return };
        let answer = answer.await;
        let Some(keeper_now) = keeper.upgrade() else { return };
        let Some(current) = keeper_now.upstream(&upstream) else { return };
        let fault = fault(&answer);
        if fault.is_some() != is_failing {
            is_failing = fault.is_some();
            let (upstream, name) = (Arc::clone(&upstream), format!("{}:{}", name.0, name.1));
            (keeper_now.on_change)(&Change::Name(NameChange { upstream, name, fault }));
        }
        if current.resolved(&name, answer, now()) {
            keeper_now.addresses_changed(&upstream);
        }
        drop((current, keeper_now));
        tokio::time::sleep(jittered(INTERVAL)).await;
    }
}

/// Why an answer is none; one without addresses changes nothing either.
fn fault(answer: &Result<Vec<SocketAddr>, String>) -> Option<String> {
    match answer {
        Ok(found) if found.is_empty() => Some("the name has no address".to_owned()),
        Ok(_) => None,
        Err(fault) => Some(fault.clone()),
    }
}

fn ask(keeper: &Keeper, name: &Name) -> impl Future<Output = Result<Vec<SocketAddr>, String>> + use<> {
    let (turns, lookup) = (Arc::clone(&keeper.lookups), Arc::clone(&keeper.lookup));
    let (runtime, name) = (keeper.runtime.clone(), name.clone());
    async move {
        let turn = turns.acquire_owned().await;
        // A task of its own, as the thread goes on blocking when we no longer wait for it; until then it keeps its turn.
        let answer = runtime.spawn(async move {
            let answer = lookup(&name).await;
            drop(turn);
            answer
        });
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("the look-up was cut off".to_owned()),
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}
