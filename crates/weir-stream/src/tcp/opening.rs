//! What is read of a connection before it is known where it goes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use weir_net::{ConnectionLimits, ProxyHeaderFailure, ProxyProtocol};
use weir_upstream::Upstream;
use weir_wire::client_hello;
use weir_wire::proxy_protocol::{self, HEADER_BYTES_MAX, Header};

use super::connection::{Connection, Declared};
use crate::end::End;
use crate::plane::TcpListener;

/// What a connection is opened by.
pub(super) struct Opening {
    pub(super) listener: Arc<TcpListener>,
    pub(super) limits: ConnectionLimits,
    /// Whether it begins with a PROXY header, its peer being who it is.
    pub(super) expects: ProxyProtocol,
}

/// How waiting for more bytes ended without any.
pub(super) enum Silence {
    /// The client has ended its direction.
    Ended,
    /// The client's connection was reset or failed.
    Failed,
    /// Time is up.
    Late,
    /// The gateway stops, or needs the descriptor for somebody else.
    Unwanted,
}

/// Reads more behind what was read ahead.
pub(super) fn poll_more(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), Silence>> {
    if connection.worker.base.is_stopping() || connection.admitted.handle.should_close() {
        return Poll::Ready(Err(Silence::Unwanted));
    }
    let mut ahead = match connection.ahead.take() {
        Some(buffer) => buffer,
        None => connection.worker.base.spares.buffers.take(),
    };
    let read = connection.client.poll_read(cx, &mut ahead);
    connection.ahead = Some(ahead);
    if connection.ahead.as_ref().is_some_and(weir_net::Buffer::is_empty) {
        connection.put_ahead();
    }
    match read {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(Silence::Ended)),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Silence::Failed)),
        Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        Poll::Pending if connection.deadline.is_expired(cx) => Poll::Ready(Err(Silence::Late)),
        // Asked between the first look and this wait, by another worker.
        Poll::Pending if connection.admitted.handle.should_close() => Poll::Ready(Err(Silence::Unwanted)),
        Poll::Pending => Poll::Pending,
    }
}

/// How long a client that has said nothing may still take once the gateway drains.
const SILENT_WHILE_DRAINING: Duration = Duration::from_secs(1);

/// [`poll_more`] of a client that may not have said anything: it does not hold a drain up.
fn poll_first_words(connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), Silence>> {
    let more = poll_more(connection, cx);
    if more.is_pending()
        && connection.ahead.is_none()
        && connection.worker.base.is_draining()
        && !std::mem::replace(&mut connection.hurried, true)
    {
        connection.deadline.set(Instant::now(), SILENT_WHILE_DRAINING);
    }
    more
}

/// Reads the PROXY header and settles who the client is; false when the connection is to be closed.
pub(super) async fn proxy_header(connection: &mut Connection, opening: &Opening) -> bool {
    connection.deadline.set(connection.started, opening.listener.plan.preread_timeout);
    if opening.expects == ProxyProtocol::Off {
        return true;
    }
    let failure = match read_header(connection).await {
        Begin::Header(header) => return settle(connection, opening, &header),
        Begin::Absent if opening.expects == ProxyProtocol::Accepted => return count(connection, opening),
        Begin::Absent => ProxyHeaderFailure::Missing,
        Begin::Malformed => ProxyHeaderFailure::Malformed,
        Begin::Unfinished => ProxyHeaderFailure::Unfinished,
        Begin::Silent => return false,
    };
    connection.worker.base.proxy_header_failed(&connection.admitted.listener, connection.peer, failure);
    false
}

/// How a connection from a trusted proxy begins.
enum Begin {
    Header(Header),
    /// With something else.
    Absent,
    /// With what looked like a header.
    Malformed,
    /// With part of what may be a header and then the end, or nothing more in time.
    Unfinished,
    /// With nothing, as when a proxy only looks whether we listen, or when the server is to speak first; or it was cut.
    Silent,
}

