//! Certificates of a listener: read from pairs of PEM files and from folders of such, found by server name.
//!
//! A [`Shelf`] reads them and keeps what it read, so that only what changed is read anew. A [`Table`] finds them: exact
//! names before wildcards before the default, without allocation. What is broken is left out, or what was good before is
//! kept; either way it is told with the file and the reason.
//!
//! Limits: [`PEM_BYTES_MAX`] a file, [`FOLDER_PAIRS_MAX`] pairs of a folder.

mod certificate;
mod chain;
mod fault;
mod file;
mod folder;
mod ocsp;
mod pem;
mod shelf;
mod table;
#[cfg(test)]
mod tests;

pub use certificate::{Certificate, PairFiles, Standing};
pub use fault::{Fault, Flaw};
pub use file::PEM_BYTES_MAX;
pub use folder::FOLDER_PAIRS_MAX;
pub(super) use pem::{certificates as bundle, read_bundle};
pub use shelf::{CertificateSource, Loaded, Refused, Shelf};
pub use table::{Shadow, Table};
