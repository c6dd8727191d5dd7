use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::BindError;

fn listener(address: &str) -> UdpListener {
    UdpPending::bind(address.parse().unwrap(), 1).unwrap().listen()
}

fn client(address: &str) -> StdUdpSocket {
    let socket = StdUdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Receives until `count` slots are filled; loopback delivers within the sending call, so that nothing is waited for.
fn receive(socket: impl AsFd, count: usize) -> Batch {
    let mut batch = Batch::default();
    while batch.len() < count {
        batch.receive(&socket, BATCH).unwrap();
    }
    batch
}

fn send_one(socket: impl AsFd, datagram: Outgoing<'_>) -> io::Result<()> {
    let mut result = Ok(());
    send_all(socket, &[datagram], |_, error| result = Err(io::Error::from(error.kind())));
    result
}

fn outgoing(bytes: &[u8], to: Option<SocketAddr>) -> Outgoing<'_> {
    Outgoing { bytes, to, from: None, segment_bytes: None }
}

#[test]
fn a_port_that_another_socket_has_is_refused_though_workers_share_it() {
    // An address of its own, so that no test beside this one takes the port.
    let ours = UdpPending::bind("127.8.8.2:0".parse().unwrap(), 3).unwrap();
    let again = UdpPending::bind(ours.address(), 3);
    assert!(matches!(again, Err(BindError::UdpInUse { .. })), "{again:?}");
    let foreign = client("127.0.0.1:0");
    let taken = UdpPending::bind(foreign.local_addr().unwrap(), 2);
    assert!(matches!(taken, Err(BindError::UdpInUse { .. })), "{taken:?}");
    let address = ours.address();
    drop(ours);
    assert!(UdpPending::bind(address, 1).is_ok());
}

#[test]
fn one_client_always_comes_to_the_same_worker() {
    let listener = UdpPending::bind("127.0.0.1:0".parse().unwrap(), 4).unwrap().listen();
    let client = client("127.0.0.1:0");
    for _ in 0..8 {
        client.send_to(b"x", listener.address()).unwrap();
    }
    let mut batch = Batch::default();
    let counts: Vec<usize> =
        (0..4).map(|at| batch.receive(listener.socket(at).unwrap(), BATCH).unwrap_or(0)).collect();
    assert!(counts.contains(&8), "{counts:?}");
}

#[test]
fn datagrams_of_every_size_pass_both_ways() {
    let listener = listener("127.0.0.1:0");
    let (socket, client) = (listener.socket(0).unwrap(), client("127.0.0.1:0"));
    let peer = client.local_addr().unwrap();
    let mut buffer = vec![0; 70_000];
    for size in [0, 1, 64, 1_472, 1_473, 9_000, DATAGRAM_BYTES_MAX] {
        let sent: Vec<u8> = (0..size).map(|at| at as u8).collect();
        client.send_to(&sent, listener.address()).unwrap();
        let batch = receive(&socket, 1);
        let datagram = batch.datagram(0);
        assert_eq!((datagram.bytes, datagram.peer), (&sent[..], Some(peer)));
        assert_eq!((datagram.segment_bytes, datagram.count()), (None, 1));
        send_one(&socket, outgoing(datagram.bytes, datagram.peer)).unwrap();
        let (count, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (&sent[..], listener.address()));
    }
    let over = vec![0; DATAGRAM_BYTES_MAX + 1];
    assert!(send_one(&socket, outgoing(&over, Some(peer))).is_err());
}

