use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::Stats;
use crate::source::Source;

/// Most connections at a time. For one more, a connection is cut: of the source that holds the most, the one that has
/// waited for its client the longest.
pub const CONNECTIONS_MAX: usize = 64;

/// Most of them from one source: an IPv4 address, loopback too, a /64 of IPv6, or the unix socket. For one more, the
/// connection of that source that has waited the longest is cut, so that nobody's flood reaches another's places. Not
/// fewer: a flood of ten thousand a second from an honest client's own address leaves that client 3 ms for its request.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 32;

/// Most bytes of answers that wait to be read, all together; above it who has waited the longest with one is cut. A view
/// of ten thousand routes is a few MiB, and readers that do not read must not keep one each. A single answer may be
/// larger.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The places that connections take.
#[derive(Debug)]
pub(crate) struct Places {
    rows: Mutex<Vec<Row>>,
    /// A place is free, or its connection waits and may be cut.
    changed: Notify,
    stats: Arc<Stats>,
}

#[derive(Debug)]
struct Row {
    source: Source,
    /// Since when its client is waited for: to send a whole request, or to read an answer. None while a request is
    /// worked on, and then it is not cut: what it does may change something.
    waiting_since: Option<Instant>,
    /// Bytes of the answer that its client is waited for to read.
    answer_bytes: usize,
    cut: Arc<Notify>,
}

/// What became of a connection that wants a place.
#[derive(Debug)]
pub(crate) enum Admission {
    Placed(Place),
    /// Every place of its source is being worked for.
    SourceBusy,
    /// Every place is being worked for.
    Busy,
}

