//! What one access line costs: `cargo run --release -p weir-telemetry --example access_line`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use weir_telemetry::{AccessLog, AccessRecord, AccessSettings, Log, Sink, now_micros};

const LINES: u32 = 2_000_000;

fn main() -> std::io::Result<()> {
    let settings =
        AccessSettings { sink: Sink::File(PathBuf::from("/dev/null")), ..AccessSettings::default() };
    let log = AccessLog::new(settings, Log::discard())?;
    let mut buffer = log.for_worker();
    let lines: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(LINES);
    let started = Instant::now();
    for turn in 0..lines {
        buffer.push(&AccessRecord {
            timestamp_us: now_micros(),
            trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
            request_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
            http_status: 200,
            method: b"GET",
            host: b"shop.example.com",
            path: b"/v1/users/12345/orders?page=2&sort=date",
            listener: "web",
            route: "users",
            upstream: "users",
            endpoint: "10.0.0.1:8080",
            attempts: 1,
            client_ip: Some([192, 0, 2, 33].into()),
            bytes_out: u64::from(turn),
            duration: Duration::from_micros(u64::from(turn)),
            queue_us: Some(0),
            connect_us: Some(0),
            head_us: Some(812),
            body_us: Some(20),
            user_agent: b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ..AccessRecord::EMPTY
        });
    }
    let spent = started.elapsed();
    println!("{} ns per line, {} dropped", spent.as_nanos() / u128::from(lines.max(1)), log.dropped());
    Ok(())
}