#[test]
fn a_batch_takes_what_waits_and_no_more_than_it_has_room_for() {
    let listener = listener("127.0.0.1:0");
    let (socket, client) = (listener.socket(0).unwrap(), client("127.0.0.1:0"));
    for at in 0..40_u8 {
        client.send_to(&[at], listener.address()).unwrap();
    }
    let mut batch = Batch::default();
    assert_eq!(batch.receive(&socket, 5).unwrap(), 5);
    assert_eq!(batch.receive(&socket, BATCH).unwrap(), BATCH - 5);
    assert_eq!((batch.room(), batch.receive(&socket, BATCH).unwrap()), (0, 0));
    assert!((0..BATCH).all(|at| batch.datagram(at).bytes == [at as u8]));
    batch.clear();
    assert_eq!(batch.receive(&socket, BATCH).unwrap(), 8);
    assert_eq!(batch.receive(&socket, BATCH).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn answers_leave_from_the_address_that_the_client_used() {
    for (bind, used) in [("0.0.0.0:0", "127.0.0.77"), ("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let listener = listener(bind);
        let used = SocketAddr::new(used.parse().unwrap(), listener.address().port());
        let (socket, client) =
            (listener.socket(0).unwrap(), client(if used.is_ipv4() { "127.0.0.3:0" } else { "[::1]:0" }));
        client.send_to(b"question", used).unwrap();
        let batch = receive(&socket, 1);
        let datagram = batch.datagram(0);
        assert_eq!(datagram.local, Some(used.ip()));
        let answer =
            Outgoing { bytes: b"answer", to: datagram.peer, from: datagram.local, segment_bytes: None };
        send_one(&socket, answer).unwrap();
        let mut buffer = [0; 16];
        let (count, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (&b"answer"[..], used));
    }
}

#[test]
fn one_call_answers_many_clients_and_names_those_it_could_not() {
    let listener = listener("127.0.0.1:0");
    let socket = listener.socket(0).unwrap();
    let clients: Vec<StdUdpSocket> = (0..70).map(|_| client("127.0.0.1:0")).collect();
    let texts: Vec<String> = (0..70).map(|at| format!("for {at}")).collect();
    let long = vec![0; DATAGRAM_BYTES_MAX + 1];
    let datagrams: Vec<Outgoing<'_>> = clients
        .iter()
        .zip(&texts)
        .enumerate()
        .map(|(at, (client, text))| {
            let bytes = if at % 33 == 3 { &long[..] } else { text.as_bytes() };
            outgoing(bytes, Some(client.local_addr().unwrap()))
        })
        .collect();
    let mut failed = Vec::new();
    send_all(&socket, &datagrams, |at, _| failed.push(at));
    assert_eq!(failed, [3, 36, 69]);
    let mut buffer = [0; 16];
    for (at, client) in clients.iter().enumerate().filter(|(at, _)| at % 33 != 3) {
        let (count, _) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], texts[at].as_bytes());
    }
}

#[test]
fn joined_datagrams_are_sent_and_received_at_once_and_keep_their_bounds() {
    let listener = listener("127.0.0.1:0");
    let socket = connect_udp(listener.address()).unwrap();
    let bytes: Vec<u8> = (0..2_500_u32).map(|at| at as u8).collect();
    let joined = Outgoing { bytes: &bytes, to: None, from: None, segment_bytes: NonZeroU16::new(1_000) };
    send_one(&socket, joined).unwrap();
    let batch = receive(listener.socket(0).unwrap(), 1);
    let datagram = batch.datagram(0);
    assert_eq!(
        (datagram.bytes, datagram.segment_bytes, datagram.count()),
        (&bytes[..], joined.segment_bytes, 3)
    );

    let plain = client("127.0.0.1:0");
    let to_plain = Outgoing { to: Some(plain.local_addr().unwrap()), ..joined };
    send_one(listener.socket(0).unwrap(), to_plain).unwrap();
    let mut buffer = [0; 4_000];
    for expected in bytes.chunks(1_000) {
        let (count, _) = plain.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], expected);
    }
}

#[test]
fn joined_datagrams_too_many_for_the_kernel_go_singly() {
    let plain = client("127.0.0.1:0");
    let socket = connect_udp(plain.local_addr().unwrap()).unwrap();
    // 200 segments, where the kernel takes at most 64 or 128.
    let bytes: Vec<u8> = (0..400_u32).map(|at| at as u8).collect();
    let joined = Outgoing { bytes: &bytes, to: None, from: None, segment_bytes: NonZeroU16::new(2) };
    send_one(&socket, joined).unwrap();
    let mut buffer = [0; 16];
    for expected in bytes.chunks(2) {
        let (count, _) = plain.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], expected);
    }
}

#[test]
fn a_connected_socket_hears_of_a_refusal_and_of_nobody_else() {
    // An address of its own, so that no test beside this one takes the port.
    let free = client("127.8.8.1:0");
    let peer = free.local_addr().unwrap();
    let socket = connect_udp(peer).unwrap();
    let own: SocketAddr = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
    assert_eq!(own.ip(), "127.0.0.1".parse::<IpAddr>().unwrap());
    client("127.0.0.1:0").send_to(b"from a stranger", own).unwrap();
    let mut batch = Batch::default();
    assert_eq!(batch.receive_connected(&socket, 1).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(free);
    send_one(&socket, outgoing(b"x", None)).unwrap();
    assert_eq!(batch.receive_connected(&socket, 1).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(batch.is_empty());
}

#[test]
fn readiness_tells_who_may_be_read_and_forgets_what_is_closed() {
    let readiness = Readiness::new().unwrap();
    let listeners: Vec<UdpListener> = (0..5).map(|_| listener("127.0.0.1:0")).collect();
    let mut sockets: Vec<UdpSocket> = listeners.iter().map(|listener| listener.socket(0).unwrap()).collect();
    for (number, socket) in sockets.iter().enumerate() {
        readiness.watch(socket, number as u64 + 100).unwrap();
    }
    let ready = |max| {
        let mut numbers = Vec::new();
        readiness.ready(max, |Ready(number)| numbers.push(number)).unwrap();
        numbers
    };
    assert!(ready(EVENTS).is_empty());
    let sender = client("127.0.0.1:0");
    for at in [4, 1, 2] {
        sender.send_to(b"", listeners[at].address()).unwrap();
    }
    assert_eq!(ready(2), [104, 101]);
    assert_eq!(ready(EVENTS), [102, 104, 101], "those left out come first");
    receive(&sockets[1], 1);
    assert_eq!(ready(EVENTS), [102, 104]);
    // A listener keeps its own copy of the socket, so both are closed.
    drop((sockets.remove(4), listeners));
    assert_eq!(ready(EVENTS), [102]);
}
