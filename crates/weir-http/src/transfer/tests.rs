use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;

use http::{HeaderValue, Request, Response};
use tokio::net::UnixStream;
use weir_net::Socket;

/// Both ends of a stream: one for the transfer, one for a thread.
fn stream() -> (Socket, StdStream) {
    let (ours, theirs) = StdStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Socket::Unix(UnixStream::from_std(ours).unwrap()), theirs)
}

/// Goal: two fast ends keep nobody else of the worker waiting. Method: threads that write and read without a pause,
/// and the bytes that each look has moved.
#[tokio::test]
async fn one_look_moves_no_more_than_its_turn() {
    const BYTES: u64 = 64 << 20;
    let ((from, mut source), (to, mut sink)) = (stream(), stream());
    let writer = std::thread::spawn(move || {
        let piece = vec![7; 1 << 20];
        (0..BYTES >> 20).try_for_each(|_| source.write_all(&piece))
    });
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0; 1 << 20];
        let mut read = 0;
        while let Ok(count @ 1..) = sink.read(&mut piece) {
            read += count as u64;
        }
        read
    });
    let (mut from, mut to) = (Wire::H1(Io::new(from)), Wire::H1(Io::new(to)));
    let spares = Spares::default();
    let mut transfer = Transfer::new(Body::Length(BYTES), &from, Sink::Raw, Instant::now());
    let mut longest = 0;
    std::future::poll_fn(|cx| {
        let before = transfer.bytes;
        let polled = transfer.poll(cx, &mut from, &mut to, &spares, &mut ());
        longest = longest.max(transfer.bytes - before);
        polled
    })
    .await
    .unwrap();
    drop(to);
    writer.join().unwrap().unwrap();
    assert_eq!(reader.join().unwrap(), BYTES);
    assert!(longest < TURN_BYTES + (2 << 20), "{longest} bytes in one turn");
}

/// The bytes of a body that are to be written again.
#[derive(Default)]
struct Seen(Vec<u8>);

impl Tap for Seen {
    fn took(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn lets_pass(&mut self, _: u64) -> bool {
        false
    }
}

/// A wire whose other end has written these bytes and ended, and one whose other end keeps what it gets.
fn h1_from(bytes: &[u8]) -> Wire {
    let (from, mut source) = stream();
    source.write_all(bytes).unwrap();
    Wire::H1(Io::new(from))
}

fn h1_to() -> (Wire, StdStream) {
    let (to, sink) = stream();
    (Wire::H1(Io::new(to)), sink)
}

fn read_all(to: Wire, mut sink: StdStream) -> String {
    drop(to);
    let mut got = String::new();
    sink.read_to_string(&mut got).unwrap();
    got
}

/// Both sides of one stream of HTTP/2 whose request has this declared length and a body. The tasks that drive the
/// connection run beside the test.
async fn h2_stream(length: Option<&'static str>) -> (H2Stream, H2Stream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(ours).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        H2Stream::accepted(request.into_body(), respond)
    });
    let (client, connection) = h2::client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post("http://a/").body(()).unwrap();
    if let Some(length) = length {
        request.headers_mut().insert("content-length", HeaderValue::from_static(length));
    }
    let (answer, body) = client.ready().await.unwrap().send_request(request, false).unwrap();
    (server.await.unwrap(), H2Stream::requested(answer, body, false, std::sync::Arc::default()))
}

async fn moved(
    transfer: &mut Transfer,
    from: &mut Wire,
    to: &mut Wire,
    tap: &mut impl Tap,
) -> Result<(), TransferError> {
    let spares = Spares::default();
    std::future::poll_fn(|cx| transfer.poll(cx, from, to, &spares, tap)).await
}

