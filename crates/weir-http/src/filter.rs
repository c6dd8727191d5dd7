//! What stands between the source and the sink of a body and changes it as it passes.

use std::borrow::Cow;
use std::fmt;

use weir_wire::http1::Head;

/// Changes a body as it passes. Holds no more of it than its own documentation says.
pub(crate) trait BodyFilter: Send + Sync {
    /// Takes bytes of the body, and appends to `out` what comes of them and of what was kept before.
    ///
    /// # Errors
    ///
    /// [`FilterError`]: the body is cut.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError>;

    /// The source has nothing more at the moment: appends what was kept, as far as a reader can use it.
    ///
    /// # Errors
    ///
    /// [`FilterError`]: the body is cut.
    fn pause(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError>;

    /// The body is complete: appends the rest, and settles the trailers. Nothing is asked of the filter afterwards.
    ///
    /// # Errors
    ///
    /// [`FilterError`]: the body is cut.
    fn end(&mut self, trailers: &mut Head, out: &mut Vec<u8>) -> Result<(), FilterError>;
}

/// Why a body cannot pass, in words for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FilterError(pub(crate) Cow<'static, str>);

impl fmt::Debug for dyn BodyFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyFilter")
    }
}

/// Adds a filter behind those that are there.
pub(crate) fn add(filters: &mut Option<Box<dyn BodyFilter>>, filter: Box<dyn BodyFilter>) {
    *filters = Some(match filters.take() {
        None => filter,
        Some(first) => Box::new(Chain { first, second: filter, between: Vec::new() }),
    });
}

/// The whole of a body that is in memory.
pub(crate) fn whole(mut filter: Box<dyn BodyFilter>, body: &[u8]) -> Result<Vec<u8>, FilterError> {
    let mut out = Vec::new();
    filter.push(body, &mut out)?;
    filter.end(&mut Head::default(), &mut out)?;
    Ok(out)
}

/// Two filters, one behind the other.
struct Chain {
    first: Box<dyn BodyFilter>,
    second: Box<dyn BodyFilter>,
    /// Empty but while both work.
    between: Vec<u8>,
}

impl Chain {
    fn hand_over(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        let passed = if self.between.is_empty() { Ok(()) } else { self.second.push(&self.between, out) };
        self.between.clear();
        passed
    }
}

impl BodyFilter for Chain {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.first.push(bytes, &mut self.between)?;
        self.hand_over(out)
    }

    fn pause(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.first.pause(&mut self.between)?;
        self.hand_over(out)?;
        self.second.pause(out)
    }

    fn end(&mut self, trailers: &mut Head, out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.first.end(trailers, &mut self.between)?;
        self.hand_over(out)?;
        self.second.end(trailers, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps one byte back, and marks what passes.
    struct Mark(u8, Option<u8>);

    impl BodyFilter for Mark {
        fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
            for byte in bytes {
                out.extend(self.1.replace(*byte));
            }
            Ok(())
        }

        fn pause(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
            out.extend(self.1.take());
            out.push(self.0);
            Ok(())
        }

        fn end(&mut self, trailers: &mut Head, out: &mut Vec<u8>) -> Result<(), FilterError> {
            out.extend(self.1.take());
            trailers.append(b"x", &[self.0]);
            Ok(())
        }
    }

    #[test]
    fn filters_stand_behind_each_other() {
        let mut filters = None;
        add(&mut filters, Box::new(Mark(b'1', None)));
        add(&mut filters, Box::new(Mark(b'2', None)));
        let (mut filter, mut out, mut trailers) = (filters.unwrap(), Vec::new(), Head::default());
        filter.push(b"abc", &mut out).unwrap();
        assert_eq!(out, b"a");
        filter.pause(&mut out).unwrap();
        assert_eq!(out, b"abc12");
        filter.push(b"d", &mut out).unwrap();
        filter.end(&mut trailers, &mut out).unwrap();
        assert_eq!((&out[..], trailers.len()), (&b"abc12d"[..], 2));
    }
}
