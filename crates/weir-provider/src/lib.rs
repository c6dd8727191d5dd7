//! Where configuration comes from: files, read whole within a bound, and watched.
//!
//! [`FileReader`] reaches the file system for `weir-config`. [`Watch`] says when what it names has changed: the
//! folders are watched, because editors rename over a file and Kubernetes swaps a link above it, and a change
//! counts only when the bytes differ.

mod read;
mod seen;
mod watch;

pub use read::{FileReader, GLOB_MATCHES_MAX};
pub use seen::{RecordingReader, Seen};
pub use watch::{QUIET, QUIET_MAX, Watch};
