//! gRPC-Web: gRPC for browsers, which can read neither trailers nor, in the oldest of them, binary bodies.
//!
//! The messages of a body are those of gRPC; an answer's trailers become a last frame of its body ([`write_trailers`]),
//! and in text mode the whole is written in base64 ([`TextDecoder`], [`TextEncoder`]). Nothing here holds more than
//! the place in a frame or a quantum: bodies pass as they come. Source: `doc/PROTOCOL-WEB.md` of grpc.

mod content_type;
mod frames;
mod text;
mod trailers;

pub use content_type::{ContentType, Mode};
pub use frames::{FrameError, Frames, HEADER_BYTES};
pub use text::{TextDecoder, TextEncoder, TextError};
pub use trailers::{TRAILERS_FLAG, write_trailers};
