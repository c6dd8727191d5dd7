use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use weir_base::ErrorCode;
use weir_wire::http1::{
    Body, Chunk, ChunkedDecoder, HeadLimits, HeadScanner, Method, RequestError, RequestHead, ScanError,
    Target, Version, request_body,
};

use crate::answer::{Answer, Refusal};
use crate::guard::Denied;
use crate::handle::{HANDLE_TIMEOUT, WORKS_MAX, Work, handle, is_deep};
use crate::lockout::Failure;
use crate::places::Place;
use crate::resource::Resource;
use crate::source::Ends;
use crate::{Gateway, Guard, Stats};

/// Largest request head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most fields of a request.
const HEAD_FIELDS_MAX: usize = 64;

/// Longest wait for a whole head; a kept connection without a request ends after it too.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest request body.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest wait for a whole body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a client to read an answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a refused client to read its refusal and close.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// What is read and thrown away of a refused client before it is cut off.
const LINGER_BYTES_MAX: usize = 256 << 10;

const READ_BYTES: usize = 8 << 10;

/// What all connections share.
pub(crate) struct Service {
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) guard: Guard,
    /// One permit for each request that is worked on.
    pub(crate) works: Arc<Semaphore>,
    pub(crate) stats: Arc<Stats>,
}

/// Serves one connection to its end, or until its place is another's. `stopping` becomes true when no further request
/// is wanted.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    ends: Ends,
    place: Place,
    service: Arc<Service>,
    stopping: watch::Receiver<bool>,
) {
    let connection =
        Connection { stream, ends, place: &place, received: Vec::new(), head: RequestHead::default() };
    tokio::select! {
        biased;
        () = place.lost() => {}
        () = connection.serve(&service, stopping) => {}
    }
}

struct Connection<'p, S> {
    stream: S,
    ends: Ends,
    place: &'p Place,
    /// What was read and not used yet.
    received: Vec<u8>,
    head: RequestHead,
}

enum Next {
    Head,
    /// Nobody is there to answer.
    Gone,
    Refuse(Refusal),
}

/// The outcome of one request.
struct Answered {
    result: Result<Answer, Refusal>,
    /// Whether it is known where the next request starts.
    is_framed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    async fn serve(mut self, service: &Service, mut stopping: watch::Receiver<bool>) {
        loop {
            match self.next_head(&mut stopping).await {
                Next::Head => {}
                Next::Gone => return,
                Next::Refuse(refusal) => {
                    // What was parsed of it, or the request before, says nothing about this answer.
                    self.head = RequestHead::default();
                    return self.refuse(Answer::problem(&refusal, "")).await;
                }
            }
            let path = self.path();
            let Some(answered) = self.exchange(service).await else { return };
            let framed = answered.is_framed && self.head.is_persistent() && !*stopping.borrow();
            let answer = answered.result.unwrap_or_else(|refusal| Answer::problem(&refusal, &path));
            if !framed {
                return self.refuse(answer).await;
            }
            if self.write(answer, true).await.is_err() {
                return;
            }
            // The client has read its answer and is waited for anew.
            self.place.wait(now());
        }
    }

    /// Waits for a request's head.
    async fn next_head(&mut self, stopping: &mut watch::Receiver<bool>) -> Next {
        let begun = !self.received.is_empty();
        let reading = timeout(HEAD_TIMEOUT, self.read_head());
        let read = tokio::select! {
            read = reading => read,
            // A sender that is gone means the same.
            _ = stopping.wait_for(|&stopping| stopping), if !begun => return Next::Gone,
        };
        match read {
            Ok(Ok(true)) => Next::Head,
            Ok(Ok(false) | Err(HeadError::Io)) => Next::Gone,
            Ok(Err(HeadError::Refused(refusal))) => Next::Refuse(refusal),
            Err(_) if self.received.is_empty() => Next::Gone,
            Err(_) => Next::Refuse(Refusal::new(ErrorCode::RequestTimeout)),
        }
    }

