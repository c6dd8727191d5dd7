//! The stream plane: TCP connections and UDP sessions, relayed to endpoints without looking inside.

pub mod tcp;
