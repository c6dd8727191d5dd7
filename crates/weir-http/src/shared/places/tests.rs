use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

struct Bench {
    places: Places<(), &'static str>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { places: Places::new(Duration::from_secs(55)), now: Instant::now() }
    }

    /// The connection on which there is a place, else the ticket in line.
    fn take(&mut self, ticket: &mut Option<u64>) -> Option<u32> {
        match self.places.take(ticket, Waker::noop(), self.now) {
            Taken::Place(id, (), _) => Some(id),
            Taken::Wait => None,
            Taken::Failed(why) => panic!("{why}"),
        }
    }

    fn take_new(&mut self) -> Option<u32> {
        self.take(&mut None)
    }

    /// One more connection whose peer allows so many streams.
    fn open(&mut self, limit: u32) -> u32 {
        self.places.dialled();
        let id = self.places.opened((), self.now + HOUR, self.now);
        self.places.settle(id, limit);
        id
    }
}

#[test]
fn a_cold_start_shares_one_dial() {
    let mut bench = Bench::new();
    let mut tickets = [None; 40];
    let dials = tickets.each_mut().map(|ticket| {
        assert_eq!(bench.take(ticket), None);
        bench.places.dial()
    });
    assert_eq!(dials.iter().filter(|dials| **dials).count(), 1);
    let id = bench.places.opened((), bench.now + HOUR, bench.now);
    assert_eq!(bench.take(&mut tickets[1]), None, "it is not its turn");
    assert_eq!(bench.take(&mut tickets[0]), Some(id));
    assert_eq!(bench.take(&mut tickets[1]), None, "the peer has not said how many streams it allows");
    assert!(!bench.places.dial());
    bench.places.settle(id, 128);
    for ticket in &mut tickets[1..] {
        assert_eq!(bench.take(ticket), Some(id));
    }
}

#[test]
fn another_connection_is_opened_before_the_limit_is_felt() {
    let mut bench = Bench::new();
    let first = bench.open(40);
    for count in 1..=30 {
        assert_eq!(bench.take_new(), Some(first));
        assert_eq!(bench.places.dial(), count == 30, "{count}");
    }
    assert_eq!(bench.take_new(), Some(first), "there is room while the other is being opened");
    assert!(!bench.places.dial());
    let second = bench.places.opened((), bench.now + HOUR, bench.now);
    bench.places.settle(second, 40);
    assert_eq!(bench.take_new(), Some(second));
    bench.places.leave(first, bench.now);
    bench.places.leave(first, bench.now);
    assert_eq!(bench.take_new(), Some(first), "the fuller one, so that the other falls idle");
}

#[test]
fn a_peer_that_allows_one_stream_gets_as_many_connections_as_requests() {
    let mut bench = Bench::new();
    let first = bench.open(1);
    assert_eq!(bench.take_new(), Some(first));
    let mut tickets = [None; 9];
    let dials = tickets.each_mut().map(|ticket| {
        assert_eq!(bench.take(ticket), None);
        bench.places.dial()
    });
    assert_eq!(dials.iter().filter(|dials| **dials).count(), DIALS_MAX as usize);
}

#[test]
fn connections_are_bounded_those_that_end_among_them() {
    let mut bench = Bench::new();
    for _ in 0..CONNECTIONS_MAX {
        let id = bench.open(1);
        assert_eq!(bench.take_new(), Some(id));
        bench.places.end(id);
    }
    let mut ticket = None;
    assert_eq!(bench.take(&mut ticket), None);
    assert!(!bench.places.dial());
    bench.places.gone(0);
    assert!(bench.places.dial());
}

#[test]
fn a_failed_dial_fails_those_who_waited_for_it_and_nobody_else() {
    let mut bench = Bench::new();
    let (mut early, mut late) = (None, None);
    assert_eq!(bench.take(&mut early), None);
    assert!(bench.places.dial());
    bench.places.failed("refused");
    let early = bench.places.take(&mut early, Waker::noop(), bench.now);
    assert!(matches!(early, Taken::Failed("refused")));
    assert_eq!(bench.take(&mut late), None);
    assert!(bench.places.dial());
}

#[test]
fn a_failed_dial_beside_a_live_connection_fails_nobody() {
    let mut bench = Bench::new();
    let id = bench.open(1);
    assert_eq!(bench.take_new(), Some(id));
    let mut ticket = None;
    assert_eq!(bench.take(&mut ticket), None);
    assert!(bench.places.dial());
    bench.places.failed("refused");
    assert_eq!(bench.take(&mut ticket), None);
    bench.places.leave(id, bench.now);
    assert_eq!(bench.take(&mut ticket), Some(id));
}

#[test]
fn newcomers_do_not_pass_by_the_line_and_who_leaves_it_gives_its_turn_up() {
    let mut bench = Bench::new();
    let id = bench.open(1);
    assert_eq!(bench.take_new(), Some(id));
    let (mut first, mut second) = (None, None);
    assert_eq!((bench.take(&mut first), bench.take(&mut second)), (None, None));
    bench.places.leave(id, bench.now);
    assert_eq!(bench.take(&mut None), None);
    bench.places.forget(&mut first);
    assert_eq!(bench.take(&mut second), Some(id));
}

#[test]
fn a_connection_that_ends_or_is_in_doubt_takes_no_stream() {
    let mut bench = Bench::new();
    let (one, two) = (bench.open(10), bench.open(10));
    bench.places.end(one);
    assert_eq!(bench.take_new(), Some(two));
    bench.places.suspect(two, true);
    let mut ticket = None;
    assert_eq!(bench.take(&mut ticket), None);
    assert!(bench.places.dial(), "others need not wait for the proof");
    bench.places.suspect(two, false);
    assert_eq!(bench.take(&mut ticket), Some(two));
}

#[test]
fn a_limit_that_is_lowered_below_what_is_open_leaves_no_room() {
    let mut bench = Bench::new();
    let id = bench.open(10);
    for _ in 0..5 {
        assert_eq!(bench.take_new(), Some(id));
    }
    bench.places.settle(id, 2);
    let mut ticket = None;
    assert_eq!(bench.take(&mut ticket), None);
    for _ in 0..3 {
        bench.places.leave(id, bench.now);
        assert_eq!(bench.take(&mut ticket), None);
    }
    bench.places.leave(id, bench.now);
    assert_eq!(bench.take(&mut ticket), Some(id));
}

#[test]
fn age_and_idleness_end_a_connection() {
    let mut bench = Bench::new();
    let id = bench.open(10);
    assert_eq!(bench.take_new(), Some(id));
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.take_new(), Some(id), "it is not idle");
    bench.places.leave(id, bench.now);
    bench.places.leave(id, bench.now);
    bench.now += Duration::from_secs(55);
    assert_eq!(bench.take(&mut None), None);
    let mut bench = Bench::new();
    let id = bench.open(10);
    assert_eq!(bench.take_new(), Some(id));
    bench.now += HOUR;
    assert_eq!(bench.take(&mut None), None, "too old although in use");
}

#[test]
fn a_peer_that_allows_nothing_is_not_dialled_without_end() {
    let mut bench = Bench::new();
    let mut ticket = None;
    assert_eq!(bench.take(&mut ticket), None);
    for _ in 0..2 {
        assert!(bench.places.dial());
        let id = bench.places.opened((), bench.now + HOUR, bench.now);
        bench.places.settle(id, 0);
        assert_eq!(bench.take(&mut ticket), None);
    }
    assert!(!bench.places.dial());
}