    /// False where the client closed between requests.
    async fn read_head(&mut self) -> Result<bool, HeadError> {
        let limits = HeadLimits { bytes: HEAD_BYTES_MAX, fields: HEAD_FIELDS_MAX };
        let mut scanner = HeadScanner::default();
        let mut may_skip = true;
        loop {
            let skipped = if may_skip { HeadScanner::leading_empty_line(&self.received) } else { 0 };
            self.received.drain(..skipped);
            may_skip &= skipped == 0;
            // A lone CR may become the empty line.
            let is_undecided = may_skip && self.received == b"\r";
            let found = if is_undecided { None } else { scanner.scan(&self.received, limits.bytes)? };
            if let Some(length) = found {
                let parsed = self.head.parse(&self.received[..length], &limits);
                self.received.drain(..length);
                parsed?;
                return Ok(true);
            }
            match self.read_some().await {
                Ok(0) if self.received.is_empty() => return Ok(false),
                Ok(0) | Err(_) => return Err(HeadError::Io),
                Ok(_) => {}
            }
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        self.received.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.received).await
    }

    /// The path as written; what the parser let through is ASCII.
    fn path(&self) -> String {
        let path = match self.head.target() {
            Ok(Target::Origin { path, .. } | Target::Absolute { path, .. }) => path,
            Ok(Target::Authority(_) | Target::Asterisk) | Err(_) => self.head.target_bytes(),
        };
        String::from_utf8_lossy(path).into_owned()
    }

    /// One request from its checks to its answer. The order tells a stranger nothing: site, token, resource, body. None
    /// where the place was given to another before all of the request was here.
    async fn exchange(&mut self, service: &Service) -> Option<Answered> {
        let lost = |refusal| Some(Answered { result: Err(refusal), is_framed: false });
        let framing = match request_body(&self.head) {
            Ok(framing) => framing,
            Err(error) => return lost(Refusal::because(error.code(), error.to_string())),
        };
        let (resource, deep) = match self.admit(service) {
            Ok(admitted) => admitted,
            // A body that was not read stands where the next request should.
            Err(refusal) => {
                return Some(Answered { result: Err(refusal), is_framed: framing == Body::Empty });
            }
        };
        let body = match timeout(BODY_TIMEOUT, self.read_body(framing)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refusal)) => return lost(refusal),
            Err(_) => {
                return lost(Refusal::because(ErrorCode::RequestTimeout, "the body did not arrive in time"));
            }
        };
        let permit = match timeout(HANDLE_TIMEOUT, service.permit(&resource, deep)).await {
            Ok(permit) => permit,
            Err(_) => return lost(Refusal::new(ErrorCode::Overloaded).with_field("retry-after", "1")),
        };
        if !self.place.work() {
            return None;
        }
        let work = Work { gateway: Arc::clone(&service.gateway), permit };
        let result = handle(work, resource, &self.head, deep, &body).await;
        Some(Answered { result, is_framed: true })
    }

    fn admit(&self, service: &Service) -> Result<(Resource, bool), Refusal> {
        let (path, query) = match self.head.target() {
            Ok(Target::Origin { path, query } | Target::Absolute { path, query, .. }) => (path, query),
            Ok(Target::Authority(_) | Target::Asterisk) => (self.head.target_bytes(), None),
            Err(_) => return Err(Refusal::because(ErrorCode::BadRequest, "the request target is not valid")),
        };
        let path = String::from_utf8_lossy(path);
        service.guard.check_site(&self.head, self.ends.local)?;
        let resource = Resource::of(self.head.method(), &path);
        let deep = query.is_some_and(is_deep);
        // The deep view names the upstreams: it is no probe.
        if deep || !resource.as_ref().is_ok_and(Resource::is_probe) {
            let checked = service.guard.check_token(&self.head, self.ends, now());
            checked.map_err(|denied| service.deny(denied))?;
        }
        Ok((resource?, deep))
    }

    async fn read_body(&mut self, framing: Body) -> Result<Vec<u8>, Refusal> {
        let too_large = || Refusal::because(ErrorCode::BodyTooLarge, "the body is larger than 64 KiB");
        let length = match framing {
            Body::Empty | Body::UntilClose => return Ok(Vec::new()),
            Body::Length(length) => usize::try_from(length).ok().filter(|&length| length <= BODY_BYTES_MAX),
            Body::Chunked => {
                self.invite().await?;
                return self.read_chunks().await;
            }
        };
        let length = length.ok_or_else(too_large)?;
        if self.received.len() < length {
            self.invite().await?;
        }
        while self.received.len() < length {
            self.must_read().await?;
        }
        let rest = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// Tells a client that waits for it to go on with the body.
    async fn invite(&mut self) -> Result<(), Refusal> {
        if !self.head.expects_continue() {
            return Ok(());
        }
        let invited = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        invited.map_err(|_| Refusal::new(ErrorCode::ClientGone))
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut decoder = ChunkedDecoder::default();
        let mut body = Vec::new();
        loop {
            let step = decoder.next(&self.received);
            match step.map_err(|error| Refusal::because(ErrorCode::BadRequest, error.to_string()))? {
                Chunk::Data { start, end } => {
                    if body.len() + (end - start) > BODY_BYTES_MAX {
                        return Err(Refusal::because(
                            ErrorCode::BodyTooLarge,
                            "the body is larger than 64 KiB",
                        ));
                    }
                    body.extend_from_slice(&self.received[start..end]);
                    self.received.drain(..end);
                }
                Chunk::End { end } => {
                    self.received.drain(..end);
                    return Ok(body);
                }
                Chunk::More => {
                    self.received.clear();
                    self.must_read().await?;
                }
            }
        }
    }

    async fn must_read(&mut self) -> Result<(), Refusal> {
        match self.read_some().await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Refusal::new(ErrorCode::ClientGone)),
        }
    }

    async fn write(&mut self, answer: Answer, keep_alive: bool) -> io::Result<()> {
        let with_body = self.head.method() != Method::Head;
        let connection = match (keep_alive, self.head.version()) {
            (false, _) => Some("close"),
            // A client of 1.0 that asked to be kept must be told that it is (RFC 9112 section 9.3).
            (true, Version::Http10) => Some("keep-alive"),
            (true, Version::Http11 | Version::Http2) => None,
        };
        let bytes = answer.into_bytes(with_body, connection, SystemTime::now());
        self.place.hold(bytes.len(), now());
        let writing = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        timeout(WRITE_TIMEOUT, writing).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
    }

    /// Writes the last answer and closes, after the client has had time to read it: closing a socket with unread
    /// bytes resets it, and a reset takes the answer away.
    async fn refuse(&mut self, answer: Answer) {
        if self.write(answer, false).await.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        let draining = async {
            let mut left = LINGER_BYTES_MAX;
            while left > 0 {
                self.received.clear();
                match self.read_some().await {
                    Ok(count @ 1..) => left = left.saturating_sub(count),
                    Ok(0) | Err(_) => break,
                }
            }
        };
        let _cut_off = timeout(LINGER_TIMEOUT, draining).await;
    }
}

