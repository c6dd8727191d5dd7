use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;
use weir_base::ErrorCode;
use weir_net::{Buffer, Buffers, Socket};
use weir_telemetry::{Level, Log, Value};
use weir_wire::http1::{HeadLimits, HeadScanner, Method, RequestError, RequestHead, ScanError, Target};
use weir_wire::websocket;

use super::connect::Connect;
use super::{LIMITS, Relay, answer};
use crate::session::{Session, SessionEnd, Settings};

/// How long the head of a request may take, and each answer to be taken.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What a head may have.
const HEAD_LIMITS: HeadLimits = HeadLimits { bytes: 16 << 10, fields: 64 };

/// Where a connection is served.
#[derive(Debug, Clone)]
pub struct Place {
    /// The worker's buffers.
    pub buffers: Buffers,
    /// Where is told who connects and leaves.
    pub log: Log,
}

/// Serves one connection at the tunnel address: a question, or an agent's session to its end.
pub async fn serve(mut socket: Socket, peer: Option<SocketAddr>, place: Place, relay: Arc<Relay>) {
    let mut buffer = place.buffers.take();
    let mut request = RequestHead::default();
    let read = timeout(HEAD_TIMEOUT, read_head(&mut socket, &mut buffer, &mut request)).await;
    let answer = match read {
        Ok(Ok(true)) => answer(&relay, &request),
        Ok(Ok(false)) => return place.buffers.put(buffer),
        Ok(Err(code)) => Err(answer::problem(code, "/", None)),
        Err(_late) => Err(answer::problem(ErrorCode::RequestTimeout, "/", None)),
    };
    match answer {
        Err(answer) => {
            place.buffers.put(buffer);
            let _late = timeout(HEAD_TIMEOUT, write_and_close(&mut socket, &answer)).await;
        }
        Ok(connect) => {
            let head = connect.head();
            if !matches!(timeout(HEAD_TIMEOUT, write_all(&mut socket, &head)).await, Ok(true)) {
                return place.buffers.put(buffer);
            }
            let ahead = buffer.filled().to_vec();
            place.buffers.put(buffer);
            session(socket, &ahead, peer, &place, &relay, &connect).await;
        }
    }
}

/// The session of an agent that was let in.
async fn session(
    socket: Socket,
    ahead: &[u8],
    peer: Option<SocketAddr>,
    place: &Place,
    relay: &Arc<Relay>,
    connect: &Connect,
) {
    let plan = relay.known().plan.clone();
    let settings = Settings {
        websocket: websocket::Role::Server,
        yamux: connect.role,
        limits: LIMITS,
        budget: Arc::clone(&relay.budget),
        heartbeat: plan.heartbeat,
        offline_after: plan.offline_after,
        write_timeout: plan.write_timeout,
        keeps_streams: connect.keeps_streams(),
    };
    let buffers = place.buffers.clone();
    let (session, running) = Session::start(socket, ahead, &settings, buffers, Box::new(drop));
    let generation = connect.agent.enter(session.clone());
    if relay.is_draining.load(Ordering::Relaxed) {
        // The drain began between the question and now.
        session.leave(SessionEnd::Draining, super::LEAVE);
    }
    let name = connect.agent.plan().name;
    let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
    let fields =
        [("agent", Value::Str(&name)), ("peer", Value::Str(&peer)), ("generation", Value::U64(generation))];
    place.log.event(Level::Info, "agent_connected", &fields);
    let end = running.await;
    connect.agent.exit(generation);
    let text = end.to_string();
    let fields = [
        ("agent", Value::Str(&name)),
        ("generation", Value::U64(generation)),
        ("reason", Value::Str(end.as_str())),
        ("message", Value::Str(&text)),
    ];
    place.log.event(Level::Info, "agent_disconnected", &fields);
}

/// What is answered, or that an agent is let in.
fn answer(relay: &Relay, request: &RequestHead) -> Result<Connect, Vec<u8>> {
    let path = match request.target() {
        Ok(Target::Origin { path, .. } | Target::Absolute { path, .. }) => path,
        _ => return Err(answer::problem(ErrorCode::BadRequest, "/", None)),
    };
    let text = String::from_utf8_lossy(path);
    let problem = |code: ErrorCode| answer::problem(code, &text, None);
    if path == b"/tunnel/connect" {
        if relay.is_draining.load(Ordering::Relaxed) {
            return Err(answer::problem(ErrorCode::ShuttingDown, &text, Some(1 + fastrand::u32(0..5))));
        }
        return Connect::judge(relay, request).map_err(problem);
    }
    let body = match path {
        b"/healthz" => "{\"status\":\"ok\"}\n".to_owned(),
        b"/relay/status" => status(relay),
        _ => return Err(problem(ErrorCode::NotFound)),
    };
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Err(problem(ErrorCode::MethodNotAllowed));
    }
    let mut answer = answer::json("200 OK", &body);
    if request.method() == Method::Head {
        answer.truncate(answer.len() - body.len());
    }
    Err(answer)
}

/// Counts alone: the address is public.
fn status(relay: &Relay) -> String {
    let status = relay.status();
    format!(
        "{{\"version\":\"{}\",\"draining\":{},\"agents\":{},\"online\":{},\"sessions\":{},\"streams\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        status.is_draining,
        status.agents,
        status.online,
        status.sessions,
        status.streams
    )
}

/// Reads one head; false where the client left before it was whole.
async fn read_head(
    socket: &mut Socket,
    buffer: &mut Buffer,
    request: &mut RequestHead,
) -> Result<bool, ErrorCode> {
    let mut scanner = HeadScanner::default();
    loop {
        match poll_fn(|cx| socket.poll_read(cx, buffer)).await {
            Ok(0) | Err(_) => return Ok(false),
            Ok(_) => {}
        }
        match scanner.scan(buffer.filled(), HEAD_LIMITS.bytes).map_err(ScanError::code)? {
            None if buffer.room().is_empty() => return Err(ErrorCode::HeadersTooLarge),
            None => {}
            Some(length) => {
                request.parse(&buffer.filled()[..length], &HEAD_LIMITS).map_err(RequestError::code)?;
                buffer.consume(length);
                return Ok(true);
            }
        }
    }
}

/// Whether all was written.
async fn write_all(socket: &mut Socket, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match poll_fn(|cx| socket.poll_write(cx, bytes)).await {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return false,
        }
    }
    true
}

async fn write_and_close(socket: &mut Socket, bytes: &[u8]) {
    if write_all(socket, bytes).await {
        let _gone = poll_fn(|cx| socket.poll_shutdown(cx)).await;
    }
}
