//! Running things: drain signal, deadlines, snapshots that are swapped whole.
