use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Counter;
use crate::chunk::Chunk;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file, made with mode 0640 where it is missing.
    File(PathBuf),
}

impl Sink {
    /// Whether lines can be written there, as far as opening it tells; makes the file where it is missing.
    ///
    /// # Errors
    ///
    /// What is in the way; it names the file.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self {
            // To open a pipe is to wait for its reader.
            Self::File(path) if path.metadata().is_ok_and(|file| file.file_type().is_fifo()) => Ok(()),
            sink => sink.open().map(drop).map_err(|error| sink.named(&error)),
        }
    }

    fn open(&self) -> io::Result<Option<File>> {
        Ok(match self {
            Self::Off => None,
            Self::Stdout => Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            Self::Stderr => Some(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
            Self::File(path) => Some(OpenOptions::new().append(true).create(true).mode(0o640).open(path)?),
        })
    }

    /// The same error, with the name of the file.
    fn named(&self, error: &io::Error) -> io::Error {
        let name = match self {
            Self::Off => "off",
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
            Self::File(path) => return io::Error::new(error.kind(), format!("{}: {error}", path.display())),
        };
        io::Error::new(error.kind(), format!("{name}: {error}"))
    }
}

/// A failing sink is reported once in this time.
const REPORT_PAUSE: Duration = Duration::from_secs(60);

/// Pause before another try where a descriptor shared with others is in non-blocking mode and full.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Emptied buffers that are kept to be filled again: more are in use only while the sink stalls, and what that took is
/// given back.
const SPARE_BUFFERS_MAX: usize = 16;

/// Tries before lines are given up: half a second.
const BUSY_TRIES_MAX: u32 = 100;

enum Message {
    Chunk(Chunk),
    /// Look at the sink again.
    Wake,
    Flush(SyncSender<()>),
}

/// The one thread that writes to a sink. Nobody who hands it lines ever waits for it.
pub(crate) struct Writer {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    sink: Mutex<Sink>,
    /// The sink must be opened (again) before the next line.
    stale: AtomicBool,
    /// Emptied buffers, to be filled again.
    spare: Mutex<Vec<Chunk>>,
    written: Counter,
    dropped: Counter,
    failures: Counter,
}

/// What becomes of a failure: told once a minute.
pub(crate) type Report = Box<dyn FnMut(&io::Error, u64) + Send>;

impl Writer {
    /// Starts the thread; `chunks_max` chunks may wait for it.
    pub(crate) fn start(name: &str, sink: Sink, chunks_max: usize, report: Report) -> io::Result<Self> {
        let (queue, chunks) = sync_channel(chunks_max);
        let shared = Shared::new(sink);
        let output = Output::new(Arc::clone(&shared), report);
        thread::Builder::new().name(name.to_owned()).spawn(move || output.run(&chunks))?;
        Ok(Self { queue, shared })
    }

    /// Hands over lines and returns an empty buffer. Where the queue is full the lines are dropped and counted.
    pub(crate) fn write(&self, chunk: Chunk) -> Chunk {
        let refused = match self.queue.try_send(Message::Chunk(chunk)) {
            Ok(()) => return lock(&self.shared.spare).pop().unwrap_or_default(),
            Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => refused,
        };
        let Message::Chunk(chunk) = refused else { return Chunk::default() };
        self.shared.dropped.add(chunk.lines());
        chunk.emptied()
    }

    /// Lines that come to be written from now on go to `sink`.
    pub(crate) fn set_sink(&self, sink: Sink) {
        *lock(&self.shared.sink) = sink;
        self.reopen();
    }

    /// Opens the sink anew before the next line.
    pub(crate) fn reopen(&self) {
        self.shared.stale.store(true, Ordering::Release);
        // A full queue wakes the writer just as well.
        let _ = self.queue.try_send(Message::Wake);
    }

    /// Waits until all that was handed over is written; `false` where that took longer than `limit`.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(_) => return false,
            }
            thread::sleep(BUSY_PAUSE);
        }
        wait.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
    }

    pub(crate) fn written(&self) -> u64 {
        self.shared.written.get()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.get()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures.get()
    }
}

impl Shared {
    fn new(sink: Sink) -> Arc<Self> {
        Arc::new(Self {
            sink: Mutex::new(sink),
            stale: AtomicBool::new(true),
            spare: Mutex::new(Vec::with_capacity(SPARE_BUFFERS_MAX)),
            written: Counter::default(),
            dropped: Counter::default(),
            failures: Counter::default(),
        })
    }
}

