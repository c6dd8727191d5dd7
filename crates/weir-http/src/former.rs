use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_net::ListenerState;
use weir_task::Snapshot;

use crate::plane::Plane;

/// The last snapshots that knew a listener, for as long as connections of it are open.
///
/// A client that sends its next request while a reload takes the listener away was promised an answer by it. The
/// connection ends behind that answer, so little is kept for long: at most one snapshot for each listener that is gone.
#[derive(Default)]
pub struct FormerPlanes(Mutex<Vec<(Arc<ListenerState>, Arc<Snapshot<Plane>>)>>);

impl FormerPlanes {
    fn locked(&self) -> MutexGuard<'_, Vec<(Arc<ListenerState>, Arc<Snapshot<Plane>>)>> {
        // Each critical section leaves whole data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what these listeners were served by, and forgets what nobody needs any more.
    pub fn keep(&self, gone: Vec<Arc<ListenerState>>, plane: &Arc<Plane>) {
        let mut kept = self.locked();
        kept.retain(|(listener, _)| listener.open_connections() > 0);
        let snapshot = Arc::new(Snapshot::new(Arc::clone(plane)));
        kept.extend(gone.into_iter().map(|listener| (listener, Arc::clone(&snapshot))));
    }

    /// What the listener was last served by.
    pub(crate) fn of(&self, listener: &ListenerState) -> Option<Arc<Snapshot<Plane>>> {
        let kept = self.locked();
        let found = kept.iter().find(|(known, _)| std::ptr::eq(&**known, listener));
        found.map(|(_, plane)| Arc::clone(plane))
    }
}
