//! UDP sessions: who sent what, which endpoint answers it, and when it is over.
//!
//! A session begins with a client's datagram, an empty one too (RFC 868 asks the time with one), and has a socket of its
//! own to its endpoint, so that what others send there reaches nobody and a refusal is told.
//!
//! [`serve`] waits, [`Sessions`](sessions::Sessions) moves datagrams, [`Table`](table::Table) keeps order.

mod cooling;
mod lines;
mod places;
mod rules;
mod serve;
mod session;
mod sessions;
mod share;
mod stats;
mod table;

pub(crate) use cooling::sessions_beside;
pub(crate) use places::Places;
pub use serve::serve;
pub(crate) use share::share;
pub(crate) use stats::{DropReason, UdpTallies};