impl Places {
    pub(crate) fn new(stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), changed: Notify::new(), stats })
    }

    /// A place for a connection, as soon as there is one; none where its source is at its limit.
    pub(crate) async fn place(self: &Arc<Self>, source: Source) -> Option<Place> {
        loop {
            match self.admit(source, tokio::time::Instant::now().into_std()) {
                Admission::Placed(place) => return Some(place),
                Admission::SourceBusy => {
                    self.stats.connections_refused.add(1);
                    return None;
                }
                Admission::Busy => self.changed.notified().await,
            }
        }
    }

    /// Takes a place, another's who waits if need be.
    pub(crate) fn admit(self: &Arc<Self>, source: Source, now: Instant) -> Admission {
        let mut rows = self.rows();
        if held_by(&rows, source) >= CONNECTIONS_PER_SOURCE_MAX {
            if !self.cut_one(&mut rows, |row| row.source == source) {
                return Admission::SourceBusy;
            }
        } else if rows.len() >= CONNECTIONS_MAX && !self.cut_one(&mut rows, |_| true) {
            return Admission::Busy;
        }
        let cut = Arc::new(Notify::new());
        rows.push(Row { source, waiting_since: Some(now), answer_bytes: 0, cut: Arc::clone(&cut) });
        self.stats.connections.set(rows.len() as i64);
        Admission::Placed(Place { places: Arc::clone(self), cut })
    }

    /// Cuts readers until the answers that are held are few enough; never this one.
    fn cut_readers(&self, rows: &mut Vec<Row>, spared: &Arc<Notify>) {
        let held = |rows: &[Row]| rows.iter().map(|row| row.answer_bytes).sum::<usize>();
        while held(rows) > ANSWER_BYTES_MAX
            && self.cut_one(rows, |row| row.answer_bytes > 0 && !Arc::ptr_eq(&row.cut, spared))
        {}
    }

    /// Cuts, of these, the one that has waited the longest of the source that holds the most; false where none waits.
    /// The work grows with the square of [`CONNECTIONS_MAX`].
    fn cut_one(&self, rows: &mut Vec<Row>, among: impl Fn(&Row) -> bool) -> bool {
        let waiting = rows.iter().enumerate().filter(|(_, row)| among(row));
        let first = waiting
            .filter_map(|(at, row)| Some((Reverse(held_by(rows, row.source)), row.waiting_since?, at)))
            .min();
        let Some((_, _, at)) = first else { return false };
        rows.remove(at).cut.notify_one();
        self.stats.connections_cut.add(1);
        true
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn held_by(rows: &[Row], source: Source) -> usize {
    rows.iter().filter(|row| row.source == source).count()
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// Tells the place apart, too.
    cut: Arc<Notify>,
}

impl Place {
    /// From `now` on the client is waited for to send a request.
    pub(crate) fn wait(&self, now: Instant) {
        self.hold(0, now);
    }

    /// From `now` on the client is waited for to read an answer of so many bytes.
    pub(crate) fn hold(&self, answer_bytes: usize, now: Instant) {
        let mut rows = self.places.rows();
        let mine = rows.iter_mut().find(|row| Arc::ptr_eq(&row.cut, &self.cut));
        if let Some(row) = mine {
            (row.waiting_since, row.answer_bytes) = (Some(now), answer_bytes);
            self.places.cut_readers(&mut rows, &self.cut);
        }
        drop(rows);
        self.places.changed.notify_one();
    }

    /// A whole request is here and is worked on; false where the place is already another's.
    #[must_use]
    pub(crate) fn work(&self) -> bool {
        let mut rows = self.places.rows();
        let mine = rows.iter_mut().find(|row| Arc::ptr_eq(&row.cut, &self.cut));
        mine.map(|row| row.waiting_since = None).is_some()
    }

    /// Returns when the place is another's. Never happens while a request is worked on.
    pub(crate) async fn lost(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rows = self.places.rows();
        rows.retain(|row| !Arc::ptr_eq(&row.cut, &self.cut));
        self.places.stats.connections.set(rows.len() as i64);
        drop(rows);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn source(last: usize) -> Source {
        Source::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(last).unwrap()))
    }

    fn placed(admission: Admission) -> Place {
        match admission {
            Admission::Placed(place) => place,
            other => panic!("{other:?}"),
        }
    }

    /// As many connections as there may be, of two sources, a second between one and the next.
    fn full(places: &Arc<Places>, start: Instant) -> Vec<Place> {
        let second = |at: usize| start + Duration::from_secs(at as u64);
        (0..CONNECTIONS_MAX)
            .map(|at| placed(places.admit(source(at / CONNECTIONS_PER_SOURCE_MAX), second(at))))
            .collect()
    }

    fn is_lost(place: &Place) -> bool {
        !place.places.rows().iter().any(|row| Arc::ptr_eq(&row.cut, &place.cut))
    }

    #[test]
    fn one_more_takes_the_place_of_who_waited_longest() {
        let (stats, start) = (Arc::new(Stats::default()), Instant::now());
        let places = Places::new(Arc::clone(&stats));
        let held = full(&places, start);
        held[0].wait(start + Duration::from_secs(100));
        assert!(held[1].work());
        let _newcomer = placed(places.admit(source(9), start + Duration::from_secs(101)));
        let lost: Vec<usize> = (0..held.len()).filter(|&at| is_lost(&held[at])).collect();
        assert_eq!((lost, stats.connections_cut.get()), (vec![2], 1));
        assert!(!held[2].work(), "a place that was given away is not worked for");
        assert_eq!(stats.connections.get(), CONNECTIONS_MAX as i64);
    }

    #[test]
    fn the_source_that_holds_the_most_makes_room() {
        let start = Instant::now();
        let places = Places::new(Arc::default());
        let modest = placed(places.admit(source(99), start));
        let mut held = Vec::new();
        for at in 0..1_000 {
            let source = source(at % 8);
            held.push(placed(places.admit(source, start + Duration::from_millis(at as u64))));
        }
        assert!(!is_lost(&modest), "who holds one place loses it to a crowd");
        assert_eq!(held.iter().filter(|place| !is_lost(place)).count(), CONNECTIONS_MAX - 1);
    }

    #[test]
    fn a_source_at_its_limit_takes_from_itself_alone() {
        let start = Instant::now();
        let places = Places::new(Arc::default());
        let other = placed(places.admit(source(1), start));
        let mut own: Vec<Place> =
            (0..CONNECTIONS_PER_SOURCE_MAX).map(|_| placed(places.admit(source(0), start))).collect();
        for at in 0..1_000 {
            own.push(placed(places.admit(source(0), start + Duration::from_millis(at))));
        }
        assert!(!is_lost(&other));
        assert_eq!(own.iter().filter(|place| !is_lost(place)).count(), CONNECTIONS_PER_SOURCE_MAX);
    }

    #[test]
    fn nobody_is_cut_whose_request_is_worked_on() {
        let start = Instant::now();
        let places = Places::new(Arc::default());
        let mut held = full(&places, start);
        assert!(held.iter().all(Place::work));
        assert!(matches!(places.admit(source(0), start), Admission::SourceBusy));
        assert!(matches!(places.admit(source(9), start), Admission::Busy));
        held.pop();
        placed(places.admit(source(9), start));
    }

    #[test]
    fn answers_that_nobody_reads_are_given_up_when_they_are_too_many_bytes() {
        let start = Instant::now();
        let places = Places::new(Arc::default());
        let held = full(&places, start);
        let second = |at: usize| start + Duration::from_secs(100 + at as u64);
        for (at, place) in held.iter().enumerate().take(6) {
            place.hold(ANSWER_BYTES_MAX / 4, second(at));
        }
        let lost: Vec<usize> = (0..held.len()).filter(|&at| is_lost(&held[at])).collect();
        assert_eq!(lost, [0, 1], "who only asks is left alone");
        held[2].wait(second(7));
        held[6].hold(10 * ANSWER_BYTES_MAX, second(8));
        let lost: Vec<usize> = (0..held.len()).filter(|&at| is_lost(&held[at])).collect();
        assert_eq!(lost, [0, 1, 3, 4, 5], "one answer may be larger than all together");
    }

    #[test]
    fn a_place_is_given_back() {
        let stats = Arc::new(Stats::default());
        let places = Places::new(Arc::clone(&stats));
        drop(full(&places, Instant::now()));
        assert_eq!((places.rows().len(), stats.connections.get()), (0, 0));
    }
}
