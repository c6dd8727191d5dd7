use std::borrow::Cow;
use std::io::{Result, Write};

use weir_wire::http1::Head;
use zstd::zstd_safe::CParameter;

use super::places::Place;
use super::{Coding, Levels};
use crate::filter::{BodyFilter, FilterError};

/// Largest window of zstd, as a power of two: 256 KiB. With its tables an encoder has at most 1.7 MiB.
const ZSTD_WINDOW_LOG: u32 = 18;

/// Largest tables of zstd, in entries of four bytes: without this, higher levels would have 11 MiB.
const ZSTD_TABLE_LOG: u32 = 17;

/// Largest window of brotli, as a power of two: 128 KiB. With its tables an encoder of level 4 has 3 MiB, of level 6
/// 4.7 MiB.
const BROTLI_WINDOW_LOG: u32 = 17;

/// From this level on brotli needs 18 MiB for windows that are smaller.
const BROTLI_WIDE_LEVEL: u32 = 5;

/// What brotli writes at once.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// Encodes a body as it passes; what the coding keeps back comes out at pauses and at the end.
pub(super) struct Encoder {
    /// None behind the end.
    kind: Option<Kind>,
    /// Its place among those that encode at the same time.
    _place: Place,
}

enum Kind {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// An encoder for a body of this length, where it is known.
    ///
    /// # Errors
    ///
    /// Where the library has no memory for it.
    pub(super) fn new(coding: Coding, levels: Levels, length: Option<u64>, place: Place) -> Result<Self> {
        let kind = match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), levels.zstd)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                if length.is_none_or(|length| length >> ZSTD_TABLE_LOG > 0) {
                    encoder.set_parameter(CParameter::HashLog(ZSTD_TABLE_LOG))?;
                    encoder.set_parameter(CParameter::ChainLog(ZSTD_TABLE_LOG))?;
                }
                // What is short needs smaller tables, which cost time to clear.
                encoder.set_pledged_src_size(length)?;
                Kind::Zstd(encoder)
            }
            Coding::Brotli => {
                // A window that is larger than the body would cost memory only.
                let bits = match length.filter(|_| levels.brotli < BROTLI_WIDE_LEVEL) {
                    Some(length) => (u64::BITS - length.leading_zeros()).clamp(10, BROTLI_WINDOW_LOG),
                    None => BROTLI_WINDOW_LOG,
                };
                let writer =
                    brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, levels.brotli, bits);
                Kind::Brotli(Box::new(writer))
            }
            Coding::Gzip => {
                let level = flate2::Compression::new(levels.gzip);
                Kind::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
        };
        Ok(Self { kind: Some(kind), _place: place })
    }
}

impl Kind {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Zstd(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    fn written(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl BodyFilter for Encoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), FilterError> {
        let Some(kind) = &mut self.kind else { return Ok(()) };
        kind.writer().write_all(bytes).map_err(failed)?;
        out.append(kind.written());
        Ok(())
    }

    fn pause(&mut self, out: &mut Vec<u8>) -> std::result::Result<(), FilterError> {
        let Some(kind) = &mut self.kind else { return Ok(()) };
        kind.writer().flush().map_err(failed)?;
        out.append(kind.written());
        Ok(())
    }

    fn end(&mut self, _: &mut Head, out: &mut Vec<u8>) -> std::result::Result<(), FilterError> {
        let Some(kind) = self.kind.take() else { return Ok(()) };
        out.append(&mut kind.finish().map_err(failed)?);
        Ok(())
    }
}

fn failed(error: std::io::Error) -> FilterError {
    FilterError(Cow::Owned(format!("the body cannot be compressed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compress::places::Places;
    use std::io::Read;

    fn place() -> Place {
        Places::new(1).take().unwrap()
    }

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Zstd => drop(zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out)),
            Coding::Brotli => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)),
        }
        out
    }

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    #[test]
    fn a_body_is_what_it_was_and_shorter_on_the_way() {
        let body = "one line of many that are alike\n".repeat(20_000);
        for coding in CODINGS {
            for length in [None, Some(body.len() as u64)] {
                let mut filter = Encoder::new(coding, Levels::default(), length, place()).unwrap();
                let mut out = Vec::new();
                for piece in body.as_bytes().chunks(16_000) {
                    filter.push(piece, &mut out).unwrap();
                }
                filter.end(&mut Head::default(), &mut out).unwrap();
                assert!(out.len() < body.len() / 50, "{coding:?} {}", out.len());
                assert_eq!(decoded(coding, &out), body.as_bytes(), "{coding:?}");
            }
        }
    }

    #[test]
    fn whatever_was_pushed_can_be_read_after_a_pause() {
        for coding in CODINGS {
            let mut filter = Encoder::new(coding, Levels::default(), None, place()).unwrap();
            let (mut out, mut pushed) = (Vec::new(), Vec::new());
            for piece in [&b"a"[..], b"second piece", b"", b"a"] {
                filter.push(piece, &mut out).unwrap();
                filter.pause(&mut out).unwrap();
                pushed.extend_from_slice(piece);
                assert_eq!(decoded(coding, &out), pushed, "{coding:?}");
            }
        }
    }

    #[test]
    fn an_empty_body_is_one_in_every_coding() {
        for coding in CODINGS {
            let mut out = Vec::new();
            let mut filter = Encoder::new(coding, Levels::default(), None, place()).unwrap();
            filter.end(&mut Head::default(), &mut out).unwrap();
            assert!(!out.is_empty() && decoded(coding, &out).is_empty(), "{coding:?}");
        }
    }
}
