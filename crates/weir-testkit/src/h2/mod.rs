//! HTTP/2 frame by frame: a client and a server that send what a test says and read strictly.

mod frame;
mod hpack;
mod origin;
mod raw;

pub use frame::{
    PREFACE, block, code, data, flag, frame, get, get_fields, goaway, headers, kind, ping, reset, setting,
    settings, window_update,
};
pub use origin::{H2Event, H2Origin, H2Peer, STATUS_200};
pub use raw::{Answer, Frame, H2Ending, RawH2};