struct Output {
    shared: Arc<Shared>,
    file: Option<File>,
    /// The last write ended inside a line.
    torn: bool,
    report: Report,
    silent_until: Option<Instant>,
}

impl Output {
    fn new(shared: Arc<Shared>, report: Report) -> Self {
        Self { shared, file: None, torn: false, report, silent_until: None }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        // Before there is anything to write: later there may be no descriptor left.
        self.refresh();
        while let Ok(message) = messages.recv() {
            self.refresh();
            match message {
                Message::Chunk(chunk) => self.write(chunk, Instant::now()),
                Message::Wake => {}
                Message::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    /// Opens the sink where that was asked for: at once, so that a rotated file is let go although nothing is written.
    fn refresh(&mut self) {
        if self.shared.stale.swap(false, Ordering::AcqRel) {
            self.file = None;
            self.torn = false;
            let opened = self.open();
            self.judge(opened, Instant::now());
        }
    }

    fn write(&mut self, chunk: Chunk, now: Instant) {
        let (lines, result) = match self.open() {
            Ok(()) => self.write_lines(&chunk),
            Err(error) => (0, Err(error)),
        };
        self.shared.written.add(lines);
        self.shared.dropped.add(chunk.lines().saturating_sub(lines));
        self.judge(result, now);
        let mut spare = lock(&self.shared.spare);
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(chunk.emptied());
        }
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let sink = lock(&self.shared.sink).clone();
            self.file = sink.open()?;
        }
        Ok(())
    }

    /// How many lines were written whole, and why not all.
    fn write_lines(&mut self, chunk: &Chunk) -> (u64, io::Result<()>) {
        let Some(file) = &mut self.file else { return (chunk.lines(), Ok(())) };
        if self.torn {
            match file.write(b"\n") {
                Ok(1) => self.torn = false,
                Ok(_) => return (0, Err(io::ErrorKind::WriteZero.into())),
                Err(error) => return (0, Err(error)),
            }
        }
        let (done, result) = write_bounded(file, chunk.bytes());
        if result.is_ok() {
            return (chunk.lines(), result);
        }
        self.torn = done > 0 && chunk.bytes()[done - 1] != b'\n';
        (memchr::memchr_iter(b'\n', &chunk.bytes()[..done]).count() as u64, result)
    }

    /// Counts a failure, and tells it unless another was told less than [`REPORT_PAUSE`] ago.
    fn judge(&mut self, result: io::Result<()>, now: Instant) {
        let Err(error) = result else { return };
        self.shared.failures.add(1);
        if self.silent_until.is_none_or(|until| now >= until) {
            self.silent_until = Some(now + REPORT_PAUSE);
            let error = lock(&self.shared.sink).named(&error);
            (self.report)(&error, self.shared.dropped.get());
        }
    }
}

/// Bytes written before the end or the failure.
fn write_bounded(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let (mut done, mut tries) = (0, 0);
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => (done, tries) = (done + count, 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < BUSY_TRIES_MAX => {
                tries += 1;
                thread::sleep(BUSY_PAUSE);
            }
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::mpsc::channel;

    const LIMIT: Duration = Duration::from_secs(20);

    fn chunk(text: &str) -> Chunk {
        text.into()
    }

    #[test]
    fn a_file_is_appended_to_and_private_to_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "before\n").unwrap();
        fs::remove_file(&path).unwrap();
        let writer = Writer::start("w", Sink::File(path.clone()), 8, Box::new(|_, _| {})).unwrap();
        writer.write(chunk("a\n"));
        writer.write(chunk("b\nc\n"));
        assert!(writer.flush(LIMIT));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        assert_eq!((writer.written(), writer.dropped()), (3, 0));
    }

