//! Both ends of TLS over a pair of sockets.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use weir_task::Deadline;

use super::accept::accept_with;
use super::*;
use crate::worker::tests::workers;
use crate::{Buffer, Relay, RelayEnd, Socket, Worker};

struct Certificates(Arc<CertifiedKey>);

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        served::put("the-one".into());
        Some(Arc::clone(&self.0))
    }
}

/// A server and a client that know each other.
struct Parties {
    server: Arc<rustls::ServerConfig>,
    client: ClientTls,
}

fn parties(version: &'static rustls::SupportedProtocolVersion) -> Parties {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["host.test".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain = vec![made.cert.der().clone()];
    let certified = CertifiedKey::from_der(chain.clone(), key, &provider).unwrap();
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates(Arc::new(certified))));
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Parties { server: Arc::new(server), client: ClientTls { config: Arc::new(client) } }
}

fn tls13() -> Parties {
    parties(&rustls::version::TLS13)
}

fn worker() -> Arc<Worker> {
    let [worker, _] = workers();
    let deadlines = Arc::clone(&worker.deadlines);
    tokio::spawn(async move { deadlines.run().await });
    worker
}

async fn serve(
    worker: &Worker,
    deadline: &Deadline,
    socket: UnixStream,
    parties: &Parties,
) -> Result<Socket, Refused> {
    let (incoming, config) = (Socket::Unix(socket).into(), Arc::clone(&parties.server));
    accept_with(worker, deadline, incoming, config, false, Duration::from_secs(10)).await
}

/// A server's and a client's end, their handshake done.
async fn shaken(parties: &Parties) -> (Socket, Socket) {
    let (near, far) = UnixStream::pair().unwrap();
    let worker = worker();
    let (here, there) = (worker.deadlines.deadline(), worker.deadlines.deadline());
    let limit = Duration::from_secs(10);
    let (server, client) = tokio::join!(
        serve(&worker, &here, near, parties),
        connect(&worker, &there, limit, Socket::Unix(far), &parties.client, "host.test".try_into().unwrap()),
    );
    (server.unwrap(), client.unwrap())
}

