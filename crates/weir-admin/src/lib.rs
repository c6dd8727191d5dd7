//! The admin address: health, metrics, status, reload.
