use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::stream::{Shared, TunnelStream};
use super::{OpenRefusal, SessionEnd};

/// What others leave for a session's task: streams to open, streams that have something to say.
///
/// The one way between workers: a stream is handed over whole, and what passes through it later is told here.
#[derive(Debug)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    streams_max: usize,
    keeps_streams: bool,
    /// The round trip in microseconds, plus one; 0 while unknown.
    round_trip_us: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Streams to be opened; bounded, for `streams` is.
    pub(super) opens: Vec<Arc<Shared>>,
    /// Streams with something to say, each once.
    pub(super) touched: Vec<Arc<Shared>>,
    /// The end that was asked for, and until when it may take.
    pub(super) leave: Option<(SessionEnd, Instant)>,
    waker: Option<Waker>,
    /// Streams that are open or wait to be opened.
    streams: usize,
    is_closed: bool,
}

impl Mailbox {
    pub(super) fn new(streams_max: usize, keeps_streams: bool) -> Arc<Self> {
        Arc::new(Self {
            mail: Mutex::default(),
            streams_max,
            keeps_streams,
            round_trip_us: AtomicU64::new(0),
        })
    }

    pub(super) const fn keeps_streams(&self) -> bool {
        self.keeps_streams
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        // Each critical section is a few lines that leave whole data behind, whatever happens.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(self: &Arc<Self>) -> Result<TunnelStream, OpenRefusal> {
        let mut mail = self.mail();
        if mail.is_closed || mail.leave.is_some() {
            return Err(OpenRefusal::Ending);
        }
        if mail.streams >= self.streams_max {
            return Err(OpenRefusal::Full);
        }
        mail.streams += 1;
        let shared = Shared::new();
        mail.opens.push(Arc::clone(&shared));
        let waker = mail.waker.take();
        drop(mail);
        wake(waker);
        Ok(TunnelStream::new(shared, Arc::clone(self)))
    }

    /// A stream has something to say that it had not a moment ago.
    pub(super) fn touch(&self, stream: Arc<Shared>) {
        let mut mail = self.mail();
        if mail.is_closed {
            return;
        }
        mail.touched.push(stream);
        let waker = mail.waker.take();
        drop(mail);
        wake(waker);
    }

    pub(super) fn leave(&self, end: SessionEnd, until: Instant) {
        let mut mail = self.mail();
        // The first reason stands; a session that is leaving leaves sooner at most.
        match &mut mail.leave {
            Some((_, earlier)) => *earlier = until.min(*earlier),
            none => *none = Some((end, until)),
        }
        let waker = mail.waker.take();
        drop(mail);
        wake(waker);
    }

    pub(super) fn is_open(&self) -> bool {
        let mail = self.mail();
        !mail.is_closed && mail.leave.is_none()
    }

    pub(super) fn streams(&self) -> usize {
        self.mail().streams
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip_us.load(Ordering::Relaxed);
        micros.checked_sub(1).map(Duration::from_micros)
    }

    /// What came since the last call; the task is woken when there is more.
    pub(super) fn collect(
        &self,
        waker: &Waker,
        opens: &mut Vec<Arc<Shared>>,
        touched: &mut Vec<Arc<Shared>>,
    ) {
        let mut mail = self.mail();
        opens.append(&mut mail.opens);
        touched.append(&mut mail.touched);
        if !mail.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            mail.waker = Some(waker.clone());
        }
    }

    /// Until when the session may take to end, once it was asked to.
    pub(super) fn leaving(&self) -> Option<Instant> {
        self.mail().leave.as_ref().map(|(_, until)| *until)
    }

    /// Why it was asked to end.
    pub(super) fn take_leave(&self) -> Option<SessionEnd> {
        self.mail().leave.take().map(|(end, _)| end)
    }

    pub(super) fn set_round_trip(&self, time: Option<Duration>) {
        let micros = time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1) + 1);
        self.round_trip_us.store(micros, Ordering::Relaxed);
    }

    /// Streams that the peer has opened count too.
    pub(super) fn entered(&self) {
        self.mail().streams += 1;
    }

    pub(super) fn left(&self) {
        self.mail().streams -= 1;
    }

    /// Nothing more is taken; what waited is returned, to be told.
    pub(super) fn close(&self) -> Vec<Arc<Shared>> {
        let mut mail = self.mail();
        mail.is_closed = true;
        mail.streams = 0;
        mail.touched.clear();
        std::mem::take(&mut mail.opens)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
