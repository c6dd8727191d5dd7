use std::sync::{Arc, OnceLock};

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

use crate::tls::provider;

/// The suites in the order that servers choose by: that of Mozilla's intermediate configuration, the cheapest first.
const ORDER: [CipherSuite; 9] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The cryptography of the process with the suites in our order.
pub(super) fn ordered() -> &'static Arc<CryptoProvider> {
    static ORDERED: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    ORDERED.get_or_init(|| {
        let mut ordered = CryptoProvider::clone(provider());
        let place = |suite: CipherSuite| ORDER.iter().position(|known| *known == suite);
        ordered.cipher_suites.retain(|suite| place(suite.suite()).is_some());
        ordered.cipher_suites.sort_by_key(|suite| place(suite.suite()));
        Arc::new(ordered)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_there_in_its_order() {
        let suites: Vec<_> =
            ordered().cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect();
        assert_eq!(suites, ORDER);
    }
}
