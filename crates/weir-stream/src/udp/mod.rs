//! UDP sessions: who sent what, which endpoint answers it, and when it is over.
//!
//! A session begins with a client's datagram, an empty one too (RFC 868 asks the time with one), and has a socket of its
//! own to its endpoint, so that what others send there reaches nobody and a refusal is told.

mod places;
mod plan;
mod serve;
mod session;
mod sessions;
mod state;
mod stats;
mod table;

pub use plan::UdpPlan;
pub use serve::{UdpServing, UdpSettings};
pub use sessions::{EndedSession, UdpEvents};
pub use state::UdpState;
pub use stats::{DropReason, EndReason, UdpTallies};
