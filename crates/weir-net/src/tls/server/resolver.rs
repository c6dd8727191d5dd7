use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::certificates::Table;
use crate::tls::served;

/// The certificates of a listener, swapped whole.
#[derive(Debug)]
pub(super) struct Resolver(ArcSwap<Table>);

impl Resolver {
    pub(super) fn new(table: Arc<Table>) -> Self {
        Self(ArcSwap::new(table))
    }

    pub(super) fn publish(&self, table: Arc<Table>) {
        self.0.store(table);
    }

    pub(super) fn table(&self) -> Arc<Table> {
        self.0.load_full()
    }

    /// Looks into the table without a shared write.
    pub(super) fn with<R>(&self, look: impl FnOnce(&Table) -> R) -> R {
        look(&self.0.load())
    }
}

impl ResolvesServerCert for Resolver {
    /// rustls hands names over in lower case.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.with(|table| {
            let chosen = table.pick(hello.server_name(), hello.signature_schemes())?;
            served::put(Arc::clone(&chosen.label));
            Some(Arc::clone(chosen.key()))
        })
    }
}
