//! TCP connections: where each one goes.

pub mod routes;
