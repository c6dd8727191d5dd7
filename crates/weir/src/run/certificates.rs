//! Certificates while the gateway runs: their files are watched, and what changes is served without a new revision.

mod patience;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use patience::Patience;
use weir_net::tls::certificates::{Certificate, Standing};
use weir_net::tls::{Digest, Refresh, ServerTlsPlan};
use weir_provider::Watch;
use weir_telemetry::{Level, Log, Value, date_time};

use super::gateway::Gateway;
use crate::plan::RootPlan;

/// How often certificates are looked at though nothing happened: OCSP answers run out, and ends come near.
const LOOK_PAUSE: Duration = Duration::from_secs(3_600);

/// Most events of one kind that one look tells of a listener; the last one counts the rest.
const TOLD_MAX: usize = 20;

/// Keeps the certificates of a running gateway up to date.
pub(super) struct Certificates {
    /// None where it is switched off, or where there is nothing to watch.
    watch: Option<Watch>,
    watched: Vec<PathBuf>,
    next_look: Instant,
    patience: Patience,
    /// What was last told of each certificate.
    standings: HashMap<(Arc<str>, Digest), Standing>,
    log: Log,
}

impl Certificates {
    /// Begins with the certificates of the first configuration.
    pub(super) fn new(plan: &RootPlan, log: &Log) -> Self {
        let mut certificates = Self {
            watch: None,
            watched: Vec::new(),
            next_look: Instant::now(),
            patience: Patience::default(),
            standings: HashMap::new(),
            log: log.clone(),
        };
        certificates.follow(plan);
        certificates
    }

    /// Watches the files that a configuration names.
    pub(super) fn follow(&mut self, plan: &RootPlan) {
        let tls = plan.listeners.values().filter_map(|listener| listener.tls.as_ref());
        let files: Vec<PathBuf> = tls.filter(|_| plan.watch).flat_map(ServerTlsPlan::files).collect();
        if files == self.watched {
            return;
        }
        self.watched.clone_from(&files);
        // What changed between the reading and the watching is told by the new watch.
        self.watch =
            (!files.is_empty()).then(|| Watch::start_touches(files, self.log.clone())).and_then(|started| {
                let tell = |error: &std::io::Error| {
                    self.log.event(Level::Warn, "watch_failed", &[("error", Value::Str(&error.to_string()))]);
                };
                started.inspect_err(tell).ok()
            });
    }

    /// Waits until certificates should be looked at.
    pub(super) async fn due(&self) {
        let touched = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = touched => {}
            () = tokio::time::sleep_until(self.next_look.into()) => {}
        }
    }

    /// Serves what has changed, and tells of it. What is broken is told at once where somebody asked, else once it has
    /// been so for a while: a certificate may be written before its key.
    pub(super) async fn look(&mut self, gateway: &Arc<Gateway>, is_asked: bool) {
        let refreshing = Arc::clone(gateway);
        let refreshed = tokio::task::spawn_blocking(move || refreshing.refresh_certificates()).await;
        let Ok(refreshed) = refreshed else { return };
        let (now, time) = (Instant::now(), SystemTime::now());
        self.patience.begin();
        for (listener, refresh) in &refreshed {
            self.tell_renewed(listener, refresh);
            self.tell_refused(gateway, listener, refresh, now, is_asked);
        }
        let again = self.patience.end();
        self.next_look = again.unwrap_or(now + LOOK_PAUSE).min(now + LOOK_PAUSE);
        self.tell_standings(gateway, time);
    }

    fn tell_renewed(&self, listener: &Arc<str>, refresh: &Refresh) {
        if refresh.has_new_authorities {
            self.log.event(Level::Info, "client_authorities_renewed", &[("listener", Value::Str(listener))]);
        }
        let Some(first) = refresh.renewed.first() else {
            if refresh.dropped > 0 {
                let fields =
                    [("listener", Value::Str(listener)), ("count", Value::U64(refresh.dropped as u64))];
                self.log.event(Level::Info, "certificates_dropped", &fields);
            }
            return;
        };
        let file = first.files.cert.display().to_string();
        let fields = [
            ("listener", Value::Str(listener)),
            ("count", Value::U64(refresh.renewed.len() as u64)),
            ("certificate", Value::Str(&first.label)),
            ("file", Value::Str(&file)),
            ("not_after", Value::Str(&date_time(first.not_after))),
        ];
        self.log.event(Level::Info, "certificates_renewed", &fields);
    }

    fn tell_refused(
        &mut self,
        gateway: &Gateway,
        listener: &Arc<str>,
        refresh: &Refresh,
        now: Instant,
        is_asked: bool,
    ) {
        let pairs = refresh.refused.iter().map(|refused| (refused.fault.to_string(), refused.is_kept));
        let authorities = refresh.authorities_refused.iter().map(|fault| (fault.to_string(), true));
        let mut told = 0;
        for (error, is_kept) in pairs.chain(authorities) {
            if !self.patience.is_to_be_told((listener, &error), now, is_asked) {
                continue;
            }
            told += 1;
            if let Some(tls) = gateway.tls().get(listener) {
                tls.tally().count_refused();
            }
            if told <= TOLD_MAX {
                let kept = if is_kept { "the former one" } else { "none" };
                let fields = [
                    ("listener", Value::Str(listener)),
                    ("error", Value::Str(&error)),
                    ("served", Value::Str(kept)),
                ];
                self.log.event(Level::Error, "certificate_refused", &fields);
            }
        }
        if told > TOLD_MAX {
            let fields = [("listener", Value::Str(listener)), ("more", Value::U64((told - TOLD_MAX) as u64))];
            self.log.event(Level::Error, "certificate_refused", &fields);
        }
    }

    /// Tells of certificates that have come near their end since the last look.
    fn tell_standings(&mut self, gateway: &Gateway, now: SystemTime) {
        let mut standings = HashMap::new();
        for (listener, tls) in gateway.tls() {
            let mut told = 0;
            for certificate in tls.certificates().certificates() {
                let standing = certificate.standing(now);
                if standing == Standing::Valid {
                    continue;
                }
                let key = (Arc::clone(&listener), certificate.fingerprint);
                let is_news = self.standings.get(&key) != Some(&standing);
                standings.insert(key, standing);
                if is_news && told < TOLD_MAX {
                    told += 1;
                    self.tell_standing(&listener, certificate, standing);
                }
            }
        }
        self.standings = standings;
    }

    fn tell_standing(&self, listener: &str, certificate: &Certificate, standing: Standing) {
        let file = certificate.files.cert.display().to_string();
        let fields = [
            ("listener", Value::Str(listener)),
            ("certificate", Value::Str(&certificate.label)),
            ("file", Value::Str(&file)),
            ("state", Value::Str(standing.as_str())),
            ("not_after", Value::Str(&date_time(certificate.not_after))),
        ];
        self.log.event(Level::Warn, "certificate_out_of_date", &fields);
    }
}
