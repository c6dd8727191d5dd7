//! UDP sessions: who sent what, which endpoint answers it, and when it is over.

mod places;
mod table;
