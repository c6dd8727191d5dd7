//! HTTP/2 frame by frame: a client and a server that send what a test says and read strictly.

mod frame;
mod hpack;
mod raw;

pub use frame::{
    PREFACE, block, code, data, flag, frame, get, get_fields, goaway, headers, kind, ping, reset, setting,
    settings, window_update,
};
pub use raw::{Answer, Frame, H2Ending, RawH2};
