//! Words that every crate of Weir shares: sizes, durations, shares, error codes.
//!
//! Pure and without dependencies. Nothing here knows a protocol; each type is a value that cannot be
//! wrong once it is made, with the one spelling that configuration and messages use for it.

mod code;
mod duration;
mod origin;
mod percent;
mod size;

pub use code::ErrorCode;
pub use duration::{DurationError, format_duration, parse_duration};
pub use origin::{Origin, Retry};
pub use percent::{Percent, PercentError};
pub use size::{ByteSize, SizeError};
