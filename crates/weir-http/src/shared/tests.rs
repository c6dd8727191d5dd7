use std::future::poll_fn;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::UnixListener;
use weir_net::{ConnectionStats, WorkerShared};
use weir_task::Drain;
use weir_telemetry::{Log, Shard};
use weir_upstream::{Address, EndpointPlan, Target, Upstream, UpstreamPlan};

use super::*;

/// A worker that shares connections to one endpoint, which listens on a unix socket.
struct Bench {
    worker: Arc<Worker>,
    pool: SharedPool,
    opening: Opening,
    stats: Arc<HttpStats>,
    listener: StdListener,
    folder: tempfile::TempDir,
    _drain: Drain,
    _upstream: Arc<Upstream>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoint");
        let listener = StdListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut plan = UpstreamPlan::new("app");
        plan.endpoints.push(EndpointPlan::new(Target::Address(Address::Unix(path))));
        let upstream = Upstream::compile(plan, None, Instant::now());
        let opening = Opening {
            endpoint: Arc::clone(&upstream.endpoints()[0]),
            pool: PoolPlan::default(),
            connect_timeout: Duration::from_secs(5),
            header_bytes: 64 << 10,
        };
        let shared = WorkerShared::new(ConnectionStats::new(1), Log::discard());
        let now = tokio::time::Instant::now().into_std();
        let drain = Drain::default();
        let worker = Worker::new(shared, Shard(0), drain.signal(), now);
        tokio::spawn(Arc::clone(&worker).run());
        let (pool, stats) = (SharedPool::default(), HttpStats::new(1));
        Self { worker, pool, opening, stats, listener, folder, _drain: drain, _upstream: upstream }
    }

    fn shared(&self) -> Arc<Shared> {
        self.pool.of(&self.opening.endpoint, &self.opening.pool, &self.worker, &self.stats)
    }

    async fn place(&self) -> Result<(Place, SendRequest<Bytes>), Arc<OpenError>> {
        let mut waiting = self.shared().wait();
        poll_fn(|cx| waiting.poll(cx, &self.opening, Instant::now())).await
    }

    /// Sends a request and awaits the status of its answer.
    async fn get(&self) -> Result<u16, h2::Error> {
        let (_place, mut send) = self.place().await.unwrap();
        let request = Request::get("http://app/").body(()).unwrap();
        let (answer, _body) = send.send_request(request, true)?;
        Ok(answer.await?.status().as_u16())
    }

    /// Serves every connection; each request of the `n`th connection is given to `answer` with `n`.
    fn serve(
        &self,
        builder: h2::server::Builder,
        answer: impl Fn(usize, SendResponse<Bytes>) -> Option<h2::Reason> + Send + Sync + 'static,
    ) -> Arc<AtomicUsize> {
        let listener = UnixListener::from_std(self.listener.try_clone().unwrap()).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&connections), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let n = count.fetch_add(1, Ordering::Relaxed);
                let (builder, answer) = (builder.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((_, respond))) = connection.accept().await {
                        match answer(n, respond) {
                            None => {}
                            Some(h2::Reason::NO_ERROR) => connection.graceful_shutdown(),
                            Some(reason) => connection.abrupt_shutdown(reason),
                        }
                    }
                });
            }
        });
        connections
    }
}

fn ok(_: usize, mut respond: SendResponse<Bytes>) -> Option<h2::Reason> {
    respond.send_response(Response::new(()), true).unwrap();
    None
}

#[tokio::test]
async fn many_requests_at_once_share_one_connection() {
    let bench = Bench::new();
    let connections = bench.serve(h2::server::Builder::new(), ok);
    let gets: [_; 60] = std::array::from_fn(|_| bench.get());
    for get in futures(gets).await {
        assert_eq!(get.unwrap(), 200);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// Awaits all, at the same time.
async fn futures<T, const N: usize>(futures: [impl Future<Output = T>; N]) -> Vec<T> {
    let mut left: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        for (future, result) in &mut left {
            if result.is_none()
                && let Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *result = Some(done);
            }
        }
        if left.iter().all(|(_, result)| result.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    left.into_iter().filter_map(|(_, result)| result).collect()
}

#[tokio::test]
async fn a_peer_that_allows_one_stream_answers_everybody() {
    let bench = Bench::new();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let connections = bench.serve(builder, ok);
    let gets: [_; 30] = std::array::from_fn(|_| bench.get());
    for get in futures(gets).await {
        assert_eq!(get.unwrap(), 200);
    }
    assert!(connections.load(Ordering::Relaxed) <= 30);
}

#[tokio::test]
async fn after_a_goaway_another_connection_is_opened() {
    let bench = Bench::new();
    let connections = bench.serve(h2::server::Builder::new(), |n, respond| {
        ok(n, respond);
        Some(h2::Reason::NO_ERROR)
    });
    for n in 1..=5 {
        assert_eq!(bench.get().await.unwrap(), 200);
        // The GOAWAY stands behind the answer: it is read with it or soon after.
        while bench.stats.shared.went_away_count() < n {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn an_endpoint_that_refuses_fails_all_who_wait() {
    let mut bench = Bench::new();
    bench.listener = StdListener::bind(bench.folder.path().join("other")).unwrap();
    let places: [_; 20] = std::array::from_fn(|_| bench.place());
    for place in futures(places).await {
        assert!(matches!(&*place.unwrap_err(), OpenError::Dial(DialError::Failed(_))));
    }
}

#[tokio::test]
async fn a_request_given_up_leaves_the_connection_to_the_others() {
    let bench = Bench::new();
    let resets = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&resets);
    let connections = bench.serve(h2::server::Builder::new(), move |_, mut respond| {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
            assert_eq!(reason.unwrap(), h2::Reason::CANCEL);
            seen.fetch_add(1, Ordering::Relaxed);
        });
        None
    });
    for n in 0..3 {
        let (place, mut send) = bench.place().await.unwrap();
        let sent = send.send_request(Request::get("http://app/").body(()).unwrap(), true).unwrap();
        while place.sent_nothing() {
            tokio::task::yield_now().await;
        }
        drop((sent, place));
        while resets.load(Ordering::Relaxed) <= n {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// Goal: an endpoint that is gone without a word costs no more than a few requests. Method: a server that reads
/// nothing, and time that flies.
#[tokio::test(start_paused = true)]
async fn a_peer_that_gives_no_sign_of_life_is_given_up() {
    let bench = Bench::new();
    let (place, mut send) = bench.place().await.unwrap();
    let (answer, _body) = send.send_request(Request::get("http://app/").body(()).unwrap(), true).unwrap();
    place.doubt(Duration::ZERO);
    let error = answer.await.unwrap_err();
    assert!(error.is_io(), "{error}");
    drop(place);
    assert_eq!(bench.stats.shared.lost_count(), 1);
}
