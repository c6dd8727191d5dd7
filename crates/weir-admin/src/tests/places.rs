//! More connections than there are places for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Running, read_reply};
use crate::{CONNECTIONS_MAX, CONNECTIONS_PER_SOURCE_MAX};

const GOOD: &[u8] = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn served(mut stream: TcpStream) -> TcpStream {
    stream.write_all(GOOD).await.unwrap();
    let reply = timeout(Duration::from_secs(1), read_reply(&mut stream, &mut Vec::new(), true)).await;
    assert_eq!(reply.expect("an answer within a second").expect("an answer").status, 200);
    stream
}

/// Goal: who asks is answered at once, whatever others hold open. Method: each way of being unfinished, from the same
/// address as the asker, and from so many addresses that their places are all there are.
#[tokio::test]
async fn connections_that_wait_keep_nobody_out() {
    let halves: [&[u8]; 5] = [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nHo",
        b"POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        b"POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ];
    for sources in [1..=1, 2..=9] {
        let running = Running::example();
        let mut held = Vec::new();
        for number in 0..4 * CONNECTIONS_MAX {
            let sources: Vec<u8> = sources.clone().collect();
            let mut stream = connect_from(sources[number % sources.len()], running.addr()).await;
            // Fails where it has been cut already.
            let _cut = stream.write_all(halves[number % halves.len()]).await;
            held.push(stream);
            if number % 16 == 0 {
                served(running.connect().await).await;
            }
        }
        served(running.connect().await).await;
        let stats = running.server.stats();
        assert!(stats.connections_cut.get() >= 2 * CONNECTIONS_MAX as u64, "{stats:?}");
        assert_eq!(stats.connections_refused.get(), 0);
    }
}

#[tokio::test]
async fn one_more_from_a_source_at_its_limit_costs_its_oldest() {
    let running = Running::example();
    let mut other = served(connect_from(2, running.addr()).await).await;
    let mut own = Vec::new();
    for _ in 0..=CONNECTIONS_PER_SOURCE_MAX {
        own.push(served(running.connect().await).await);
    }
    assert_eq!(own[0].read(&mut [0; 1]).await.unwrap_or(0), 0, "the first was not cut");
    for stream in own.drain(1..) {
        served(stream).await;
    }
    other = served(other).await;
    drop(other);
}

#[tokio::test]
async fn a_unix_sockets_peers_are_one_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let bind = weir_net::BindAddress::Unix(path.clone());
    let guard = crate::Guard::new(&[], None);
    let server =
        crate::Server::start(&bind, 0o600, guard, std::sync::Arc::new(super::Example::default())).unwrap();
    let mut held = Vec::new();
    for _ in 0..3 * CONNECTIONS_MAX {
        held.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    let mut asking = tokio::net::UnixStream::connect(&path).await.unwrap();
    asking.write_all(GOOD).await.unwrap();
    let reply = timeout(Duration::from_secs(1), read_reply(&mut asking, &mut Vec::new(), true)).await;
    assert_eq!(reply.unwrap().unwrap().status, 200);
    let open = server.stats().connections.get();
    assert!(open <= CONNECTIONS_PER_SOURCE_MAX as i64, "{open}");
}
