//! Schedules of sound peers, as they were seen or as their sources have them: none may trip a default limit.

use super::*;

const MESSAGES: u32 = 100_000;

fn answer(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &[0x88; 20])
}

/// gRPC in Go, whose estimator sends a PING with each round trip in which data came (thousands a second on a fast
/// path), and grants the window again by quarters.
#[test]
fn a_grpc_server_stream_of_tiny_messages_with_pings_for_each_round_trip() {
    let mut schedule = Schedule::start();
    schedule.client(&frame(HEADERS, END_HEADERS, 1, &[0x82; 60]));
    schedule.client(&frame(DATA, END_STREAM, 1, &[0; 7]));
    schedule.server(&answer(1, 0));
    for message in 0..MESSAGES {
        schedule.server(&frame(DATA, 0, 1, &[0; 6]));
        if message % 4 == 0 {
            schedule.client(&frame(PING, 0, 0, &[2, 4, 16, 16, 9, 14, 7, 7]));
            schedule.server(&frame(PING, ACK, 0, &[2, 4, 16, 16, 9, 14, 7, 7]));
        }
        if message % 2_700 == 0 {
            schedule.client(&[window_update(0, 16_384), window_update(1, 16_384)].concat());
        }
        schedule.pass(Duration::from_micros(25));
    }
}

#[test]
fn a_grpc_client_stream_of_one_byte_frames() {
    let mut schedule = Schedule::start();
    schedule.client(&frame(HEADERS, END_HEADERS, 1, &[0x82; 60]));
    for message in 0..MESSAGES {
        schedule.client(&frame(DATA, 0, 1, &[0; 1]));
        // Some writers flush with nothing in it.
        if message % 2 == 0 {
            schedule.client(&frame(DATA, 0, 1, &[]));
        }
    }
}

/// 50 unary calls in flight; the server's trailers end them and each is replaced.
#[test]
fn grpc_unary_calls_in_tens_of_thousands_a_second() {
    let mut schedule = Schedule::start();
    for call in 0..MESSAGES {
        let stream = 2 * call + 1;
        schedule.client(
            &[frame(HEADERS, END_HEADERS, stream, &[0x82; 9]), frame(DATA, END_STREAM, stream, &[0; 9])]
                .concat(),
        );
        if call % 10 == 0 {
            schedule.client(&window_update(0, 300));
        }
        schedule.server(
            &[answer(stream, 0), frame(DATA, 0, stream, &[0; 30]), answer(stream, END_STREAM)].concat(),
        );
        schedule.pass(Duration::from_micros(25));
    }
}

/// Streams that the server ends first: the Go client answers the trailers with RST_STREAM and NO_ERROR.
#[test]
fn streams_that_the_server_ends_early_and_the_client_then_resets() {
    let mut schedule = Schedule::start();
    for call in 0..MESSAGES {
        let stream = 2 * call + 1;
        schedule.client(
            &[frame(HEADERS, END_HEADERS, stream, &[0x82; 9]), frame(DATA, 0, stream, &[0; 9])].concat(),
        );
        schedule.server(&answer(stream, END_STREAM));
        schedule.client(&reset(stream, 0));
        schedule.pass(Duration::from_micros(50));
    }
}

/// An endpoint hangs; a client with 100 streams and 250 ms of patience cancels and asks anew, for five minutes.
#[test]
fn a_client_whose_deadlines_pass_all_the_time() {
    let mut schedule = Schedule::start();
    let mut stream = 1;
    for _ in 0..1_200 {
        let first = stream;
        for _ in 0..100 {
            schedule.client(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82; 9]));
            stream += 2;
        }
        schedule.pass(Duration::from_millis(250));
        for waiting in (first..stream).step_by(2) {
            schedule.client(&reset(waiting, 8));
        }
    }
}

/// A page with 100 images is left as soon as it is opened, every two seconds.
#[test]
fn a_browser_that_cancels_all_images_of_a_page() {
    let mut schedule = Schedule::start();
    let mut stream = 1;
    for _ in 0..200 {
        let first = stream;
        for _ in 0..100 {
            // Firefox grants each stream a large window, Chrome sends unknown frames and both send priorities.
            schedule.client(&[request(stream), window_update(stream, 12 << 20)].concat());
            schedule.client(&frame(0x10, 0, 0, &[0, 0, 0, 1, b'u']));
            schedule.client(&frame(0x0b, 0, 0, &[]));
            stream += 2;
        }
        schedule.pass(Duration::from_millis(50));
        for waiting in (first..stream).step_by(2) {
            schedule.client(&reset(waiting, 8));
        }
        schedule.pass(Duration::from_secs(2));
    }
}

/// Moving about in a map: 60 tiles a second are asked for, and half of them cancelled while they are fresh.
#[test]
fn a_map_that_is_moved_for_ten_minutes() {
    let mut schedule = Schedule::start();
    for tile in 0..36_000 {
        let stream = 2 * tile + 1;
        schedule.client(&request(stream));
        if tile % 2 == 0 {
            schedule.client(&reset(stream, 8));
        } else {
            schedule.server(&[answer(stream, 0), frame(DATA, END_STREAM, stream, &[0; 900])].concat());
        }
        schedule.pass(Duration::from_micros(16_666));
    }
}

#[test]
fn h2load_with_100_streams_and_no_time_between_them() {
    let mut schedule = Schedule::start();
    for round in 0..1_000 {
        for stream in 0..100 {
            schedule.client(&request(200 * round + 2 * stream + 1));
        }
        for stream in 0..100 {
            let stream = 200 * round + 2 * stream + 1;
            schedule.server(&[answer(stream, 0), frame(DATA, END_STREAM, stream, &[0; 128])].concat());
        }
    }
}

/// The simplest client: each piece of an event stream is granted again at once, for the stream and the connection.
#[test]
fn a_reader_of_tokens_that_grants_every_byte_anew() {
    let mut schedule = Schedule::start();
    schedule.client(&request(1));
    schedule.server(&answer(1, 0));
    for _ in 0..20_000 {
        schedule.server(&frame(DATA, 0, 1, &[b'x'; 20]));
        schedule.client(&[window_update(1, 20), window_update(0, 20)].concat());
        schedule.pass(Duration::from_millis(2));
    }
}

/// A download is read from the client's own buffer after it is whole: its updates come when no DATA is sent any more.
#[test]
fn a_large_window_that_is_read_late_in_small_steps() {
    let mut schedule = Schedule::start();
    schedule.client(&[window_update(0, 16 << 20), request(1)].concat());
    schedule.server(&answer(1, 0));
    for _ in 0..1_024 {
        schedule.server(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    schedule.pass(Duration::from_secs(5));
    for _ in 0..4_096 {
        schedule.client(&[window_update(1, 4_096), window_update(0, 4_096)].concat());
    }
}

#[test]
fn cookies_of_forty_kilobytes_on_every_request() {
    let mut schedule = Schedule::start();
    for request in 0..1_000 {
        let stream = 2 * request + 1;
        schedule.client(&frame(HEADERS, END_STREAM, stream, &[0; 16_384]));
        schedule.client(&frame(CONTINUATION, 0, stream, &[0; 16_384]));
        schedule.client(&frame(CONTINUATION, END_HEADERS, stream, &[0; 900]));
    }
}
