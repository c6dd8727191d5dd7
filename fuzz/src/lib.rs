//! One function for each fuzz target: any bytes in, a panic for each broken promise.
//!
//! The same functions run under libFuzzer (`fuzz_targets/`) and, over the kept corpus and bounded mutations of it, in
//! `tests/corpus.rs` on the stable toolchain.

mod chunked;
mod config;
mod differential;
mod grpc_health;
mod grpc_web;
mod h2_meter;
mod hello;
mod message;
mod normal;
mod proxy_protocol;
mod route;
mod websocket;
mod yamux;

pub use chunked::http1_chunked;
pub use config::config;
pub use differential::http1_differential;
pub use grpc_health::grpc_health;
pub use grpc_web::grpc_web;
pub use h2_meter::h2_meter;
pub use hello::client_hello;
pub use message::{http1_request, http1_response};
pub use normal::{host, normalize_path};
pub use proxy_protocol::proxy_protocol;
pub use route::route_match;
pub use websocket::websocket;
pub use yamux::yamux;

/// A target: its name, which is also its corpus folder's, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 15] = [
    ("client_hello", client_hello),
    ("config", config),
    ("grpc_health", grpc_health),
    ("grpc_web", grpc_web),
    ("h2_meter", h2_meter),
    ("host", host),
    ("http1_chunked", http1_chunked),
    ("http1_differential", http1_differential),
    ("http1_request", http1_request),
    ("http1_response", http1_response),
    ("normalize_path", normalize_path),
    ("proxy_protocol", proxy_protocol),
    ("route_match", route_match),
    ("websocket", websocket),
    ("yamux", yamux),
];

/// The whole of a target's program: libFuzzer's entry, or without it one run over each file that is named.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_fuzz::$name(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for file in std::env::args_os().skip(1) {
                weir_fuzz::$name(&std::fs::read(file)?);
            }
            Ok(())
        }
    };
}
