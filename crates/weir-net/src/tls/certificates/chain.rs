use std::collections::HashSet;
use std::sync::OnceLock;

use x509_parser::certificate::X509Certificate;

use super::Flaw;
use crate::tls::{name, system_roots};

/// What is wrong with a chain, as far as the names in it tell.
pub(super) fn flaws(chain: &[X509Certificate<'_>]) -> Vec<Flaw> {
    let follows = |pair: &[X509Certificate<'_>]| pair[0].issuer().as_raw() == pair[1].subject().as_raw();
    if let Some(at) = chain.windows(2).position(|pair| !follows(pair)) {
        return vec![Flaw::ChainOrder { place: at + 1 }];
    }
    let last = chain.last().expect("a chain has at least one certificate");
    let is_root = last.issuer().as_raw() == last.subject().as_raw();
    match is_root || is_known_root(last.issuer().as_raw()) {
        true => Vec::new(),
        false => vec![Flaw::ChainIncomplete { issuer: name::distinguished(last.issuer()) }],
    }
}

/// Whether a certificate of that subject is among the system's roots; yes where the system has none.
fn is_known_root(subject: &[u8]) -> bool {
    static ROOTS: OnceLock<HashSet<Vec<u8>>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let subjects = system_roots().map(|roots| roots.subjects()).unwrap_or_default();
        subjects.iter().map(|subject| subject.as_ref().to_vec()).collect()
    });
    roots.is_empty() || roots.contains(subject)
}
