use std::future::poll_fn;
use std::io;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weir_net::{ByteStream, StreamFault};
use weir_wire::yamux::Limits;

use super::*;

const LIMITS: Limits = Limits { streams_max: 2_000, accepted_max: 2_000, window_bytes_max: 16 << 20 };

fn settings(websocket: websocket::Role, yamux: yamux::Role) -> Settings {
    Settings {
        websocket,
        yamux,
        limits: LIMITS,
        budget: Arc::new(WindowBudget::new(64 << 20)),
        heartbeat: Duration::from_secs(10),
        offline_after: Some(Duration::from_secs(30)),
        write_timeout: Duration::from_secs(10),
        keeps_streams: true,
    }
}

async fn sockets() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Socket::Tcp(client.unwrap()), Socket::Tcp(server.unwrap().0))
}

struct End {
    session: Session,
    accepted: mpsc::UnboundedReceiver<TunnelStream>,
    task: JoinHandle<SessionEnd>,
}

fn start(socket: Socket, settings: &Settings) -> End {
    let (sender, accepted) = mpsc::unbounded_channel();
    let accept = Box::new(move |stream| drop(sender.send(stream)));
    let (session, task) = Session::start(socket, &[], settings, Buffers::default(), accept);
    End { session, accepted, task: tokio::spawn(task) }
}

/// The relay, which opens streams, and the agent.
async fn pair() -> (End, End) {
    let (agent, relay) = sockets().await;
    (
        start(relay, &settings(websocket::Role::Server, yamux::Role::Client)),
        start(agent, &settings(websocket::Role::Client, yamux::Role::Server)),
    )
}

async fn write_all(stream: &mut TunnelStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

async fn read_to_end(stream: &mut TunnelStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut room = vec![0; 16 << 10];
    loop {
        match poll_fn(|cx| stream.poll_read(cx, &mut room)).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&room[..count]),
        }
    }
}

async fn shutdown(stream: &mut TunnelStream) {
    poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + seed) as u8).collect()
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_each_end_by_itself() {
    let (relay, mut agent) = pair().await;
    let mut out = relay.session.open().unwrap();
    let request = bytes(3_000_000, 1);
    let (_, ()) = tokio::join!(
        async {
            write_all(&mut out, &request).await.unwrap();
            shutdown(&mut out).await;
        },
        async {
            let mut stream = agent.accepted.recv().await.unwrap();
            assert!(read_to_end(&mut stream).await.unwrap() == request);
            write_all(&mut stream, &bytes(200_000, 2)).await.unwrap();
        }
    );
    assert!(read_to_end(&mut out).await.unwrap() == bytes(200_000, 2));
    drop(out);
    while relay.session.streams() + agent.session.streams() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(relay.session.round_trip().is_some());
}

#[tokio::test]
async fn a_thousand_streams_pass_beside_one_that_nobody_reads() {
    let (relay, mut agent) = pair().await;
    let mut stalled = relay.session.open().unwrap();
    let _unread = agent.accepted.recv().await.unwrap();
    let blocked = tokio::spawn(async move { write_all(&mut stalled, &bytes(1_000_000, 0)).await });
    let serving = tokio::spawn(async move {
        while let Some(mut stream) = agent.accepted.recv().await {
            tokio::spawn(async move {
                let got = read_to_end(&mut stream).await.unwrap();
                write_all(&mut stream, &got).await.unwrap();
            });
        }
    });
    let mut clients = tokio::task::JoinSet::new();
    for seed in 0..1_000 {
        let mut stream = relay.session.open().unwrap();
        clients.spawn(async move {
            let sent = bytes(5_000, seed);
            write_all(&mut stream, &sent).await.unwrap();
            shutdown(&mut stream).await;
            assert!(read_to_end(&mut stream).await.unwrap() == sent);
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert!(!blocked.is_finished());
    blocked.abort();
    serving.abort();
}

#[tokio::test]
async fn an_abortion_is_told_from_an_end() {
    let (relay, mut agent) = pair().await;
    let mut out = relay.session.open().unwrap();
    let mut stream = agent.accepted.recv().await.unwrap();
    write_all(&mut stream, b"the beginning").await.unwrap();
    let mut room = [0; 64];
    assert_eq!(poll_fn(|cx| out.poll_read(cx, &mut room)).await.unwrap(), 13);
    stream.reset_on_close();
    drop(stream);
    let error = read_to_end(&mut out).await.unwrap_err();
    assert_eq!(StreamFault::of(&error), Some(StreamFault::Reset));
    assert!(write_all(&mut out, b"x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up_after_thirty_seconds() {
    let (agent, relay) = sockets().await;
    let relay = start(relay, &settings(websocket::Role::Server, yamux::Role::Client));
    let mut stream = relay.session.open().unwrap();
    let begun = tokio::time::Instant::now();
    assert!(matches!(relay.task.await.unwrap(), SessionEnd::Silent));
    assert_eq!(begun.elapsed().as_secs(), 30);
    let error = read_to_end(&mut stream).await.unwrap_err();
    assert_eq!(StreamFault::of(&error), Some(StreamFault::Lost));
    assert_eq!(relay.session.open().unwrap_err(), OpenRefusal::Ending);
    drop(agent);
}

#[tokio::test]
async fn a_session_that_leaves_lets_its_streams_finish() {
    let (relay, mut agent) = pair().await;
    let mut out = relay.session.open().unwrap();
    let mut stream = agent.accepted.recv().await.unwrap();
    relay.session.leave(SessionEnd::Draining, Duration::from_secs(60));
    assert_eq!(relay.session.open().unwrap_err(), OpenRefusal::Ending);
    write_all(&mut stream, b"the answer").await.unwrap();
    drop(stream);
    assert_eq!(read_to_end(&mut out).await.unwrap(), b"the answer");
    drop(out);
    assert!(matches!(relay.task.await.unwrap(), SessionEnd::Draining));
    assert!(matches!(agent.task.await.unwrap(), SessionEnd::PeerClosed));
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_session_lives() {
    let (agent, relay) = sockets().await;
    let relay = start(relay, &settings(websocket::Role::Server, yamux::Role::Client));
    let mut few = settings(websocket::Role::Client, yamux::Role::Server);
    few.limits.accepted_max = 1;
    let mut agent = start(agent, &few);
    let mut first = relay.session.open().unwrap();
    let mut taken = agent.accepted.recv().await.unwrap();
    let mut second = relay.session.open().unwrap();
    let error = read_to_end(&mut second).await.unwrap_err();
    assert_eq!(StreamFault::of(&error), Some(StreamFault::Refused));
    write_all(&mut taken, b"still here").await.unwrap();
    drop(taken);
    assert_eq!(read_to_end(&mut first).await.unwrap(), b"still here");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_answered_with_its_code() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (agent, relay) = sockets().await;
    let relay = start(relay, &settings(websocket::Role::Server, yamux::Role::Client));
    let Socket::Tcp(mut agent) = agent else { panic!("it is TCP") };
    // A text message.
    agent.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    assert!(matches!(relay.task.await.unwrap(), SessionEnd::WebSocket(_)));
    let mut said = Vec::new();
    agent.read_to_end(&mut said).await.unwrap();
    let close = &said[said.len() - 12..];
    assert_eq!(close, [&[0x88, 10][..], &1003_u16.to_be_bytes(), b"protocol"].concat());
}
