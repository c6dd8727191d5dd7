//! HTTP/2 connections to endpoints: many requests share one.

mod connection;
mod flow;
mod places;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use thiserror::Error;
use weir_net::tls::{Alpn, TlsFault};
use weir_net::{Socket, Worker};
use weir_task::Deadline;
use weir_upstream::{Dial, DialError, Endpoint, LinkId, PoolPlan, Speaks, Spoken, dial};

use crate::stats::HttpStats;
use crate::wire::Ends;
use connection::{Link, Opened};
use flow::Pulse;
use places::{Places, Taken};

pub(crate) use stats::SharedStats;

/// The shared connections of one worker, by how they are made.
#[derive(Debug, Default)]
pub(crate) struct SharedPool(Mutex<HashMap<LinkId, Arc<Shared>>>);

/// The shared connections of one worker to one endpoint.
#[derive(Debug)]
pub(crate) struct Shared {
    places: Mutex<Places<Link, Arc<OpenError>>>,
    /// A connection that was opened to be shared, and turned out to speak HTTP/1.1.
    other: Mutex<Option<(Socket, Instant)>>,
    /// Whether its peers take WebSocket (RFC 8441), as far as is known.
    takes_websocket: AtomicBool,
    worker: Arc<Worker>,
    stats: Arc<HttpStats>,
}

/// Why there is no connection that speaks HTTP/2.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("it does not speak HTTP/2: {0}")]
    Handshake(io::Error),
    /// That was agreed on by ALPN.
    #[error("it speaks HTTP/1.1")]
    Http11,
}

/// How a connection is opened where one is needed.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) pool: PoolPlan,
    pub(crate) connect_timeout: Duration,
    /// Most bytes of an answer's fields.
    pub(crate) header_bytes: usize,
}

/// Somebody who wants a place on a connection.
#[derive(Debug)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    ticket: Option<u64>,
}

/// A place, and what a stream is opened with there.
pub(crate) type Taking = (Place, SendRequest<Bytes>);

/// A place on a connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    id: u32,
    has_served: bool,
    pulse: Arc<Pulse>,
    /// What was written when the place was taken.
    writes: u64,
}

/// How long a connection is kept that turned out to speak HTTP/1.1 and that nobody takes.
const OTHER_KEPT: Duration = Duration::from_secs(1);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Taken by one thread only; a panic while it is held leaves counts behind that bound less than they should.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedPool {
    /// The connections to an endpoint, of which there may be none yet.
    pub(crate) fn of(
        &self,
        endpoint: &Endpoint,
        pool: &PoolPlan,
        worker: &Arc<Worker>,
        stats: &Arc<HttpStats>,
    ) -> Arc<Shared> {
        let mut all = locked(&self.0);
        let shared = all.entry(endpoint.link_id()).or_insert_with(|| {
            let places = Mutex::new(Places::new(pool.idle_timeout));
            Arc::new(Shared {
                places,
                other: Mutex::default(),
                takes_websocket: AtomicBool::new(false),
                worker: Arc::clone(worker),
                stats: Arc::clone(stats),
            })
        });
        Arc::clone(shared)
    }

    /// Ends what has expired, and forgets endpoints to which nothing is open.
    pub(crate) fn sweep(&self, now: Instant) {
        locked(&self.0).retain(|_, shared| {
            let mut places = locked(&shared.places);
            places.sweep(now);
            locked(&shared.other).take_if(|(_, opened_at)| now - *opened_at > OTHER_KEPT);
            !places.is_idle()
        });
    }

    /// Ends the connections that nobody wants any more; their streams go on.
    pub(crate) fn review(&self, wanted: &HashSet<LinkId>) {
        locked(&self.0).retain(|link, shared| {
            let mut places = locked(&shared.places);
            if wanted.contains(link) {
                return true;
            }
            places.end_all();
            false
        });
    }

    /// Ends all connections; their streams go on.
    pub(crate) fn end_all(&self) {
        for shared in locked(&self.0).values() {
            locked(&shared.places).end_all();
        }
    }

    /// Ends up to `count` connections without streams, those that have been idle longest.
    pub(crate) fn shed(&self, count: usize) -> usize {
        let all = locked(&self.0);
        let mut idle: Vec<(Instant, u32, &Arc<Shared>)> = Vec::new();
        for shared in all.values() {
            idle.extend(locked(&shared.places).idle().map(|(id, since)| (since, id, shared)));
        }
        idle.sort_unstable_by_key(|(since, id, _)| (*since, *id));
        idle.truncate(count);
        for (_, id, shared) in &idle {
            locked(&shared.places).end(*id);
        }
        idle.len()
    }
}

