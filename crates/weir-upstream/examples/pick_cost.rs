//! What choosing an endpoint costs: `pick_cost ENDPOINTS ROUNDS` picks, records a success and gives the slot back.
//!
//! Run it under `valgrind --tool=callgrind` with two numbers of rounds: the difference of the instruction counts,
//! divided by that of the rounds, is the cost of one request.

use std::hint::black_box;
use std::time::{Duration, Instant};

use weir_upstream::{Address, EndpointPlan, Outcome, PickRequest, Target, Tried, Upstream, UpstreamPlan};

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u16>().ok());
    let (endpoints, rounds) = (arguments.next().unwrap_or(1), arguments.next().unwrap_or(1_000));
    let mut plan = UpstreamPlan::new("cost");
    for port in 1..=endpoints {
        let address = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        plan.endpoints.push(EndpointPlan::new(Target::Address(address)));
    }
    let now = Instant::now();
    let upstream = Upstream::compile(plan, None, now);
    let request = PickRequest { now, client: None, hash: None, random: 7 };
    let tried = Tried::new();
    for _ in 0..rounds {
        let lease = black_box(&upstream).pick(black_box(&request), &tried).expect("an endpoint is up");
        let outcome = black_box(Outcome::Success { head_after: Duration::from_micros(200) });
        upstream.record(lease.endpoint(), outcome, now);
        drop(black_box(lease));
    }
}
