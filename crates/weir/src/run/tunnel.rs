//! The relay within the gateway: its listener, its limits, its agents' connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use weir_net::{Admitted, ConnectionLimits, ListenerState, Socket, Worker};
use weir_tunnel::relay::{self, Place, Relay, RelayPlan};

/// What workers serve agents with.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// Who is known, and who is there.
    pub(super) relay: Arc<Relay>,
    /// The id of the listener that agents come to; 0 without one.
    listener: AtomicU32,
    connections_max: AtomicU32,
}

impl Tunnel {
    /// Takes a new configuration to heart.
    pub(super) fn configure(&self, plan: Option<&RelayPlan>, listener: u32, connections_max: u32) {
        self.listener.store(if plan.is_some() { listener } else { 0 }, Ordering::Relaxed);
        self.connections_max.store(connections_max, Ordering::Relaxed);
        match plan {
            Some(plan) => self.relay.configure(plan),
            None => self.relay.configure(&RelayPlan::default()),
        }
    }

    /// Whether agents come to this listener.
    pub(super) fn listens_as(&self, listener: u32) -> bool {
        listener != 0 && self.listener.load(Ordering::Relaxed) == listener
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(
        self: Arc<Self>,
        mut socket: Socket,
        peer: Option<SocketAddr>,
        listener: Arc<ListenerState>,
        worker: Arc<Worker>,
    ) {
        worker.shared.stats.accepted(worker.shard);
        let total = self.connections_max.load(Ordering::Relaxed);
        let limits = ConnectionLimits { total, ..ConnectionLimits::default() };
        let deadline = worker.deadlines.deadline();
        let Ok(_admitted) = Admitted::enter(&worker, listener, deadline.waker(), &limits) else {
            worker.shared.stats.refused();
            socket.reset_on_close();
            return;
        };
        let place = Place { buffers: worker.spares.buffers.clone(), log: worker.shared.log.clone() };
        relay::serve(socket, peer, place, Arc::clone(&self.relay)).await;
    }
}
