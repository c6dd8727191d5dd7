//! The running gateway: workers, listeners, the published plane, reloads, the way out.

mod gateway;
mod listeners;
mod process;
mod reload_stats;
mod worker;

pub use gateway::{Gateway, ReloadError, StartError};
pub use process::{Rejected, Reloads, Source, run};