impl Service {
    pub(crate) fn new(gateway: Arc<dyn Gateway>, guard: Guard) -> Self {
        Self { gateway, guard, works: Arc::new(Semaphore::new(WORKS_MAX)), stats: Arc::default() }
    }

    /// The leave to work, which a probe does not need.
    async fn permit(&self, resource: &Resource, deep: bool) -> Option<OwnedSemaphorePermit> {
        if resource.is_probe() && !deep {
            return None;
        }
        let permit = Arc::clone(&self.works).acquire_owned().await;
        Some(permit.expect("nobody closes the semaphore"))
    }

    /// Counts and reports a request that is not let in.
    fn deny(&self, denied: Denied) -> Refusal {
        match &denied {
            Denied::NoToken => {}
            Denied::LockedOut { .. } => self.stats.locked_out.add(1),
            Denied::WrongToken(Failure { report, forgot }) => {
                self.stats.token_failures.add(1);
                self.stats.sources_forgotten.add(u64::from(*forgot));
                if let Some(report) = report {
                    self.gateway.token_refused(report);
                }
            }
        }
        denied.refusal()
    }
}

/// The runtime's clock, which tests may set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

enum HeadError {
    Io,
    Refused(Refusal),
}

impl From<ScanError> for HeadError {
    fn from(error: ScanError) -> Self {
        Self::Refused(Refusal::because(error.code(), error.to_string()))
    }
}

impl From<RequestError> for HeadError {
    fn from(error: RequestError) -> Self {
        Self::Refused(Refusal::because(error.code(), error.to_string()))
    }
}
