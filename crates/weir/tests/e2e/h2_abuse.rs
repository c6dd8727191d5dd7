//! What every attack over HTTP/2 has in common: who is attacked, and what must hold afterwards.

use std::time::{Duration, Instant};

use weir_testkit::h2::{RawH2, code};
use weir_testkit::{After, Gateway, Origin, behaviour, wait};

use crate::Config;

/// A path whose requests the origin keeps until the gateway gives them up.
pub(crate) const HELD: &str = "/held";

/// A path that answers [`LARGE_BYTES`].
pub(crate) const LARGE: &str = "/large";

/// Length of the body of [`LARGE`].
pub(crate) const LARGE_BYTES: usize = 4 << 20;

/// CPU time that any one attack may cost, at most: the machine may be slow, and a debug build is.
const CPU_MAX: Duration = Duration::from_secs(3);

/// Memory that any one attack may cost, at most, in KiB.
const RSS_MAX_KIB: u64 = 24 << 10;

/// A gateway in front of an origin, and how it stood before it was attacked.
pub(crate) struct Victim {
    pub(crate) gateway: Gateway,
    pub(crate) origin: Origin,
    rss_kib: u64,
    fds: usize,
    cpu: Duration,
}

impl Victim {
    pub(crate) fn start() -> Self {
        Self::with(|config| config)
    }

    /// With more in its configuration.
    pub(crate) fn with(configure: impl Fn(Config) -> Config) -> Self {
        let origin = Origin::start_on_head(|request, connection| match request.target.as_str() {
            HELD => {
                connection.wait_for_close();
                After::Close
            }
            LARGE => {
                connection.respond(200, &[], vec![b'x'; LARGE_BYTES]);
                After::KeepOpen
            }
            _ => match connection.read_body(request) {
                Ok(()) => behaviour::echo_head(request, connection),
                Err(_) => After::Close,
            },
        });
        let gateway = configure(Config::to([origin.addr()])).start();
        assert_eq!(RawH2::connect(gateway.addr("web")).get("test", "/before").status, 200);
        let (rss_kib, fds, cpu) = (gateway.rss_kib(), gateway.open_fds(), gateway.cpu_time());
        Self { gateway, origin, rss_kib, fds, cpu }
    }

    /// An attacker's connection.
    pub(crate) fn attacker(&self) -> RawH2 {
        RawH2::connect(self.gateway.addr("web"))
    }

    /// As [`Victim::attacker`], with these SETTINGS.
    pub(crate) fn attacker_with(&self, settings: &[(u16, u32)]) -> RawH2 {
        RawH2::connect_with(self.gateway.addr("web"), settings)
    }

    /// How often connections were ended for `reason`.
    pub(crate) fn calmed(&self, reason: &str) -> f64 {
        self.gateway.metrics().sum("weir_h2_goaways_total", &[&format!("reason=\"{reason}\"")])
    }

    /// The attacker is told to calm down, for `reason`, which is counted.
    pub(crate) fn calms(&self, attacker: &mut RawH2, reason: &str) {
        self.ends(attacker, Some(code::ENHANCE_YOUR_CALM));
        let series = self.gateway.metrics().series;
        let goaways: Vec<_> = series.iter().filter(|(name, _)| name.contains("goaway")).collect();
        assert_eq!(self.calmed(reason), 1.0, "{goaways:?}");
    }

    /// The attacker's connection ends; a reset may have swallowed the GOAWAY that names the cause.
    pub(crate) fn ends(&self, attacker: &mut RawH2, code: Option<u32>) {
        let ending = attacker.ending(wait::PATIENCE).expect("the gateway ends the connection");
        assert!(ending.goaway.is_none() || code.is_none() || ending.goaway == code, "{ending:?}");
    }

    /// A fresh request is answered within a second; the machine may be busy, so three.
    pub(crate) fn serves(&self) {
        let started = Instant::now();
        assert_eq!(self.attacker().get("test", "/fine").status, 200);
        assert_eq!(self.gateway.get("/fine").status, 200);
        assert!(started.elapsed() < Duration::from_secs(3), "fresh requests took {:?}", started.elapsed());
    }

    /// What must hold after every attack: it serves, and memory, descriptors, CPU and the origin's work are back.
    pub(crate) fn recovers(&self) {
        self.serves();
        let spent = self.gateway.cpu_time() - self.cpu;
        assert!(spent <= CPU_MAX, "the attack cost {spent:?} of CPU");
        let grown = self.gateway.rss_kib().saturating_sub(self.rss_kib);
        assert!(grown <= RSS_MAX_KIB, "the attack cost {grown} KiB");
        // A few connections are kept for the next requests.
        wait::until_true("the origin's work to be given up", || self.origin.open_count() <= 8);
        wait::until_true("the streams to be over", || {
            self.gateway.metrics().sum("weir_h2_streams", &[]) <= 0.0
        });
        wait::until_true("the descriptors to be freed", || self.gateway.open_fds() <= self.fds + 8);
    }
}