#[tokio::test]
async fn frames_without_a_length_become_chunks_with_trailers() {
    let (server, mut client) = h2_stream(None).await;
    let mut trailers = Head::default();
    trailers.append(b"x-sum", b"1");
    trailers.append(b"content-length", b"9");
    std::future::poll_fn(|cx| client.poll_write(cx, b"hello", false)).await.unwrap();
    client.end(&trailers).unwrap();
    let mut from = Wire::H2(Box::new(server));
    let (mut to, sink) = h1_to();
    let mut transfer = Transfer::new(Body::Chunked, &from, Sink::Chunked, Instant::now());
    let mut seen = Seen::default();
    moved(&mut transfer, &mut from, &mut to, &mut seen).await.unwrap();
    assert_eq!(read_all(to, sink), "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(seen.0, b"hello");
}

#[tokio::test]
async fn frames_of_a_declared_length_are_written_as_they_are() {
    let (server, mut client) = h2_stream(Some("5")).await;
    std::future::poll_fn(|cx| client.poll_write(cx, b"hello", true)).await.unwrap();
    let mut from = Wire::H2(Box::new(server));
    let (mut to, sink) = h1_to();
    let mut transfer = Transfer::new(Body::Length(5), &from, Sink::Raw, Instant::now());
    moved(&mut transfer, &mut from, &mut to, &mut ()).await.unwrap();
    assert_eq!(read_all(to, sink), "hello");
}

#[tokio::test]
async fn data_that_is_not_as_long_as_declared_is_never_the_whole() {
    for (sent, last) in [("hell", true), ("hello!", false)] {
        let (server, mut client) = h2_stream(None).await;
        std::future::poll_fn(|cx| client.poll_write(cx, sent.as_bytes(), last)).await.unwrap();
        let mut from = Wire::H2(Box::new(server));
        let (mut to, _sink) = h1_to();
        let mut transfer = Transfer::new(Body::Length(5), &from, Sink::Raw, Instant::now());
        let result = moved(&mut transfer, &mut from, &mut to, &mut ()).await;
        assert!(matches!(result, Err(TransferError::SourceDisagrees)), "{sent}: {result:?}");
        assert!(!transfer.is_finished());
    }
}

#[tokio::test]
async fn a_reset_by_the_peer_is_no_end() {
    let (server, mut client) = h2_stream(None).await;
    client.reset(h2::Reason::CANCEL);
    let mut from = Wire::H2(Box::new(server));
    let (mut to, _sink) = h1_to();
    let mut transfer = Transfer::new(Body::Chunked, &from, Sink::Chunked, Instant::now());
    let result = moved(&mut transfer, &mut from, &mut to, &mut ()).await;
    assert!(matches!(result, Err(TransferError::SourceFailed(_))), "{result:?}");
}

/// What the client gets of an answer: its data, and its trailers if there are any.
async fn answer(mut client: H2Stream) -> (Vec<u8>, Head) {
    let head = std::future::poll_fn(|cx| client.poll_head(cx)).await.unwrap();
    assert_eq!(head.status(), 200);
    let mut data = Vec::new();
    while std::future::poll_fn(|cx| client.poll_fill(cx)).await.unwrap() > 0 {
        data.extend_from_slice(client.filled());
        client.consume(client.filled().len());
    }
    let mut trailers = Head::default();
    client.take_trailers(&mut trailers).unwrap();
    (data, trailers)
}

#[tokio::test]
async fn chunks_become_frames_with_trailers_and_lengths_end_with_their_last_byte() {
    let cases: [(&str, Body, &[u8], usize); 3] = [
        ("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", Body::Chunked, b"hello", 1),
        ("5\r\nhello\r\n0\r\n\r\n", Body::Chunked, b"hello", 0),
        ("hello", Body::Length(5), b"hello", 0),
    ];
    for (sent, body, data, trailers) in cases {
        let (mut server, client) = h2_stream(None).await;
        server.send_head(Response::new(()), false).unwrap();
        let (mut from, mut to) = (h1_from(sent.as_bytes()), Wire::H2(Box::new(server)));
        let mut transfer = Transfer::new(body, &from, Sink::Frames, Instant::now());
        moved(&mut transfer, &mut from, &mut to, &mut ()).await.unwrap();
        assert!(transfer.is_finished());
        let (got, got_trailers) = answer(client).await;
        assert_eq!((&got[..], got_trailers.len()), (data, trailers), "{sent:?}");
    }
}

#[tokio::test]
async fn a_stream_whose_peer_takes_nothing_holds_its_source() {
    const BYTES: usize = 1 << 20;
    /// That every stream begins with.
    const WINDOW: u64 = 65_535;
    let (mut server, client) = h2_stream(None).await;
    server.send_head(Response::new(()), false).unwrap();
    let (from, mut source) = stream();
    let writer = std::thread::spawn(move || source.write_all(&vec![7; BYTES]));
    let (mut from, mut to) = (Wire::H1(Io::new(from)), Wire::H2(Box::new(server)));
    let mut transfer = Transfer::new(Body::Length(BYTES as u64), &from, Sink::Frames, Instant::now());
    let spares = Spares::default();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut looks_when_full = 0;
    while looks_when_full < 100 {
        tokio::task::yield_now().await;
        assert!(transfer.poll(&mut cx, &mut from, &mut to, &spares, &mut ()).is_pending());
        looks_when_full += usize::from(transfer.bytes >= WINDOW);
    }
    assert_eq!(transfer.bytes, WINDOW);
    let reading = tokio::spawn(answer(client));
    moved(&mut transfer, &mut from, &mut to, &mut ()).await.unwrap();
    assert_eq!(reading.await.unwrap().0.len(), BYTES);
    writer.join().unwrap().unwrap();
}

#[test]
fn what_was_taken_is_written_again_in_the_form_of_the_new_sink() {
    let spares = Spares::default();
    let again = |sink, finished: bool| {
        let mut transfer = Transfer::none(Instant::now());
        if !finished {
            transfer.source = Source::UntilClose;
        }
        let mut out = Vec::new();
        transfer.aim(sink, b"hello", &mut out, &spares);
        (String::from_utf8(out).unwrap(), transfer.ends_with_replay())
    };
    assert_eq!(again(Sink::Raw, true), ("hello".to_owned(), false));
    assert_eq!(again(Sink::Frames, true), ("hello".to_owned(), true));
    assert_eq!(again(Sink::Frames, false), ("hello".to_owned(), false));
    assert_eq!(again(Sink::Chunked, true), ("5\r\nhello\r\n0\r\n\r\n".to_owned(), false));
    assert_eq!(again(Sink::Chunked, false), ("5\r\nhello\r\n".to_owned(), false));
}

/// Writes each byte `times` times, keeps the last one back, and tells its end in a trailer.
struct Stretch {
    times: usize,
    kept: Option<u8>,
}

impl Stretch {
    fn by(times: usize) -> Option<Box<dyn BodyFilter>> {
        Some(Box::new(Self { times, kept: None }))
    }
}

impl BodyFilter for Stretch {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        for byte in bytes {
            if *byte == b'!' {
                return Err(FilterError("a shriek".into()));
            }
            if let Some(kept) = self.kept.replace(*byte) {
                out.extend(std::iter::repeat_n(kept, self.times));
            }
        }
        Ok(())
    }

    fn pause(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        if let Some(kept) = self.kept.take() {
            out.extend(std::iter::repeat_n(kept, self.times));
        }
        Ok(())
    }

    fn end(&mut self, trailers: &mut Head, out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.pause(out)?;
        trailers.append(b"x-end", b"1");
        Ok(())
    }
}

