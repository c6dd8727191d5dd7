//! Heads that are small on the way and large when they are read.

use weir_testkit::h2::{self, flag, kind};

use crate::h2_abuse::Victim;

/// A request whose block puts a field of `bytes` into the table of the connection and names it `times` more.
fn bomb(stream: u32, bytes: usize, times: usize) -> Vec<u8> {
    let mut block = h2::block(&h2::get_fields("test", "/bomb"));
    let value = "b".repeat(bytes);
    // The literal of `block` begins with a byte that says "not into the table".
    let mut field = h2::block(&[("x-bomb", &value)]);
    field[0] = 0x40;
    block.extend(field);
    block.extend(vec![0xbe; times]);
    h2::frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, block)
}

/// HPACK: 10 KB become 40 MB.
#[test]
fn a_field_named_ten_thousand_times_is_never_written_out() {
    let victim = Victim::start();
    let mut attacker = victim.attacker();
    let sent = attacker.flood(200, |time| bomb(2 * time + 1, 3_900, 10_000));
    assert!(sent < 200, "all of it was taken");
    victim.ends(&mut attacker, None);
    assert_eq!(victim.origin.request_count(), 1);
    victim.recovers();
}

/// Too much, but not by far: each is answered, and costs no more than what is allowed.
#[test]
fn heads_that_are_a_little_too_large_are_answered_431() {
    let victim = Victim::start();
    let mut client = victim.attacker();
    for stream in [1, 3, 5] {
        client.send(bomb(stream, 3_900, 20));
        assert_eq!(client.answer(stream).status, 431);
    }
    client.send(h2::get(7, "test", "/next"));
    assert_eq!(client.answer(7).status, 200);
    victim.recovers();
}

#[test]
fn fields_are_counted_crumbs_of_cookies_among_them() {
    let victim = Victim::start();
    for name in ["cookie", "x-field"] {
        let mut client = victim.attacker();
        let mut fields = h2::get_fields("test", "/crumbs").to_vec();
        fields.extend(vec![(name, "a=b"); 500]);
        let stream = client.headers(flag::END_STREAM, &fields);
        assert_eq!(client.answer(stream).status, 431, "{name}");
    }
    assert_eq!(victim.origin.request_count(), 1);
    victim.recovers();
}

#[test]
fn trailers_are_bounded_as_on_any_connection() {
    let victim = Victim::start();
    let mut client = victim.attacker();
    let mut trailers = Vec::new();
    let value = "t".repeat(1_000);
    trailers.extend(vec![("x-trailer", value.as_str()); 100]);
    let stream = client.headers(0, &h2::get_fields("test", "/trailers"));
    let block = h2::block(&trailers);
    let mut frames = vec![h2::frame(kind::HEADERS, flag::END_STREAM, stream, &block[..16_000])];
    let pieces: Vec<&[u8]> = block[16_000..].chunks(16_000).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let end = if index + 1 == pieces.len() { flag::END_HEADERS } else { 0 };
        frames.push(h2::frame(kind::CONTINUATION, end, stream, piece));
    }
    client.send(frames.concat());
    // Reset, refused or the connection ended: never passed on.
    if let Ok(answer) = client.try_answer(stream) {
        assert!(answer.reset.is_some() || [400, 431].contains(&answer.status), "{answer:?}");
    }
    assert!(victim.origin.requests().iter().all(|request| request.trailers.0.is_empty()));
    drop(client);
    victim.recovers();
}