impl Shared {
    /// Asks for a place.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        Waiting { shared: Arc::clone(self), ticket: None }
    }

    /// Shares a connection that was opened for one request and turned out to speak HTTP/2.
    pub(crate) fn adopt(self: &Arc<Self>, socket: Socket, opening: Opening) {
        locked(&self.places).dialled();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let deadline = shared.worker.deadlines.deadline();
            let begun = begin(socket, deadline, &opening).await;
            drive(shared, opening, begun).await;
        });
    }

    /// Whether WebSocket can be had over a connection that is shared, as far as is known.
    pub(crate) fn takes_websocket(&self) -> bool {
        self.takes_websocket.load(Ordering::Relaxed)
    }

    /// The connection that turned out to speak HTTP/1.1, for who takes it first.
    pub(crate) fn take_other(&self) -> Option<(Socket, Instant)> {
        locked(&self.other).take()
    }

    fn spawn_dial(self: &Arc<Self>, opening: &Opening) {
        let (shared, opening) = (Arc::clone(self), opening.clone());
        tokio::spawn(async move {
            let connected = connect(&shared, &opening).await;
            drive(shared, opening, connected).await;
        });
    }
}

impl Waiting {
    /// Takes a place on a connection that takes streams as of now; opens one where that is called for.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        opening: &Opening,
        now: Instant,
    ) -> Poll<Result<Taking, Arc<OpenError>>> {
        let shared = &self.shared;
        loop {
            let mut places = locked(&shared.places);
            places.idle_timeout = opening.pool.idle_timeout;
            let result = match places.take(&mut self.ticket, cx.waker(), now) {
                Taken::Place(id, link, has_served) => {
                    let mut send = link.send.clone();
                    if !matches!(send.poll_ready(cx), Poll::Ready(Ok(()))) {
                        // It ended a moment ago, and its task has not run since.
                        places.end(id);
                        continue;
                    }
                    let pulse = Arc::clone(&link.pulse);
                    let place = Place {
                        shared: Arc::clone(shared),
                        endpoint: Arc::clone(&opening.endpoint),
                        id,
                        has_served,
                        writes: pulse.writes(),
                        pulse,
                    };
                    Poll::Ready(Ok((place, send)))
                }
                Taken::Wait => Poll::Pending,
                Taken::Failed(error) => Poll::Ready(Err(error)),
            };
            while !matches!(result, Poll::Ready(Err(_))) && places.dial() {
                shared.spawn_dial(opening);
            }
            if let Poll::Ready(Ok(_)) = &result {
                shared.stats.shared.opened_stream(shared.worker.shard);
            }
            return result;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            locked(&self.shared.places).forget(&mut self.ticket);
        }
    }
}

impl Place {
    /// Whether nothing that was sent since the place was taken can have left: the kernel took not one byte.
    pub(crate) fn sent_nothing(&self) -> bool {
        self.pulse.writes() == self.writes
    }

    /// Which answers on the connection were whole.
    pub(crate) fn ends(&self) -> Arc<Ends> {
        Arc::clone(self.pulse.ends())
    }

    /// What TLS failed with on the connection, if it did.
    pub(crate) fn tls_fault(&self) -> Option<TlsFault> {
        self.pulse.fault()
    }

    /// The peer did not answer a request that has waited for so long: where it was silent altogether for the last half of
    /// it, it is asked whether it is there.
    pub(crate) fn doubt(&self, waited: Duration) {
        if self.pulse.is_silent_since(Instant::now() - waited / 2) {
            locked(&self.shared.places).suspect(self.id, true);
            self.pulse.ask();
        }
    }

    /// Waits until the peer's settings are known.
    pub(crate) async fn settled(&self) {
        self.pulse.settled().await;
    }

