//! Two sessions, a path with delay that cuts bytes anywhere, and owners that do anything at any time.
//!
//! Virtual time and one seed: `WEIR_SEED=n cargo test -p weir-wire pair` repeats a run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::super::*;

/// What one end knows of a stream.
#[derive(Debug, Default)]
struct Owner {
    /// What it was given to send, counted; the bytes follow from the stream's number.
    written: usize,
    sent: usize,
    finished: bool,
    let_go: LetGo,
    got: usize,
    unread: usize,
    saw_end: bool,
    saw_reset: bool,
    was_refused: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LetGo {
    #[default]
    No,
    Released,
    Reset,
}

struct End {
    name: &'static str,
    session: Session,
    owners: BTreeMap<u32, Owner>,
    /// What is on its way to the other end.
    path: VecDeque<(Instant, Vec<u8>)>,
}

/// The byte that stands there in a stream, in the direction of its sender.
fn byte(sender: &str, id: u32, at: usize) -> u8 {
    (at as u32).wrapping_mul(31).wrapping_add(id).wrapping_add(sender.len() as u32) as u8
}

impl End {
    fn new(name: &'static str, role: Role, limits: Limits, now: Instant) -> Self {
        let budget = Arc::new(WindowBudget::new(8 << 20));
        let session = Session::new(role, limits, budget, now);
        Self { name, session, owners: BTreeMap::new(), path: VecDeque::new() }
    }

