use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_net::ListenerState;
use weir_task::Snapshot;

use crate::plane::Plane;

/// The last snapshots that knew a listener, for as long as connections of it are open.
///
/// A client that sends its next request while a reload takes the listener away was promised an answer by it. The
/// connection ends behind that answer, so little is kept for long: at most one snapshot for each listener that is gone.
#[derive(Default)]
pub struct FormerPlanes(Mutex<Vec<Former>>);

struct Former {
    listener: Arc<ListenerState>,
    plane: Arc<Snapshot<Plane>>,
}

impl FormerPlanes {
    fn locked(&self) -> MutexGuard<'_, Vec<Former>> {
        // Each critical section leaves whole data behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what these listeners were served by, and forgets what nobody needs any more.
    pub fn keep(&self, gone: Vec<Arc<ListenerState>>, plane: &Arc<Plane>) {
        let mut kept = self.locked();
        kept.retain(|former| former.listener.open_connections() > 0);
        let plane = Arc::new(Snapshot::new(Arc::clone(plane)));
        kept.extend(gone.into_iter().map(|listener| Former { listener, plane: Arc::clone(&plane) }));
    }

    /// What the listener was last served by.
    pub(crate) fn of(&self, listener: &ListenerState) -> Option<Arc<Snapshot<Plane>>> {
        let kept = self.locked();
        let found = kept.iter().find(|former| std::ptr::eq(&*former.listener, listener));
        found.map(|former| Arc::clone(&former.plane))
    }
}
