use crate::plan::RootPlan;

/// Descriptors of the process itself: files, the control runtime, 64 connections of the admin address.
const RESERVED: u64 = 96;
/// Descriptors of a worker: its runtime, and some room for pipes.
const RESERVED_PER_WORKER: u64 = 8;
/// Descriptors of an address that is listened on, for each worker: the socket as the control side and as the worker
/// hold it, and what watches datagrams.
const RESERVED_PER_ADDRESS: u64 = 4;

/// Descriptors that are not for clients and endpoints.
pub(crate) fn descriptors_reserved(plan: &RootPlan, workers: usize) -> u64 {
    let addresses: usize = plan.listeners.values().map(|listener| listener.bind.len()).sum();
    let workers = workers as u64;
    RESERVED + workers * (RESERVED_PER_WORKER + RESERVED_PER_ADDRESS * addresses as u64)
}

/// Below this, a busy gateway runs out.
const FEW: u64 = 4_096;

/// What is to be said of `limit`, the descriptors that the process may have, for what is configured.
pub(crate) fn descriptor_warnings(limit: u64, plan: &RootPlan) -> impl Iterator<Item = String> {
    let sessions = plan.listeners.values().filter_map(|listener| listener.takes.sessions_max());
    let reserved = descriptors_reserved(plan, plan.workers);
    let sessions = sessions_warning(limit, sessions.map(u64::from).sum(), reserved);
    descriptor_warning(limit, plan.limits.connections, reserved).into_iter().chain(sessions)
}

/// A sentence when `limit`, the descriptors that the process may have, is too low for what is configured.
fn descriptor_warning(limit: u64, connections: Option<u32>, reserved: u64) -> Option<String> {
    // Each client's connection may need one to an endpoint.
    let wanted = connections.map_or(FEW, |connections| u64::from(connections) * 2 + reserved);
    (limit < wanted).then(|| match connections {
        Some(connections) => format!(
            "the descriptor limit is {limit}, and {connections} connections (`limits.connections`) may need {wanted}"
        ),
        None => format!("the descriptor limit is {limit}; raise the hard limit (`ulimit -Hn`) to {FEW} or more"),
    })
}

/// A sentence when the UDP listeners want more sessions than `limit` descriptors allow: `sessions` are those that are
/// written down.
fn sessions_warning(limit: u64, sessions: u64, reserved: u64) -> Option<String> {
    let wanted = sessions + reserved;
    (limit < wanted).then(|| {
        format!(
            "the descriptor limit is {limit}, and {sessions} sessions (`sessions_max`) need {wanted}: there will be fewer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_is_told_against_what_is_configured() {
        assert_eq!(descriptor_warning(4_096, None, RESERVED), None);
        assert!(descriptor_warning(1_024, None, RESERVED).unwrap().contains("1024"));
        assert_eq!(descriptor_warning(1_024, Some(100), RESERVED), None);
        assert!(descriptor_warning(1_024, Some(1_000), RESERVED).unwrap().contains("2096"));
        assert_eq!((sessions_warning(96, 0, RESERVED), sessions_warning(1_024, 928, RESERVED)), (None, None));
        assert!(sessions_warning(1_024, 929, RESERVED).unwrap().contains("1025"));
    }
}
