use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use weir_net::tls::Digest;
use weir_net::{Buffer, Buffers, Socket, StreamFault, TunnelRefusal, Tunnels as _};
use weir_telemetry::Log;

use super::*;
use crate::agent::{AgentSettings, Service, run};

/// A relay at an address of its own, with an agent `office` whose token is `secret`.
async fn relay(on_duplicate: OnDuplicate) -> (Arc<Relay>, SocketAddr) {
    let relay = Relay::new();
    let office = AgentPlan { name: "office".into(), token: Digest::of(&[b"secret"]), on_duplicate };
    relay.configure(&RelayPlan { agents: vec![office], ..RelayPlan::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let place = Place { buffers: Buffers::default(), log: Log::discard() };
    let serving = Arc::clone(&relay);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            tokio::spawn(serve(Socket::Tcp(stream), Some(peer), place.clone(), Arc::clone(&serving)));
        }
    });
    (relay, address)
}

/// A service that says back what it is told, and ends when told to.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

fn agent(relay: SocketAddr, token: &str, to: SocketAddr) -> AgentSettings {
    let relay = format!("ws://{relay}").parse().unwrap();
    AgentSettings { relay, token: token.to_owned(), to: Service::Tcp(to) }
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn round(relay: &Relay, text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = Socket::Stream(relay.open("office").unwrap());
    let mut rest = text;
    while !rest.is_empty() {
        let count = std::future::poll_fn(|cx| stream.poll_write(cx, rest)).await?;
        rest = &rest[count..];
    }
    std::future::poll_fn(|cx| stream.poll_shutdown(cx)).await?;
    let mut got = Vec::new();
    let mut buffer: Buffer = Buffers::default().take();
    while std::future::poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await? > 0 {
        got.extend_from_slice(buffer.filled());
        let count = buffer.filled().len();
        buffer.consume(count);
    }
    Ok(got)
}

#[tokio::test]
async fn a_stream_opened_at_the_relay_reaches_the_agents_service() {
    let (relay, address) = relay(OnDuplicate::Replace).await;
    assert_eq!(relay.open("nobody").unwrap_err(), TunnelRefusal::Unknown);
    assert_eq!(relay.open("office").unwrap_err(), TunnelRefusal::Offline);
    let running = tokio::spawn(run(agent(address, "secret", echo().await), Log::discard()));
    until(|| relay.status().online == 1).await;
    let text: Vec<u8> = (0..100_000).map(|i| i as u8).collect();
    assert!(round(&relay, &text).await.unwrap() == text);
    running.abort();
    until(|| relay.status().online == 0).await;
    assert_eq!(relay.open("office").unwrap_err(), TunnelRefusal::Offline);
}

#[tokio::test]
async fn a_service_that_is_down_refuses_the_stream() {
    let (relay, address) = relay(OnDuplicate::Replace).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let _running = tokio::spawn(run(agent(address, "secret", closed), Log::discard()));
    until(|| relay.status().online == 1).await;
    let error = round(&relay, b"anyone?").await.unwrap_err();
    assert_eq!(StreamFault::of(&error), Some(StreamFault::Reset));
}

#[tokio::test]
async fn who_brings_no_good_token_is_refused_and_does_not_ask_again() {
    let (relay, address) = relay(OnDuplicate::Replace).await;
    let error = run(agent(address, "guessed", address), Log::discard()).await.unwrap_err();
    assert!(error.is_fatal());
    assert_eq!(error.to_string(), "the relay refused the agent: 401 unauthorized");
    assert_eq!(relay.status().sessions, 0);
}

/// An agent that shakes hands and then listens.
async fn silent(relay: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(relay).await.unwrap();
    let request = "GET /tunnel/connect HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\
         Authorization: bearer secret\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    stream
}

#[tokio::test]
async fn a_second_session_takes_over() {
    let (relay, address) = relay(OnDuplicate::Replace).await;
    let mut first = silent(address).await;
    until(|| relay.status().sessions == 1).await;
    let running = tokio::spawn(run(agent(address, "secret", echo().await), Log::discard()));
    let mut said = Vec::new();
    first.read_to_end(&mut said).await.unwrap();
    assert!(said.ends_with(&[&[0x88, 10][..], &4001_u16.to_be_bytes(), b"replaced"].concat()));
    assert_eq!(round(&relay, b"hello").await.unwrap(), b"hello");
    running.abort();
}

#[tokio::test]
async fn a_second_session_joins_or_is_refused() {
    let (pool, address) = relay(OnDuplicate::Pool).await;
    let _agents = (silent(address).await, silent(address).await);
    until(|| pool.status().sessions == 2).await;
    assert_eq!(pool.status().online, 1);
    let (_relay, address) = relay(OnDuplicate::Reject).await;
    let _first = silent(address).await;
    let error = run(agent(address, "secret", address), Log::discard()).await.unwrap_err();
    assert_eq!(error.to_string(), "the relay refused the agent: 409 agent-connected");
}

#[tokio::test]
async fn a_token_that_is_taken_away_ends_the_session() {
    let (relay, address) = relay(OnDuplicate::Replace).await;
    let running = tokio::spawn(run(agent(address, "secret", echo().await), Log::discard()));
    until(|| relay.status().online == 1).await;
    relay.configure(&RelayPlan::default());
    assert_eq!(relay.open("office").unwrap_err(), TunnelRefusal::Unknown);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.is_fatal());
}

#[tokio::test]
async fn the_public_address_tells_counts_and_no_secrets() {
    let (relay, address) = relay(OnDuplicate::Replace).await;
    let health = ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"), "{health}");
    assert!(health.ends_with("\r\n\r\n{\"status\":\"ok\"}\n"), "{health}");
    let status = ask(address, "GET /relay/status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(status.contains("\"draining\":false,\"agents\":1,\"online\":0"), "{status}");
    let unknown = ask(address, "GET /office HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    let plain = ask(address, "GET /tunnel/connect HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 426 "), "{plain}");
    relay.drain();
    let drained = ask(address, "GET /tunnel/connect HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(drained.starts_with("HTTP/1.1 503 ") && drained.contains("\r\nretry-after: "), "{drained}");
}