async fn read_header(connection: &mut Connection) -> Begin {
    poll_fn(|cx| {
        loop {
            let filled = connection.ahead.as_ref().map_or(&[][..], |ahead| ahead.filled());
            match proxy_protocol::parse(filled) {
                Ok(proxy_protocol::Parsed::Incomplete) if filled.len() < HEADER_BYTES_MAX => {}
                Ok(proxy_protocol::Parsed::Header(header)) => return Poll::Ready(Begin::Header(header)),
                Ok(proxy_protocol::Parsed::Absent) => return Poll::Ready(Begin::Absent),
                Ok(proxy_protocol::Parsed::Incomplete) | Err(_) => return Poll::Ready(Begin::Malformed),
            }
            let is_empty = filled.is_empty();
            match ready!(poll_first_words(connection, cx)) {
                Ok(()) => {}
                Err(Silence::Ended | Silence::Late) if !is_empty => return Poll::Ready(Begin::Unfinished),
                Err(_) => return Poll::Ready(Begin::Silent),
            }
        }
    })
    .await
}

/// Takes the header's word on who the client is.
fn settle(connection: &mut Connection, opening: &Opening, header: &Header) -> bool {
    if !header.is_local && header.source.is_some() {
        connection.peer = header.source;
    }
    let ahead = connection.ahead();
    let tlvs = ahead.filled().get(header.tlvs.clone()).unwrap_or_default().into();
    ahead.consume(header.length);
    connection.declared = Some(Box::new(Declared { destination: header.destination, tlvs }));
    // A proxy that speaks for itself is no client: what it asks must not count against those that it speaks for.
    header.is_local || count(connection, opening)
}

fn count(connection: &mut Connection, opening: &Opening) -> bool {
    let Some(peer) = connection.peer else { return true };
    let counted = connection.admitted.count_ip(peer.ip(), &opening.limits).is_ok();
    if !counted {
        connection.worker.base.shared.stats.refused();
    }
    counted
}

/// The upstream that a connection goes to; looks at its ClientHello where the listener has routes.
pub(super) async fn choose<'l>(
    connection: &mut Connection,
    listener: &'l TcpListener,
) -> Result<&'l Arc<Upstream>, End> {
    let otherwise = |end| listener.forward.as_ref().ok_or(end);
    if listener.targets.is_empty() {
        return otherwise(End::NoRoute);
    }
    if let Some(facts) = connection.client.tls() {
        // The handshake has told what is otherwise read ahead.
        let place = listener.routes.lookup(facts.sni.as_deref(), facts.alpn_name.as_deref().into_iter());
        return place.map_or_else(|| otherwise(End::NoRoute), |place| Ok(&listener.targets[place]));
    }
    let mut joined = Vec::new();
    let found = poll_fn(|cx| {
        loop {
            let filled = connection.ahead.as_ref().map_or(&[][..], |ahead| ahead.filled());
            match client_hello::parse(filled, &mut joined) {
                Ok(client_hello::Parsed::Hello(hello)) => {
                    let place = listener.routes.lookup(hello.server_name, hello.alpn.iter());
                    return Poll::Ready(Ok((place, hello.server_name.map(Box::from))));
                }
                Ok(client_hello::Parsed::Incomplete) => {}
                Ok(client_hello::Parsed::Absent(_)) => return Poll::Ready(Err(End::NoRoute)),
                Err(_) => return Poll::Ready(Err(End::BadHello)),
            }
            let is_empty = filled.is_empty();
            match ready!(poll_first_words(connection, cx)) {
                Ok(()) => {}
                Err(Silence::Unwanted) if connection.worker.base.is_stopping() => {
                    return Poll::Ready(Err(End::ShuttingDown));
                }
                Err(Silence::Unwanted) => return Poll::Ready(Err(End::Overloaded)),
                // A reset is no end of what it said: nothing of it is passed on.
                Err(Silence::Failed) => return Poll::Ready(Err(End::ClientReset)),
                Err(Silence::Ended) if is_empty => return Poll::Ready(Err(End::ClientGone)),
                Err(Silence::Ended) => return Poll::Ready(Err(End::BadHello)),
                // The server may be to speak first.
                Err(Silence::Late) => return Poll::Ready(Err(End::NoRoute)),
            }
        }
    })
    .await;
    match found {
        Ok((place, sni)) => {
            connection.sni = sni;
            place.map_or_else(|| otherwise(End::NoRoute), |place| Ok(&listener.targets[place]))
        }
        Err(end @ (End::BadHello | End::NoRoute)) => otherwise(end),
        Err(end) => Err(end),
    }
}
