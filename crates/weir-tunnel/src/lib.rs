//! The tunnel: services behind NAT, without a public address, become endpoints like any other.
//!
//! An agent dials out to the relay and keeps a WebSocket; on it both ends speak yamux. A [`session`] is either end of
//! such a connection: one task that reads, writes and keeps time, and streams that are byte streams for everyone else.
//! The [`relay`] knows the agents and their sessions and opens streams to them.
//!
//! Bounded: sessions, streams of a session, what waits to be sent or read on a stream, windows of all sessions.

pub mod agent;
pub mod relay;
pub mod session;