#[tokio::test]
async fn a_filtered_body_is_written_whole_with_what_the_filter_makes_of_its_trailers() {
    for (body, framed) in
        [(Body::Length(3), &b"abc"[..]), (Body::Chunked, b"2\r\nab\r\n1\r\nc\r\n0\r\nx-a: 1\r\n\r\n")]
    {
        let mut from = h1_from(framed);
        let (mut to, sink) = h1_to();
        let mut transfer = Transfer::new(body, &from, Sink::Chunked, Instant::now());
        transfer.filter_by(Stretch::by(2));
        let mut seen = Seen::default();
        moved(&mut transfer, &mut from, &mut to, &mut seen).await.unwrap();
        let trailers = if body == Body::Chunked { "x-a: 1\r\nx-end: 1" } else { "x-end: 1" };
        assert_eq!(read_all(to, sink), format!("6\r\naabbcc\r\n0\r\n{trailers}\r\n\r\n"));
        assert_eq!((&seen.0[..], transfer.bytes, transfer.bytes_passed()), (&b"aabbcc"[..], 3, 6));
        assert!(transfer.is_finished());
    }
}

#[tokio::test]
async fn a_filter_may_make_much_of_little() {
    let mut from = h1_from(b"abc");
    let (mut to, mut sink) = h1_to();
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        sink.read_to_end(&mut got).map(|_| got)
    });
    let mut transfer = Transfer::new(Body::UntilClose, &from, Sink::Raw, Instant::now());
    transfer.filter_by(Stretch::by(100_000));
    moved(&mut transfer, &mut from, &mut to, &mut ()).await.unwrap();
    drop(to);
    let got = reader.join().unwrap().unwrap();
    assert_eq!(got, [[b'a'; 100_000], [b'b'; 100_000], [b'c'; 100_000]].concat());
}

