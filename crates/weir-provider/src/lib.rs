//! Where configuration comes from: files, watched.
