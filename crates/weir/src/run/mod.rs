//! The running gateway: workers, listeners, the published plane, reloads, the way out.

mod bound;
mod certificates;
mod compile;
mod gateway;
mod listeners;
mod process;
mod reload_stats;
mod tunnel;
mod worker;

pub(crate) use gateway::{Gateway, ListenerRow};
pub(crate) use process::{Rejected, Reloads, Source, WasRead, run};