    /// Something that an owner might do.
    fn act(&mut self, rng: &mut Rng, now: Instant, may_open: bool) {
        if may_open && rng.u8(..) < 60 {
            match self.session.open(now) {
                Ok(id) => drop(self.owners.insert(id, Owner::default())),
                Err(OpenError::TooManyStreams | OpenError::GoingAway) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let ids: Vec<u32> =
            self.owners.iter().filter(|(_, o)| o.let_go == LetGo::No).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[rng.usize(..ids.len())];
        let owner = self.owners.get_mut(&id).unwrap();
        match rng.u8(..100) {
            0..40 if !owner.finished && !owner.saw_reset => {
                let bytes = if rng.bool() { rng.usize(1..500) } else { rng.usize(1..60_000) };
                owner.written += bytes;
                self.session.offer(id, bytes);
            }
            40..50 => {
                owner.finished = true;
                self.session.finish(id);
            }
            50..90 => {
                let bytes = if rng.bool() { owner.unread } else { rng.usize(..=owner.unread) };
                owner.unread -= bytes;
                self.session.consume(now, id, bytes);
            }
            90..93 => {
                owner.let_go = LetGo::Reset;
                self.session.reset(id);
                assert!(!self.session.contains(id));
            }
            93..95 if owner.saw_end && owner.unread == 0 || owner.saw_reset => {
                owner.let_go = LetGo::Released;
                owner.finished = true;
                self.session.release(now, id);
            }
            95 => self.session.ping(),
            _ => {}
        }
    }

    /// Writes messages of whole frames.
    fn transmit(&mut self, rng: &mut Rng, now: Instant, delay: Duration, messages: usize) {
        for _ in 0..messages {
            let mut message = Vec::new();
            let mut had_data = false;
            while let Some(frame) = self.session.next_frame(now, (32 << 10) - message.len()) {
                message.extend(frame.header);
                let Some((id, bytes)) = frame.payload else {
                    assert!(!had_data || message.len() > FRAME_HEADER_BYTES);
                    continue;
                };
                had_data = true;
                assert!(bytes <= DATA_BYTES_MAX && bytes > 0);
                let owner = self.owners.get_mut(&id).unwrap();
                assert_ne!(owner.let_go, LetGo::Reset, "nothing follows a reset");
                assert!(owner.sent + bytes <= owner.written);
                message.extend((owner.sent..owner.sent + bytes).map(|at| byte(self.name, id, at)));
                owner.sent += bytes;
            }
            assert!(message.len() <= 32 << 10);
            if message.is_empty() {
                return;
            }
            // The path cuts as it likes.
            while !message.is_empty() {
                let rest = message.split_off(rng.usize(1..=message.len()));
                self.path.push_back((now + delay, message));
                message = rest;
            }
        }
    }

    fn receive(&mut self, now: Instant, bytes: &[u8], peer: &End) {
        let mut input = bytes;
        while let Some(event) = self.session.receive(now, &mut input).expect("both ends keep the protocol") {
            match event {
                Event::Opened(id) => assert!(self.owners.insert(id, Owner::default()).is_none()),
                Event::Data(id, data) => {
                    let owner = self.owners.get_mut(&id).unwrap();
                    assert_eq!(owner.let_go, LetGo::No);
                    assert!(!owner.saw_end && !owner.saw_reset);
                    for (i, got) in data.iter().enumerate() {
                        assert_eq!(*got, byte(peer.name, id, owner.got + i));
                    }
                    owner.got += data.len();
                    owner.unread += data.len();
                }
                Event::Ended(id) => {
                    let owner = self.owners.get_mut(&id).unwrap();
                    assert!(!std::mem::replace(&mut owner.saw_end, true));
                    assert_eq!(owner.got, peer.owners[&id].written, "the end comes behind all data");
                }
                Event::Reset { stream, was_refused } => {
                    let owner = self.owners.get_mut(&stream).unwrap();
                    assert!(!std::mem::replace(&mut owner.saw_reset, true));
                    owner.was_refused = was_refused;
                    match peer.owners.get(&stream) {
                        None => assert!(was_refused),
                        Some(other) => assert_ne!(other.let_go, LetGo::No, "only who lets go resets"),
                    }
                }
                Event::GoAway(_) | Event::RoundTrip(_) => {}
            }
        }
        assert!(input.is_empty());
        while let Some(id) = self.session.pop_gone() {
            assert!(!self.session.contains(id));
            assert_eq!(self.owners[&id].let_go, LetGo::Released);
        }
    }
}

fn exchange(from: &mut End, to: &mut End, now: Instant) {
    while from.path.front().is_some_and(|(at, _)| *at <= now) {
        let (_, bytes) = from.path.pop_front().unwrap();
        to.receive(now, &bytes, from);
    }
}

fn run(seed: u64) {
    println!("WEIR_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut now = Instant::now();
    let delay = Duration::from_micros(rng.u64(0..80_000));
    let limits = Limits {
        streams_max: rng.usize(1..600),
        accepted_max: rng.usize(1..600),
        window_bytes_max: rng.u32(0..8 << 20),
    };
    let mut left = End::new("relay", Role::Client, limits, now);
    let mut right = End::new("the agent", Role::Server, limits, now);
    let both_open = rng.bool();
    let steps = rng.usize(200..900);
    for step in 0..steps {
        now += Duration::from_micros(rng.u64(0..20_000));
        for _ in 0..rng.usize(0..6) {
            left.act(&mut rng, now, true);
            right.act(&mut rng, now, both_open);
        }
        if step == steps * 3 / 4 && rng.bool() {
            right.session.go_away(GoAway::Normal);
        }
        if rng.bool() {
            let messages = rng.usize(0..20);
            left.transmit(&mut rng, now, delay, messages);
            right.transmit(&mut rng, now, delay, messages);
        }
        if rng.u8(..) < 10 {
            left.session.tick(now);
            right.session.tick(now);
        }
        exchange(&mut left, &mut right, now);
        exchange(&mut right, &mut left, now);
    }
    settle(&mut rng, now, delay, &mut left, &mut right);
}

/// Both ends read all, end all and let go of all: nothing may be left.
fn settle(rng: &mut Rng, mut now: Instant, delay: Duration, left: &mut End, right: &mut End) {
    for _ in 0..600 {
        now += Duration::from_millis(100);
        for end in [&mut *left, &mut *right] {
            let ids: Vec<u32> = end.owners.keys().copied().collect();
            for id in ids {
                let owner = end.owners.get_mut(&id).unwrap();
                if owner.let_go != LetGo::No {
                    continue;
                }
                let unread = std::mem::take(&mut owner.unread);
                end.session.consume(now, id, unread);
                owner.finished = true;
                end.session.finish(id);
                if owner.saw_end || owner.saw_reset {
                    owner.let_go = LetGo::Released;
                    end.session.release(now, id);
                }
            }
            end.transmit(rng, now, delay, 100);
            end.session.tick(now);
        }
        exchange(left, right, now);
        exchange(right, left, now);
    }
    for (end, peer) in [(&*left, &*right), (&*right, &*left)] {
        assert_eq!(end.session.streams(), 0, "{}: {:?}", end.name, end.owners);
        assert_eq!(end.session.window_bytes(), 0, "{}", end.name);
        assert!(end.path.is_empty());
        for (id, owner) in &end.owners {
            let was_aborted = peer.owners.get(id).is_none_or(|peer| peer.let_go == LetGo::Reset);
            if owner.let_go == LetGo::Released && owner.saw_end && !was_aborted {
                assert_eq!(owner.sent, owner.written, "{}: stream {id}", end.name);
            }
        }
    }
}

#[test]
fn a_pair_keeps_every_promise_in_random_schedules() {
    if let Some(seed) = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed);
        return;
    }
    for seed in 0..4 {
        run(seed);
    }
    run(fastrand::u64(..));
}