async fn write_all(socket: &mut Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| socket.poll_write(cx, bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

async fn read_to_end(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = Buffer::exact(&[0; 5000]);
    buffer.consume(5000);
    loop {
        let count = poll_fn(|cx| socket.poll_read(cx, &mut buffer)).await?;
        if count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(buffer.filled());
        buffer.consume(count);
    }
}

async fn shutdown(socket: &mut Socket) {
    poll_fn(|cx| socket.poll_shutdown(cx)).await.unwrap();
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn what_one_side_writes_the_other_reads_until_the_end_that_it_tells() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (mut server, mut client) = shaken(&parties(version)).await;
        let (up, down) = (pattern(3_000_000), pattern(1_000_003));
        let sending = {
            let up = up.clone();
            tokio::spawn(async move {
                write_all(&mut client, &up).await.unwrap();
                shutdown(&mut client).await;
                read_to_end(&mut client).await.unwrap()
            })
        };
        assert!(read_to_end(&mut server).await.unwrap() == up);
        write_all(&mut server, &down).await.unwrap();
        shutdown(&mut server).await;
        assert!(sending.await.unwrap() == down);
    }
}

#[tokio::test]
async fn the_facts_of_a_handshake_are_known_on_both_sides() {
    let parties = tls13();
    let (server, client) = shaken(&parties).await;
    let facts = server.tls().unwrap();
    assert_eq!((facts.version, facts.group), ("TLSv1.3", "X25519MLKEM768"));
    assert_eq!(facts.sni.as_deref(), Some("host.test"));
    assert_eq!(facts.certificate.as_deref(), Some("the-one"));
    assert_eq!(facts.cipher, "TLS_AES_256_GCM_SHA384");
    assert_eq!((server.alpn(), client.alpn()), (Some(Alpn::Http11), Some(Alpn::Http11)));
    assert!(!facts.resumed && !server.can_splice());
}

#[tokio::test]
async fn a_ticket_is_nothing_to_read_and_a_session_goes_on_with_it() {
    let parties = tls13();
    let (mut server, mut client) = shaken(&parties).await;
    // The tickets came behind the handshake.
    assert!(client.is_silent());
    assert_eq!(client.try_read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    write_all(&mut server, b"late").await.unwrap();
    assert!(!client.is_silent());
    let mut got = [0; 9];
    assert_eq!(client.try_read(&mut got).unwrap(), 4);
    drop((server, client));
    let (server, _client) = shaken(&parties).await;
    assert!(server.tls().unwrap().resumed);
    assert_eq!(server.tls().unwrap().certificate.as_deref(), Some("the-one"));
}

#[tokio::test]
async fn an_end_without_a_word_is_no_end() {
    let (mut server, mut client) = shaken(&tls13()).await;
    // Its tickets are read, so that the connection is not reset.
    assert!(client.is_silent());
    let Socket::Tls(mut client) = client else { panic!("it is TLS") };
    client.give_up();
    drop(client);
    let error = read_to_end(&mut server).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_stream_that_is_dropped_says_goodbye() {
    let (mut server, mut client) = shaken(&tls13()).await;
    write_all(&mut client, b"all").await.unwrap();
    drop(client);
    assert_eq!(read_to_end(&mut server).await.unwrap(), b"all");
}

#[tokio::test]
async fn a_write_that_waits_is_neither_lost_nor_sent_twice() {
    let (mut server, mut client) = shaken(&tls13()).await;
    let sent = pattern(6_000_000);
    let mut taken = 0;
    // Until the kernel takes no more.
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(count) = server.poll_write(&mut cx, &sent[taken..]) {
        taken += count.unwrap();
        assert!(!server.has_sent_part(), "what is over is no part");
    }
    assert!(server.has_sent_part(), "the kernel takes pieces of a write that does not fit");
    let rest = sent[taken..].to_vec();
    let writing = tokio::spawn(async move {
        write_all(&mut server, &rest).await.unwrap();
        shutdown(&mut server).await;
    });
    let got = read_to_end(&mut client).await.unwrap();
    writing.await.unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
}

#[tokio::test]
async fn pieces_go_out_as_one_record() {
    let (mut server, mut client) = shaken(&tls13()).await;
    let pieces = [io::IoSlice::new(b""), io::IoSlice::new(b"head "), io::IoSlice::new(b"body")];
    assert_eq!(poll_fn(|cx| server.poll_write_vectored(cx, &pieces)).await.unwrap(), 9);
    let mut buffer = Buffer::exact(&[0; 64]);
    buffer.consume(64);
    poll_fn(|cx| client.poll_read(cx, &mut buffer)).await.unwrap();
    assert_eq!(buffer.filled(), b"head body");
}

/// Our server, and a client whose records are at hand; its socket does not block.
async fn shaken_with_a_peer(parties: &Parties) -> (Socket, rustls::ClientConnection, StdStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let mut far = far.into_std().unwrap();
    far.set_nonblocking(false).unwrap();
    let name = "host.test".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::clone(&parties.client.config), name).unwrap();
    let peer = tokio::task::spawn_blocking(move || {
        client.complete_io(&mut far).unwrap();
        (client, far)
    });
    let worker = worker();
    let deadline = worker.deadlines.deadline();
    let server = serve(&worker, &deadline, near, parties).await.unwrap();
    let (client, far) = peer.await.unwrap();
    far.set_nonblocking(true).unwrap();
    (server, client, far)
}

/// The records of what a client says.
fn records(client: &mut rustls::ClientConnection, said: &[u8]) -> Vec<u8> {
    client.writer().write_all(said).unwrap();
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

/// Reads what is there, until there is an error or the end.
fn hear(client: &mut rustls::ClientConnection, far: &mut StdStream) -> Result<Vec<u8>, rustls::Error> {
    let mut heard = Vec::new();
    while client.read_tls(far).is_ok_and(|count| count > 0) {
        client.process_new_packets()?;
        let _would_block = client.reader().read_to_end(&mut heard);
    }
    Ok(heard)
}

async fn read_some(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut buffer = Buffer::exact(&[0; 20_000]);
    buffer.consume(20_000);
    poll_fn(|cx| socket.poll_read(cx, &mut buffer)).await?;
    Ok(buffer.filled().to_vec())
}

#[tokio::test]
async fn keys_are_renewed_where_the_peer_asks_for_it() {
    let (mut server, mut client, mut far) = shaken_with_a_peer(&tls13()).await;
    client.refresh_traffic_keys().unwrap();
    far.write_all(&records(&mut client, b"one")).unwrap();
    assert_eq!(read_some(&mut server).await.unwrap(), b"one");
    write_all(&mut server, b"two").await.unwrap();
    assert_eq!(hear(&mut client, &mut far).unwrap(), b"two");
}

#[tokio::test]
async fn a_broken_record_ends_the_stream_with_an_alert() {
    let (mut server, mut client, mut far) = shaken_with_a_peer(&tls13()).await;
    let mut broken = records(&mut client, b"whole");
    *broken.last_mut().unwrap() ^= 1;
    far.write_all(&broken).unwrap();
    assert_eq!(read_to_end(&mut server).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(write_all(&mut server, b"x").await.is_err());
    let heard = hear(&mut client, &mut far);
    let expected = rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac);
    assert_eq!(heard.unwrap_err(), expected);
}

/// Goal: what waits holds no memory but a record's beginning. Method: a record in two parts.
#[tokio::test]
async fn a_stream_that_waits_holds_no_more_than_what_has_come() {
    let (mut server, mut client, mut far) = shaken_with_a_peer(&tls13()).await;
    let held = |server: &Socket| {
        let Socket::Tls(tls) = server else { panic!("it is TLS") };
        tls.held()
    };
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(server.poll_readable(&mut cx).is_pending());
    assert_eq!(held(&server), 0);
    let said = pattern(1000);
    let record = records(&mut client, &said);
    far.write_all(&record[..300]).unwrap();
    tokio::task::yield_now().await;
    let pending = poll_fn(|cx| Poll::Ready(server.poll_readable(cx).is_pending())).await;
    assert!(pending && !server.is_silent());
    assert_eq!(held(&server), 300);
    far.write_all(&record[300..]).unwrap();
    assert_eq!(read_some(&mut server).await.unwrap(), said);
    let pending = poll_fn(|cx| Poll::Ready(server.poll_readable(cx).is_pending())).await;
    assert!(pending && server.is_silent());
    assert_eq!(held(&server), 0);
}

#[tokio::test]
async fn small_reads_take_a_record_apart() {
    let (mut server, mut client, mut far) = shaken_with_a_peer(&tls13()).await;
    let said = pattern(40_000);
    far.write_all(&records(&mut client, &said)).unwrap();
    client.send_close_notify();
    far.write_all(&records(&mut client, b"")).unwrap();
    assert!(read_to_end(&mut server).await.unwrap() == said);
}

#[tokio::test]
async fn a_relay_copies_where_one_end_is_tls_and_keeps_half_closes() {
    let (server, mut client) = shaken(&tls13()).await;
    let (mut upstream, upstream_side) = UnixStream::pair().unwrap();
    let spares = crate::Spares::default();
    let mut relay = Relay::new(spares.buffers.take(), spares.buffers.take());
    let running = tokio::spawn(async move {
        let (mut server, mut upstream_side) = (server, Socket::Unix(upstream_side));
        let end = poll_fn(|cx| relay.poll(cx, &mut server, &mut upstream_side, &spares)).await;
        relay.free(&spares);
        end
    });
    let (up, down) = (pattern(2_000_000), pattern(700_000));
    let client = {
        let up = up.clone();
        tokio::spawn(async move {
            write_all(&mut client, &up).await.unwrap();
            shutdown(&mut client).await;
            read_to_end(&mut client).await.unwrap()
        })
    };
    let mut got = Vec::new();
    upstream.read_to_end(&mut got).await.unwrap();
    assert!(got == up);
    upstream.write_all(&down).await.unwrap();
    drop(upstream);
    assert!(client.await.unwrap() == down);
    assert!(matches!(running.await.unwrap(), RelayEnd::Finished));
}

/// What came of a client that says this and no more; the deadline is virtual.
async fn refused(said: &[u8], parties: &Parties) -> TlsFailure {
    let (near, mut far) = UnixStream::pair().unwrap();
    let worker = worker();
    let deadline = worker.deadlines.deadline();
    far.write_all(said).await.unwrap();
    let failure = serve(&worker, &deadline, near, parties).await.unwrap_err().failure;
    assert_eq!(worker.shared.stats.tls.failures(failure.reason()), 1);
    assert_eq!(worker.shared.stats.tls.handshakes.open(), 0);
    failure
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart() {
    assert_eq!(refused(b"GET / HTTP/1.1\r\n\r\n", &tls13()).await.reason(), FailureReason::PlainHttp);
    assert_eq!(refused(b"SSH-2.0-x\r\n", &tls13()).await.reason(), FailureReason::NotTls);
}

#[tokio::test(start_paused = true)]
async fn a_hello_must_be_whole_in_time_and_within_its_bytes() {
    // A hello of 60,000 bytes by its own account, in records of 16 KiB.
    let mut long = vec![22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60, 3, 3];
    long.resize(5 + 0x4000, 0);
    let second = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    long.extend_from_slice(&second);
    assert_eq!(refused(&long, &tls13()).await.reason(), FailureReason::TooLong);
    assert_eq!(
        refused(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], &tls13()).await.reason(),
        FailureReason::Timeout
    );
    assert_eq!(refused(b"", &tls13()).await.reason(), FailureReason::Timeout);
}

#[tokio::test]
async fn the_oldest_handshake_gives_way() {
    let parties = tls13();
    let worker = worker();
    worker.shared.stats.tls.handshakes.set_max(1);
    let (first, _first) = UnixStream::pair().unwrap();
    let (second, _second) = UnixStream::pair().unwrap();
    let deadlines = [worker.deadlines.deadline(), worker.deadlines.deadline()];
    let mut older = Box::pin(serve(&worker, &deadlines[0], first, &parties));
    let mut newer = Box::pin(serve(&worker, &deadlines[1], second, &parties));
    poll_fn(|cx| {
        assert!(older.as_mut().poll(cx).is_pending() && newer.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(older.await.unwrap_err().failure.reason(), FailureReason::GivenUp);
    drop(newer);
    assert_eq!(worker.shared.stats.tls.handshakes.open(), 0);
}

#[tokio::test]
async fn versions_that_do_not_meet_are_told_apart_from_other_failures() {
    let (old, new) = (parties(&rustls::version::TLS12), tls13());
    let (near, far) = UnixStream::pair().unwrap();
    let worker = worker();
    let (here, there) = (worker.deadlines.deadline(), worker.deadlines.deadline());
    let limit = Duration::from_secs(10);
    let name = "host.test".try_into().unwrap();
    let (server, client) = tokio::join!(
        serve(&worker, &here, near, &new),
        connect(&worker, &there, limit, Socket::Unix(far), &old.client, name),
    );
    assert_eq!(server.unwrap_err().failure.reason(), FailureReason::Version);
    assert!(matches!(client, Err(TlsFailure::Protocol(rustls::Error::AlertReceived(_)))));
}
