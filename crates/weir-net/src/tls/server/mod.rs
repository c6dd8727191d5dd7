mod plan;
mod resolver;
mod suites;
mod tally;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
pub use plan::ServerTlsPlan;
pub(super) use plan::Settings;
use resolver::Resolver;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
pub use tally::CertificateTally;

use super::certificates::{Certificate, Fault, Refused, Shelf, Table};
use super::client_auth::{ClientAuthMode, ClientRoots};

/// What a listener with TLS shakes hands by.
///
/// Certificates and client authorities are swapped while it runs; everything else is settled.
#[derive(Debug)]
pub struct ServerTls {
    settings: Settings,
    resolver: Arc<Resolver>,
    config: ArcSwap<ServerConfig>,
    /// Who vouches for clients; only the control side looks.
    roots: Mutex<Option<ClientRoots>>,
    tally: Arc<CertificateTally>,
}

/// What became of a [`ServerTls::refresh`].
#[derive(Debug, Default)]
pub struct Refresh {
    /// Certificates that are served from now on and were not before.
    pub renewed: Vec<Arc<Certificate>>,
    /// Certificates that are no longer served.
    pub dropped: usize,
    /// Whether other authorities vouch for clients.
    pub has_new_authorities: bool,
    /// What is broken, and kept as it was where it was good before.
    pub refused: Vec<Refused>,
    /// Why the authorities are what they were.
    pub authorities_refused: Option<Fault>,
}

impl ServerTls {
    /// Makes what runs. Where nothing but certificates differs from `previous`, that goes on, and the next
    /// [`refresh`](Self::refresh) brings them; tickets are taken over where clients are authenticated as before.
    pub fn compile(plan: &ServerTlsPlan, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let same_clients = previous.filter(|previous| {
            previous.settings.client_auth == plan.settings.client_auth && same(&previous.roots(), &plan.roots)
        });
        if let Some(same) = same_clients.filter(|previous| previous.settings == plan.settings) {
            return Arc::clone(same);
        }
        let resolver = Arc::new(Resolver::new(Arc::clone(&plan.table)));
        let tickets = match same_clients.filter(|previous| previous.settings.tickets) {
            Some(previous) if plan.settings.tickets => Some(Arc::clone(&previous.config().ticketer)),
            _ => plan.settings.tickets.then(tickets),
        };
        let config = config(&plan.settings, &resolver, plan.roots.as_ref(), tickets);
        Arc::new(Self {
            settings: plan.settings.clone(),
            resolver,
            config: ArcSwap::from_pointee(config),
            roots: Mutex::new(plan.roots.clone()),
            tally: previous.map(|previous| Arc::clone(&previous.tally)).unwrap_or_default(),
        })
    }

    /// What the next handshake goes by.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// How long a handshake may take.
    pub const fn handshake_timeout(&self) -> Duration {
        self.settings.handshake_timeout
    }

    /// Whether clients are asked for a certificate.
    pub fn asks_for_client(&self) -> bool {
        self.settings.client_auth.as_ref().is_some_and(|auth| auth.mode != ClientAuthMode::None)
    }

    /// Counts of what was renewed and refused.
    pub fn tally(&self) -> &CertificateTally {
        &self.tally
    }

    /// The certificates as they are served now.
    pub fn certificates(&self) -> Arc<Table> {
        self.resolver.table()
    }

    /// What the certificate for a server name is called, as far as names decide.
    pub fn certificate_label(&self, name: Option<&str>) -> Option<Arc<str>> {
        self.resolver.with(|table| table.find(name).map(|certificate| Arc::clone(&certificate.label)))
    }

    /// Reads again what has changed of its files, and serves it from then on. Blocks; changes nothing where all of it is
    /// broken.
    pub fn refresh(&self, shelf: &Shelf, now: SystemTime) -> Refresh {
        let loaded = shelf.load(&self.settings.sources, now);
        let mut refresh = Refresh { refused: loaded.refused, ..Refresh::default() };
        let before = self.resolver.table();
        let after: Vec<Arc<Certificate>> =
            loaded.certificates.into_iter().map(|(_, certificate)| certificate).collect();
        if after.is_empty() {
            // Whoever empties a folder must not lock every client out.
            if refresh.refused.is_empty() {
                refresh.refused.extend(self.settings.none_left());
            }
        } else if !is_same_list(before.certificates(), &after) {
            let is_in = |list: &[Arc<Certificate>], one: &Arc<Certificate>| {
                list.iter().any(|other| Arc::ptr_eq(other, one))
            };
            refresh.renewed =
                after.iter().filter(|one| !is_in(before.certificates(), one)).cloned().collect();
            self.tally.count_renewed(refresh.renewed.len());
            refresh.dropped = before.certificates().iter().filter(|one| !is_in(&after, one)).count();
            self.resolver.publish(Arc::new(Table::new(after)));
        }
        self.refresh_authorities(&mut refresh);
        refresh
    }

    /// Tickets of clients whom the former authorities vouched for are worth nothing then.
    fn refresh_authorities(&self, refresh: &mut Refresh) {
        let Some(auth) = &self.settings.client_auth else { return };
        match ClientRoots::read(&auth.ca) {
            Ok(read) => {
                let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
                if roots.as_ref().is_none_or(|known| !known.is_same(&read)) {
                    let tickets = self.settings.tickets.then(tickets);
                    self.config.store(Arc::new(config(&self.settings, &self.resolver, Some(&read), tickets)));
                    *roots = Some(read);
                    refresh.has_new_authorities = true;
                }
            }
            Err(fault) => refresh.authorities_refused = Some(fault),
        }
    }

    fn roots(&self) -> Option<ClientRoots> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn same(a: &Option<ClientRoots>, b: &Option<ClientRoots>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.is_same(b),
        (None, None) => true,
        _ => false,
    }
}

fn is_same_list(a: &[Arc<Certificate>], b: &[Arc<Certificate>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Keys that tickets are sealed with: renewed every six hours, and good for opening for six hours more.
fn tickets() -> Arc<dyn ProducesTickets> {
    Ticketer::new().expect("the system gives random bytes")
}

fn config(
    settings: &Settings,
    resolver: &Arc<Resolver>,
    roots: Option<&ClientRoots>,
    tickets: Option<Arc<dyn ProducesTickets>>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::clone(suites::ordered()))
        .with_protocol_versions(settings.versions.supported())
        .expect("the provider has suites for both versions");
    let builder = match (&settings.client_auth, roots) {
        (Some(auth), Some(roots)) if auth.mode != ClientAuthMode::None => {
            builder.with_client_cert_verifier(roots.verifier(auth.mode))
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(resolver) as _);
    // What scanners ask for; any of the suites would do.
    config.ignore_client_order = true;
    config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    // Sessions are remembered by the client, in tickets: no memory of ours, and no lock between workers.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Some(tickets) => config.ticketer = tickets,
        None => config.send_tls13_tickets = 0,
    }
    config
}
