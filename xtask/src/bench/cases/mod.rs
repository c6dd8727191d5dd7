//! One file for each kind of question.

pub(super) mod idle;
pub(super) mod load;
pub(super) mod routes;
pub(super) mod soak;
