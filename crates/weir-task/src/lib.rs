//! Running things: one swap of an immutable snapshot, the drain signal, cheap deadlines.

mod deadline;
mod drain;
mod live;

pub use deadline::{Deadline, DeadlineWaker, Deadlines};
pub use drain::{Drain, DrainSignal, Phase};
pub use live::{Live, LiveCache, Snapshot};
