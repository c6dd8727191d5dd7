use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use rustls_pki_types::ServerName;
use weir_net::tls::{Alpn, ClientTls};

use crate::tls_tally::TlsTally;
use crate::{HttpVersions, Spoken, TlsPlan, UpstreamPlan};

/// What the connections to an endpoint are known by that are made in one way. An endpoint that is spoken to in another
/// way from now on has another one, and keeps its own id, counters and health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(u32);

/// How connections to an endpoint are made; shared by all its selves that make them in the same way.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    /// No configuration wants connections that were made so: none is kept.
    unwanted: AtomicBool,
    /// What the last connection turned out to speak; 0 before the first.
    spoken: AtomicU8,
    http: HttpVersions,
    secured: Option<Secured>,
}

/// What connections by TLS need.
#[derive(Debug)]
pub(crate) struct Secured {
    plan: Arc<TlsPlan>,
    http: HttpVersions,
    /// Remembers sessions with this endpoint.
    pub(crate) tls: ClientTls,
    /// Whom the endpoint must prove to be.
    pub(crate) name: ServerName<'static>,
    pub(crate) tally: Arc<TlsTally>,
}

/// What the links of an upstream are made of.
pub(crate) struct Links {
    secured: Option<(Arc<TlsPlan>, ClientTls, Arc<TlsTally>)>,
    http: HttpVersions,
}

impl Links {
    pub(crate) fn new(plan: &UpstreamPlan, tally: &Arc<TlsTally>) -> Self {
        let secured = plan.tls.as_ref().map(|tls| {
            let client = ClientTls::new(&tls.client, plan.http.alpn());
            (Arc::clone(tls), client, Arc::clone(tally))
        });
        Self { secured, http: plan.http }
    }

    /// The link to an endpoint that must prove to be `name`: the one it had, where that is still right.
    pub(crate) fn link(&self, name: Option<ServerName<'static>>, before: Option<Arc<Link>>) -> Arc<Link> {
        let secured = self.secured.as_ref().zip(name);
        let is_right = |link: &Link| {
            let is_secured_so = match (&link.secured, &secured) {
                (None, None) => true,
                (Some(had), Some(((plan, ..), name))) => had.name == *name && had.plan == *plan,
                (Some(_), None) | (None, Some(_)) => false,
            };
            link.http == self.http && is_secured_so
        };
        if let Some(link) = before.filter(|link| is_right(link)) {
            return link;
        }
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        Arc::new(Link {
            id: LinkId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            unwanted: AtomicBool::new(false),
            spoken: AtomicU8::new(0),
            http: self.http,
            secured: secured.map(|((plan, tls, tally), name)| Secured {
                plan: Arc::clone(plan),
                http: self.http,
                tls: tls.for_another(),
                name,
                tally: Arc::clone(tally),
            }),
        })
    }
}

impl Secured {
    /// Whether the upstream's version of HTTP is spoken where this was agreed on. Servers of HTTP/1.1 often agree on
    /// nothing.
    pub(crate) const fn speaks(&self, agreed: Option<Alpn>) -> bool {
        matches!(
            (self.http, agreed),
            (HttpVersions::Auto | HttpVersions::Http11, None | Some(Alpn::Http11))
                | (HttpVersions::Auto | HttpVersions::Http2, Some(Alpn::H2))
        )
    }
}

impl Link {
    pub(crate) const fn id(&self) -> LinkId {
        self.id
    }

    /// The version of HTTP that is spoken on it.
    pub(crate) const fn http(&self) -> HttpVersions {
        self.http
    }

    pub(crate) const fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    pub(crate) fn set_unwanted(&self, unwanted: bool) {
        self.unwanted.store(unwanted, Ordering::Relaxed);
    }

    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_spoken(&self, spoken: Spoken) {
        self.spoken.store(spoken as u8, Ordering::Relaxed);
    }

    pub(crate) fn spoken(&self) -> Option<Spoken> {
        match self.spoken.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Spoken::Http11),
            _ => Some(Spoken::Http2),
        }
    }
}
