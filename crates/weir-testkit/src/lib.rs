//! For tests only: fake upstreams, raw clients, the real binary under test.
