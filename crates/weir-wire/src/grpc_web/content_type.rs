use crate::http1::trim_ows;

/// How a gRPC-Web body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Binary,
    /// In base64.
    Text,
}

/// What a gRPC-Web media type says: `application/grpc-web+proto`, `application/grpc-web-text`, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// Binary or text.
    pub mode: Mode,
    /// How messages are written, with its `+`, such as `+proto`; empty where the type does not say.
    pub suffix: &'a [u8],
}

const GRPC: &[u8] = b"application/grpc";

impl<'a> ContentType<'a> {
    /// Reads a media type, with or without parameters; `None` for what is not gRPC-Web.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let media = media_type(value);
        let rest = behind(media, GRPC).and_then(|rest| behind(rest, b"-web"))?;
        let (mode, suffix) = match behind(rest, b"-text") {
            Some(suffix) => (Mode::Text, suffix),
            None => (Mode::Binary, rest),
        };
        is_suffix(suffix).then_some(Self { mode, suffix })
    }

    /// The suffix of a gRPC media type, `application/grpc+proto`; `None` for what is not gRPC.
    pub fn grpc_suffix(value: &[u8]) -> Option<&[u8]> {
        behind(media_type(value), GRPC).filter(|suffix| is_suffix(suffix))
    }

    /// Writes the gRPC media type that stands for this one.
    pub fn write_grpc(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(GRPC);
        out.extend_from_slice(self.suffix);
    }

    /// Writes this media type.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(GRPC);
        out.extend_from_slice(match self.mode {
            Mode::Binary => b"-web",
            Mode::Text => b"-web-text",
        });
        out.extend_from_slice(self.suffix);
    }
}

fn media_type(value: &[u8]) -> &[u8] {
    trim_ows(value.split(|&b| b == b';').next().unwrap_or_default())
}

fn behind<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = text.split_at_checked(start.len())?;
    found.eq_ignore_ascii_case(start).then_some(rest)
}

fn is_suffix(suffix: &[u8]) -> bool {
    suffix.is_empty() || (suffix.starts_with(b"+") && crate::http1::is_token(&suffix[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_tell_mode_and_suffix() {
        let cases: [(&str, Option<(Mode, &str)>); 9] = [
            ("application/grpc-web", Some((Mode::Binary, ""))),
            ("application/grpc-web+proto", Some((Mode::Binary, "+proto"))),
            ("Application/GRPC-Web-Text+json ; charset=utf-8", Some((Mode::Text, "+json"))),
            ("application/grpc-web-text", Some((Mode::Text, ""))),
            ("application/grpc", None),
            ("application/grpc-webby", None),
            ("application/grpc-web+", None),
            ("application/grpc-web-text2", None),
            ("text/plain", None),
        ];
        for (text, wanted) in cases {
            let wanted = wanted.map(|(mode, suffix)| ContentType { mode, suffix: suffix.as_bytes() });
            assert_eq!(ContentType::parse(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn both_forms_are_written() {
        let media = ContentType::parse(b"application/grpc-web-text+proto").unwrap();
        let (mut grpc, mut web) = (Vec::new(), Vec::new());
        media.write_grpc(&mut grpc);
        media.write(&mut web);
        assert_eq!(
            (&grpc[..], &web[..]),
            (&b"application/grpc+proto"[..], &b"application/grpc-web-text+proto"[..])
        );
        assert_eq!(ContentType::grpc_suffix(b"application/grpc+proto;x=1"), Some(&b"+proto"[..]));
        assert_eq!(ContentType::grpc_suffix(b"application/grpc-web"), None);
    }
}
