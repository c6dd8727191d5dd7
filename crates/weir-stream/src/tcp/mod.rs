//! TCP connections: where each one goes, and the story of one from accept to the log line.

mod connect;
mod connection;
mod opening;
mod relay;
pub mod routes;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use weir_net::{ListenerState, ProxyHeaderFailure, Socket};

use crate::StreamWorker;
use crate::end::End;
use crate::plane::TcpListener;
use connection::Connection;
use opening::Opening;
use relay::Joined;

/// Serves one client connection to its end.
///
/// What is captured is kept small on purpose: a future has room for its captures beside the variables that they are
/// moved to.
pub fn serve(
    socket: Socket,
    peer: Option<SocketAddr>,
    listener: Arc<ListenerState>,
    worker: Arc<StreamWorker>,
) -> impl Future<Output = ()> + Send {
    worker.base.shared.stats.accepted(worker.base.shard);
    let admitted = admit(socket, peer, listener, worker);
    async move {
        let Some((connection, opening)) = admitted else { return };
        // Boxed, and gone once the two sides are joined: what is idle then is the relay alone.
        let (mut connection, opened) = Box::pin(open(connection, opening)).await;
        match opened {
            Opened::Joined(joined) => relay::relay(connection, joined).await,
            Opened::Ended(end) => {
                // One whose handshake has failed is told why, which a reset might overtake.
                if end != End::TlsFailed {
                    connection.client.reset_on_close();
                }
                connection.record(end, Default::default());
            }
            Opened::NotAClient => {}
        }
    }
}

/// Counts the connection, or resets it where it may not be here.
fn admit(
    mut client: Socket,
    peer: Option<SocketAddr>,
    listener: Arc<ListenerState>,
    worker: Arc<StreamWorker>,
) -> Option<(Box<Connection>, Opening)> {
    let plane = worker.plane();
    let Some(tcp) = plane.tcp(listener.id) else {
        // Its listener has just been removed.
        client.reset_on_close();
        return None;
    };
    let Ok(expects) = tcp.proxy_protocol.expected(peer.map(|peer| peer.ip()), &plane.trusted) else {
        worker.base.proxy_header_failed(&listener, peer, ProxyHeaderFailure::UntrustedPeer);
        client.reset_on_close();
        return None;
    };
    let opening = Opening { listener: Arc::clone(tcp), limits: tcp.limits(&plane), expects };
    match Connection::admit(client, peer, listener, &worker, &opening) {
        Ok(connection) => Some((connection, opening)),
        Err((mut client, _limit)) => {
            worker.base.shared.stats.refused();
            client.reset_on_close();
            None
        }
    }
}

/// What the time before the relay came to.
enum Opened {
    Joined(Box<Joined>),
    Ended(End),
    /// It had no good PROXY header, or was closed before it had said for whom it connects.
    NotAClient,
}

/// Everything before the relay: who connects, where to, and the connection to there.
async fn open(mut connection: Box<Connection>, opening: Opening) -> (Box<Connection>, Opened) {
    let listener: &TcpListener = &opening.listener;
    // Who has said nothing yet is the first to go where room is needed.
    let begun = connection.worker.base.age_ms(connection.started);
    connection.admitted.set_idle(Some(begun));
    if !opening::proxy_header(&mut connection, &opening).await {
        connection.put_ahead();
        connection.client.reset_on_close();
        return (connection, Opened::NotAClient);
    }
    if let Some(tls) = &listener.tls {
        let (secured, result) = tls::secure(connection, tls).await;
        connection = secured;
        if let Err(end) = result {
            return (connection, Opened::Ended(end));
        }
    }
    let joined = join(&mut connection, listener).await;
    let opened = joined.map_or_else(Opened::Ended, Opened::Joined);
    if matches!(opened, Opened::Ended(_)) {
        connection.put_ahead();
    }
    (connection, opened)
}

/// Finds out where a client is to go, and connects to there.
async fn join(connection: &mut Connection, listener: &TcpListener) -> Result<Box<Joined>, End> {
    let upstream = opening::choose(connection, listener).await?;
    connection.admitted.set_idle(None);
    connection.upstream = Some(Arc::clone(upstream.name()));
    connect::connect(connection, listener, upstream).await
}
