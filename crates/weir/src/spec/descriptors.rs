use crate::plan::RootPlan;

/// Descriptors that are not clients' or endpoints': files, listeners, the runtimes' own, with some room.
const RESERVED: u64 = 128;
/// Below this, a busy gateway runs out.
const FEW: u64 = 4_096;

/// What is to be said of `limit`, the descriptors that the process may have, for what is configured.
pub(crate) fn descriptor_warnings(limit: u64, plan: &RootPlan) -> impl Iterator<Item = String> {
    let sessions = plan.listeners.values().filter_map(|listener| listener.takes.sessions_max());
    let sessions = sessions_warning(limit, sessions.map(u64::from).sum());
    descriptor_warning(limit, plan.limits.connections).into_iter().chain(sessions)
}

/// A sentence when `limit`, the descriptors that the process may have, is too low for what is configured.
fn descriptor_warning(limit: u64, connections: Option<u32>) -> Option<String> {
    // Each client's connection may need one to an endpoint.
    let wanted = connections.map_or(FEW, |connections| u64::from(connections) * 2 + RESERVED);
    (limit < wanted).then(|| match connections {
        Some(connections) => format!(
            "the descriptor limit is {limit}, and {connections} connections (`limits.connections`) may need {wanted}"
        ),
        None => format!("the descriptor limit is {limit}; raise the hard limit (`ulimit -Hn`) to {FEW} or more"),
    })
}

/// A sentence when the UDP listeners want more sessions than `limit` descriptors allow: `sessions` are those that are
/// written down.
fn sessions_warning(limit: u64, sessions: u64) -> Option<String> {
    let wanted = sessions + RESERVED;
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
        assert_eq!(descriptor_warning(4_096, None), None);
        assert!(descriptor_warning(1_024, None).unwrap().contains("1024"));
        assert_eq!(descriptor_warning(1_024, Some(100)), None);
        assert!(descriptor_warning(1_024, Some(1_000)).unwrap().contains("2128"));
        assert_eq!((sessions_warning(128, 0), sessions_warning(1_024, 896)), (None, None));
        assert!(sessions_warning(1_024, 897).unwrap().contains("1025"));
    }
}