    #[test]
    fn a_moved_file_is_let_go_on_reopen() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let writer = Writer::start("w", Sink::File(path.clone()), 8, Box::new(|_, _| {})).unwrap();
        writer.write(chunk("old\n"));
        assert!(writer.flush(LIMIT));
        fs::rename(&path, &moved).unwrap();
        writer.reopen();
        writer.write(chunk("new\n"));
        assert!(writer.flush(LIMIT));
        assert_eq!(fs::read_to_string(&moved).unwrap(), "old\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }

    #[test]
    fn a_failure_that_lasts_is_told_once_a_minute_with_the_lines_lost() {
        let (told, reports) = channel();
        let report = move |_: &io::Error, dropped| told.send(dropped).unwrap();
        let mut output = Output::new(Shared::new(Sink::File("/dev/full".into())), Box::new(report));
        let start = Instant::now();
        for second in 0..=120 {
            output.write(chunk("a\nb\n"), start + Duration::from_secs(second));
        }
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), [2, 122, 242]);
        assert_eq!((output.shared.dropped.get(), output.shared.failures.get()), (242, 121));
    }

    #[test]
    fn a_full_queue_drops_whole_buffers_counts_their_lines_and_never_waits() {
        let (told, reports) = channel();
        let (go_on, may_go_on) = channel::<()>();
        // The writer stands in its first report until it may go on.
        let report = move |_: &io::Error, _| {
            told.send(()).unwrap();
            let _ = may_go_on.recv();
        };
        let writer = Writer::start("w", Sink::File("/dev/full".into()), 3, Box::new(report)).unwrap();
        writer.write(chunk("first\n"));
        reports.recv_timeout(LIMIT).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for text in ["a\nb\n", "c\n", "d\n"] {
            writer.write(chunk(text));
        }
        assert_eq!(writer.dropped(), 1, "the queue holds three");
        for text in ["e\nf\ng\n", "h\n"] {
            let buffer = writer.write(chunk(text));
            assert!(buffer.is_empty() && buffer.room() > 0, "the buffer comes back, emptied");
        }
        assert_eq!(writer.dropped(), 1 + 3 + 1);
        writer.set_sink(Sink::File(path.clone()));
        drop(go_on);
        assert!(writer.flush(LIMIT));
        assert_eq!(fs::read_to_string(path).unwrap(), "a\nb\nc\nd\n");
        assert_eq!((writer.written(), writer.dropped()), (4, 5));
    }

    #[test]
    fn a_reader_that_went_away_costs_lines_and_no_more() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
        let writer = Writer::start("w", Sink::File(path.into()), 8, Box::new(|_, _| {})).unwrap();
        writer.write(chunk("seen\n"));
        assert!(writer.flush(LIMIT));
        let mut seen = [0; 5];
        io::Read::read_exact(&mut reader, &mut seen).unwrap();
        assert_eq!(&seen, b"seen\n");
        drop(reader);
        for _ in 0..3 {
            writer.write(chunk("lost\nlost\n"));
        }
        assert!(writer.flush(LIMIT));
        assert_eq!((writer.written(), writer.dropped(), writer.failures()), (1, 6, 3));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        writer.set_sink(Sink::File(path.clone()));
        writer.write(chunk("again\n"));
        assert!(writer.flush(LIMIT));
        assert_eq!(fs::read_to_string(path).unwrap(), "again\n");
    }

    #[test]
    fn a_full_disk_costs_lines_is_told_once_and_ends_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (told, reports) = channel();
        let report = move |error: &io::Error, _| told.send(error.kind()).unwrap();
        let writer = Writer::start("w", Sink::File("/dev/full".into()), 8, Box::new(report)).unwrap();
        writer.write(chunk("a\nb\n"));
        writer.write(chunk("c\n"));
        assert!(writer.flush(LIMIT));
        assert_eq!((writer.written(), writer.dropped(), writer.failures()), (0, 3, 2));
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), [io::ErrorKind::StorageFull]);
        let path = folder.path().join("log");
        writer.set_sink(Sink::File(path.clone()));
        writer.write(chunk("d\n"));
        assert!(writer.flush(LIMIT));
        assert_eq!(fs::read_to_string(path).unwrap(), "d\n");
    }

    #[test]
    fn a_sink_that_cannot_be_opened_is_tried_again_with_the_next_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("log");
        let writer = Writer::start("w", Sink::File(path.clone()), 8, Box::new(|_, _| {})).unwrap();
        writer.write(chunk("a\n"));
        assert!(writer.flush(LIMIT));
        fs::create_dir(path.parent().unwrap()).unwrap();
        writer.write(chunk("b\n"));
        assert!(writer.flush(LIMIT));
        assert_eq!(fs::read_to_string(path).unwrap(), "b\n");
        assert_eq!((writer.written(), writer.dropped()), (1, 1));
    }
}
