//! Host and path matching: built once, looked up without allocating.
