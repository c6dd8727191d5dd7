//! HTTP/1.1 messages: heads, framing, chunked bodies, for the server side and the client side.
//!
//! What is ambiguous is refused, not repaired: a gateway that guesses differently from the server behind
//! it lets one request be read as two. A head is copied once into an owned [`Head`], so that the bytes
//! that follow it stay where they were read.

mod ascii;
mod chunked;
mod field;
mod framing;
mod head;
mod method;
mod request;
mod response;
mod scan;
mod trailer;
mod upgrade;

pub use ascii::{decimal, is_field_value, is_token, list_items, trim_ows};
pub use chunked::{
    CHUNK_LINE_MAX, Chunk, ChunkError, ChunkedDecoder, EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX,
    TRAILER_FIELDS_MAX, encode_chunk_line,
};
pub use field::Known;
pub use framing::{Body, FramingError, request_body, response_body};
pub use head::{Head, HeadFields};
pub use method::Method;
pub use request::{RequestError, RequestHead, Target};
pub use response::{ResponseError, ResponseHead};
pub use scan::{HeadScanner, ScanError};
pub use upgrade::{WebSocketKeyError, websocket_key};

/// The version of a message. Others are refused before a head is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`: no chunked bodies, no 1xx, one request unless kept alive by request.
    Http10,
    /// `HTTP/1.1`.
    Http11,
    /// `HTTP/2`: a head that came as frames; it never stands in a start line.
    Http2,
}

impl Version {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Bounds of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Longest start line plus field block in bytes.
    pub bytes: usize,
    /// Most field lines.
    pub fields: usize,
}

impl Default for HeadLimits {
    /// 64 KiB and 128 fields: the defaults of `limits`.
    fn default() -> Self {
        Self { bytes: 64 << 10, fields: 128 }
    }
}