    /// Whether the connection has carried a stream before.
    pub(crate) fn has_served(&self) -> bool {
        self.has_served
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut places = locked(&shared.places);
        places.leave(self.id, Instant::now());
        if shared.worker.is_draining() || !self.endpoint.keeps_connections() {
            places.end(self.id);
        }
        shared.stats.shared.closed_stream(shared.worker.shard);
    }
}

/// Drives a connection until it ends, where there is one.
async fn drive(shared: Arc<Shared>, opening: Opening, begun: Result<(Link, Opened), OpenError>) {
    let (link, opened) = match begun {
        Ok(begun) => begun,
        Err(error) => return locked(&shared.places).failed(Arc::new(error)),
    };
    let now = Instant::now();
    opening.endpoint.set_spoken(Spoken::Http2);
    let expires_at = opening.pool.expires_at(now, opening.endpoint.id());
    let id = locked(&shared.places).opened(link, expires_at, now);
    let tie = Tie { shared: Arc::downgrade(&shared), id };
    let _counted = shared.stats.shared.opened_connection();
    drop((shared, opening));
    opened.drive(&tie).await;
    tie.gone();
}

async fn connect(shared: &Shared, opening: &Opening) -> Result<(Link, Opened), OpenError> {
    let begun = Instant::now();
    let deadline = shared.worker.deadlines.deadline();
    let how = Dial { limit: opening.connect_timeout, preface: &[], speaks: Speaks::Http };
    let socket = dial(&shared.worker, &deadline, &opening.endpoint, how).await?;
    let now = Instant::now();
    opening.endpoint.connected(now - begun);
    shared.stats.connected(shared.worker.shard);
    if socket.tls().is_some() && socket.alpn() != Some(Alpn::H2) {
        opening.endpoint.set_spoken(Spoken::Http11);
        *locked(&shared.other) = Some((socket, now));
        return Err(OpenError::Http11);
    }
    begin(socket, deadline, opening).await
}

async fn begin(socket: Socket, deadline: Deadline, opening: &Opening) -> Result<(Link, Opened), OpenError> {
    connection::open(socket, deadline, opening.header_bytes).await.map_err(|error| {
        OpenError::Handshake(error.into_io().unwrap_or_else(|| io::ErrorKind::InvalidData.into()))
    })
}

/// What ties a connection's task to the places on it.
struct Tie {
    shared: Weak<Shared>,
    id: u32,
}

impl Tie {
    fn places<T>(&self, then: impl FnOnce(&mut Places<Link, Arc<OpenError>>) -> T) -> Option<T> {
        let shared = self.shared.upgrade()?;
        let done = then(&mut locked(&shared.places));
        Some(done)
    }

    /// The peer allows so many streams.
    fn settled(&self, limit: u32) {
        if let Some(shared) = self.shared.upgrade() {
            let mut places = locked(&shared.places);
            if let Some(link) = places.get(self.id) {
                let takes = link.send.is_extended_connect_protocol_enabled();
                shared.takes_websocket.store(takes, Ordering::Relaxed);
            }
            places.settle(self.id, limit);
        }
    }

    /// Whether the connection takes no streams any more, for a GOAWAY or another end of it.
    fn refuses(&self, cx: &mut Context<'_>) -> bool {
        self.places(|places| {
            let link = places.get(self.id)?;
            // This handle has opened no stream itself, so that it waits for none.
            Some(matches!(link.send.poll_ready(cx), Poll::Ready(Err(_))))
        })
        .flatten()
        .unwrap_or(false)
    }

    /// The peer takes no more streams.
    fn ending(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.stats.shared.went_away();
            locked(&shared.places).end(self.id);
        }
    }

    fn suspect(&self, suspect: bool) {
        self.places(|places| places.suspect(self.id, suspect));
    }

    /// The peer gave no sign of life.
    fn lost(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.stats.shared.lost();
            locked(&shared.places).end(self.id);
        }
    }

    /// Whether the connection carries a stream.
    fn is_busy(&self) -> bool {
        self.places(|places| places.is_busy(self.id)).unwrap_or(true)
    }

    fn gone(&self) {
        self.places(|places| places.gone(self.id));
    }
}
