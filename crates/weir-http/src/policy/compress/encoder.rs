use std::borrow::Cow;
use std::io::{Result, Write};

use weir_wire::http1::Head;

use super::{Coding, Levels};
use crate::filter::{BodyFilter, FilterError};

/// Largest window of zstd, as a power of two: 256 KiB. With its tables an encoder of level 3 has about 1.3 MiB.
const ZSTD_WINDOW_LOG: u32 = 18;

/// Largest window of brotli, as a power of two: 256 KiB. With its tables an encoder of level 4 has about 1.5 MiB.
const BROTLI_WINDOW_LOG: u32 = 18;

/// What brotli writes at once.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// Encodes a body as it passes; what the coding keeps back comes out at pauses and at the end.
pub(super) struct Encoder(Option<Kind>);

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
    pub(super) fn new(coding: Coding, levels: Levels, length: Option<u64>) -> Result<Self> {
        Ok(Self(Some(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), levels.zstd)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                // What is short needs smaller tables, which cost time to clear.
                encoder.set_pledged_src_size(length)?;
                Kind::Zstd(encoder)
            }
            Coding::Brotli => {
                // A window that is larger than the body would cost memory only.
                let bits = length.map_or(BROTLI_WINDOW_LOG, |length| {
                    (u64::BITS - length.leading_zeros()).clamp(10, BROTLI_WINDOW_LOG)
                });
                let writer =
                    brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, levels.brotli, bits);
                Kind::Brotli(Box::new(writer))
            }
            Coding::Gzip => {
                let level = flate2::Compression::new(levels.gzip);
                Kind::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
        })))
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
        let Some(kind) = &mut self.0 else { return Ok(()) };
        kind.writer().write_all(bytes).map_err(failed)?;
        out.append(kind.written());
        Ok(())
    }

    fn pause(&mut self, out: &mut Vec<u8>) -> std::result::Result<(), FilterError> {
        let Some(kind) = &mut self.0 else { return Ok(()) };
        kind.writer().flush().map_err(failed)?;
        out.append(kind.written());
        Ok(())
    }

    fn end(&mut self, _: &mut Head, out: &mut Vec<u8>) -> std::result::Result<(), FilterError> {
        let Some(kind) = self.0.take() else { return Ok(()) };
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
    use std::io::Read;

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
                let mut filter = Encoder::new(coding, Levels::default(), length).unwrap();
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
            let mut filter = Encoder::new(coding, Levels::default(), None).unwrap();
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
            let mut filter = Encoder::new(coding, Levels::default(), None).unwrap();
            filter.end(&mut Head::default(), &mut out).unwrap();
            assert!(!out.is_empty() && decoded(coding, &out).is_empty(), "{coding:?}");
        }
    }
}
