use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use weir_net::{Relay as Join, RelayEnd, Socket, Spares};
use weir_telemetry::{Level, Log, Value};
use weir_wire::websocket;
use weir_wire::yamux::{Limits, Role, WindowBudget};

use super::connect::{ConnectError, connect};
use super::{AgentSettings, HEALTHY, PAUSE, PAUSE_MAX, Service};
use crate::session::{Session, Settings, TunnelStream};

/// Streams of a session at a time, and what its windows may take beyond 256 KiB each.
const LIMITS: Limits = Limits { streams_max: 0, accepted_max: 4_096, window_bytes_max: 64 << 20 };

/// How long connecting to the service may take.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps a session with the relay, for ever.
///
/// # Errors
///
/// [`ConnectError`] where the relay refuses for a reason that does not pass.
pub async fn run(settings: AgentSettings, log: Log) -> Result<std::convert::Infallible, ConnectError> {
    let settings = Arc::new(settings);
    let spares = Arc::new(Spares::default());
    let mut pause = PAUSE;
    loop {
        let begun = Instant::now();
        let wait = match session(&settings, &spares, &log).await {
            Ok(()) => None,
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                let fields = [("error", Value::Str(&error.to_string()))];
                log.event(Level::Warn, "relay_unreachable", &fields);
                error.retry_after()
            }
        };
        if begun.elapsed() >= HEALTHY {
            pause = PAUSE;
        }
        // Drawn from all of it, so that agents that were cut off together do not come back together.
        let drawn = wait.unwrap_or_default() + pause.mul_f64(fastrand::f64());
        tokio::time::sleep(drawn).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One session, from the dial to its end.
async fn session(settings: &Arc<AgentSettings>, spares: &Arc<Spares>, log: &Log) -> Result<(), ConnectError> {
    let (socket, ahead) = connect(&settings.relay, &settings.token, &spares.buffers).await?;
    log.event(Level::Info, "relay_connected", &[("relay", Value::Str(&settings.relay.to_string()))]);
    let (to, with) = (Arc::clone(settings), Arc::clone(spares));
    let accept =
        Box::new(move |stream| drop(tokio::spawn(serve(stream, Arc::clone(&to), Arc::clone(&with)))));
    let kept = Settings {
        websocket: websocket::Role::Client,
        yamux: Role::Server,
        limits: LIMITS,
        budget: Arc::new(WindowBudget::new(64 << 20)),
        heartbeat: Duration::from_secs(10),
        offline_after: Some(Duration::from_secs(30)),
        write_timeout: Duration::from_secs(10),
        keeps_streams: true,
    };
    let (_session, running) = Session::start(socket, &ahead, &kept, spares.buffers.clone(), accept);
    let end = running.await;
    let text = end.to_string();
    let fields = [("reason", Value::Str(end.as_str())), ("message", Value::Str(&text))];
    log.event(Level::Info, "relay_disconnected", &fields);
    Ok(())
}

/// Joins one stream to the service.
async fn serve(stream: TunnelStream, settings: Arc<AgentSettings>, spares: Arc<Spares>) {
    let mut stream = Socket::Stream(Box::new(stream));
    let dialled = tokio::time::timeout(SERVICE_TIMEOUT, dial(&settings.to)).await;
    let Ok(Ok(mut service)) = dialled else {
        // Nothing was read of it, which an abortion says.
        stream.reset_on_close();
        return;
    };
    let mut join = Join::default();
    let end = poll_fn(|cx| join.poll(cx, &mut stream, &mut service, &spares)).await;
    join.free(&spares);
    if !matches!(end, RelayEnd::Finished) {
        stream.reset_on_close();
        service.reset_on_close();
    }
}

async fn dial(to: &Service) -> io::Result<Socket> {
    match to {
        Service::Tcp(address) => Socket::connect_tcp(*address).await,
        Service::Unix(path) => Socket::connect_unix(path).await,
        Service::Name(name) => {
            let stream = TcpStream::connect(name).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
    }
}
