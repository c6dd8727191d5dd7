use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;

/// The system has no authorities that could be trusted.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("the system's certificate authorities cannot be read: {0}")]
pub struct NoRoots(String);

/// The authorities that the system trusts: those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where one of them is set, else
/// those of the distribution.
///
/// Read from files the first time, some 10 ms and half a megabyte, and kept for the life of the process; not for workers.
///
/// # Errors
///
/// [`NoRoots`] where none can be read; the next call tries again.
pub fn system_roots() -> Result<Arc<RootCertStore>, NoRoots> {
    static ROOTS: Mutex<Option<Arc<RootCertStore>>> = Mutex::new(None);
    let mut roots = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(roots) = &*roots {
        return Ok(Arc::clone(roots));
    }
    let read = Arc::new(read()?);
    *roots = Some(Arc::clone(&read));
    Ok(read)
}

fn read() -> Result<RootCertStore, NoRoots> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Distributions keep some that are too old or too odd for a modern verifier.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    Err(NoRoots(match found.errors.first() {
        Some(error) => error.to_string(),
        None => "there are none".to_owned(),
    }))
}