#[tokio::test]
async fn what_a_filter_keeps_is_written_when_the_source_pauses() {
    let (from, mut source) = stream();
    let (mut from, (mut to, mut sink)) = (Wire::H1(Io::new(from)), h1_to());
    let mut transfer = Transfer::new(Body::Length(9), &from, Sink::Chunked, Instant::now());
    transfer.filter_by(Stretch::by(1));
    let spares = Spares::default();
    source.write_all(b"abc").unwrap();
    let mut got = [0; 16];
    // The runtime hears of the bytes when it likes to; then one look is enough.
    std::future::poll_fn(|cx| {
        let polled = transfer.poll(cx, &mut from, &mut to, &spares, &mut ());
        assert!(polled.is_pending());
        if transfer.bytes == 3 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    sink.set_nonblocking(true).unwrap();
    let count = sink.read(&mut got).unwrap();
    assert_eq!(&got[..count], b"2\r\nab\r\n1\r\nc\r\n");
}

#[tokio::test]
async fn a_body_that_a_filter_refuses_is_never_the_whole() {
    let mut from = h1_from(b"ab!");
    let (mut to, sink) = h1_to();
    let mut transfer = Transfer::new(Body::Length(3), &from, Sink::Chunked, Instant::now());
    transfer.filter_by(Stretch::by(1));
    let refused = moved(&mut transfer, &mut from, &mut to, &mut ()).await;
    assert!(matches!(refused, Err(TransferError::Refused(_))), "{refused:?}");
    assert_eq!(read_all(to, sink), "");
}

#[tokio::test]
async fn a_filtered_body_that_is_aimed_again_begins_with_what_had_come_out() {
    let mut from = h1_from(b"abc");
    let (mut to, sink) = h1_to();
    let mut transfer = Transfer::new(Body::Length(3), &from, Sink::Chunked, Instant::now());
    transfer.filter_by(Stretch::by(2));
    let (mut seen, spares) = (Seen::default(), Spares::default());
    moved(&mut transfer, &mut from, &mut to, &mut seen).await.unwrap();
    drop((to, sink));
    let mut out = Vec::new();
    transfer.aim(Sink::Chunked, &seen.0, &mut out, &spares);
    assert_eq!(out, b"6\r\naabbcc\r\n0\r\nx-end: 1\r\n\r\n");
}
