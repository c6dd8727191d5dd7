use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;

use super::Certificate;

/// Certificates by the names that they are for; immutable.
#[derive(Debug, Default)]
pub struct Table {
    /// By whole name.
    exact: HashMap<Box<str>, Slot>,
    /// By what stands behind `*.`.
    wildcard: HashMap<Box<str>, Slot>,
    /// For other names and for clients that say none.
    default: Slot,
    certificates: Vec<Arc<Certificate>>,
    shadows: Vec<Shadow>,
}

/// The certificates of a name, each of another kind of key, the cheapest to sign with first.
type Slot = Vec<Arc<Certificate>>;

/// A name that two certificates have and only one is served for.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// The first name of that kind.
    pub name: Box<str>,
    /// How many names more.
    pub more: usize,
    /// Whose is served.
    pub winner: Arc<Certificate>,
    /// Whose is not.
    pub loser: Arc<Certificate>,
}

impl Table {
    /// Arranges certificates; of two with a name and a kind of key in common the one that comes first is served. The
    /// first of all is the default.
    pub fn new(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let mut table = Self { certificates: certificates.into_iter().collect(), ..Self::default() };
        for certificate in &table.certificates {
            let mut lost: Option<Shadow> = None;
            for name in &certificate.names {
                let slot = match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.entry(parent.into()).or_default(),
                    None => table.exact.entry(name.clone()).or_default(),
                };
                match (enter(slot, certificate), &mut lost) {
                    (None, _) => {}
                    (Some(_), Some(lost)) => lost.more += 1,
                    (Some(winner), lost) => {
                        let loser = Arc::clone(certificate);
                        *lost = Some(Shadow { name: name.clone(), more: 0, winner, loser });
                    }
                }
            }
            table.shadows.extend(lost);
        }
        if let Some(first) = table.certificates.first() {
            let own = first.names.first().and_then(|name| table.slot(name));
            table.default =
                own.filter(|slot| holds(slot, first)).cloned().unwrap_or_else(|| vec![Arc::clone(first)]);
        }
        table
    }

    /// Every certificate, in the order of the configuration.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// Which certificates are not served for all of their names.
    pub fn shadows(&self) -> &[Shadow] {
        &self.shadows
    }

    /// The certificate for a server name, in lower case, of a client that takes any key; none where there are none.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        self.slot_or_default(name).first()
    }

    /// Whether a certificate is for that name, the default aside.
    pub fn covers(&self, name: &str) -> bool {
        self.slot(name).is_some()
    }

    /// The same for a client that takes signatures of these schemes. Two look-ups at most, and no allocation where a name
    /// has one certificate.
    pub(crate) fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        let slot = self.slot_or_default(name);
        let fits = |certificate: &&Arc<Certificate>| certificate.key().key.choose_scheme(schemes).is_some();
        match &slot[..] {
            [only] => Some(only),
            several => several.iter().find(fits).or(several.first()),
        }
    }

    fn slot_or_default(&self, name: Option<&str>) -> &Slot {
        name.and_then(|name| self.slot(name)).unwrap_or(&self.default)
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

/// Adds a certificate to those of a name; or says who has its place.
fn enter(slot: &mut Slot, certificate: &Arc<Certificate>) -> Option<Arc<Certificate>> {
    let kind = certificate.key().key.algorithm();
    if let Some(winner) = slot.iter().find(|other| other.key().key.algorithm() == kind) {
        return Some(Arc::clone(winner));
    }
    slot.push(Arc::clone(certificate));
    // RSA signatures cost several times as much as the others.
    slot.sort_by_key(|certificate| certificate.key().key.algorithm() == rustls::SignatureAlgorithm::RSA);
    None
}

fn holds(slot: &Slot, certificate: &Arc<Certificate>) -> bool {
    slot.iter().any(|other| Arc::ptr_eq(other, certificate))
}
