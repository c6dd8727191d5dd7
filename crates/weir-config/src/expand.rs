use std::borrow::Cow;

use crate::{Code, SourceReader};

/// What variables may add to all files of one load, in bytes.
pub(crate) const EXPANSION_BYTES_MAX: usize = 16 << 20;

/// Why a scalar could not be expanded: a code and a sentence, neither holding a variable's value.
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// Replaces `${NAME}`, `${NAME:-default}` and `$$`; any other dollar stays. `None`: nothing to replace.
///
/// As in a shell, `:-` also stands in for a variable that is set to nothing.
pub(crate) fn expand(
    text: &str,
    reader: &dyn SourceReader,
    budget: &mut usize,
) -> Result<Option<String>, Fault> {
    // Nearly no text has a dollar.
    if !text.as_bytes().contains(&b'$') || !text.contains("${") && !text.contains("$$") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| bad("`${` is not closed".to_owned()))?;
            let value = variable(&after[..end], reader)?;
            *budget = budget.checked_sub(value.len()).ok_or_else(|| Fault {
                code: Code::TOO_LARGE,
                message: "variables add more than 16 MiB to the configuration".to_owned(),
                help: "use a file for large values",
            })?;
            out.push_str(&value);
            rest = &after[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(Some(out))
}

fn variable<'a>(inner: &'a str, reader: &dyn SourceReader) -> Result<Cow<'a, str>, Fault> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(word) || name.as_bytes()[0].is_ascii_digit() {
        return Err(bad(format!("`{name}` is not the name of a variable")));
    }
    match (reader.env(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(Cow::Borrowed(default)),
        (Some(value), _) => Ok(Cow::Owned(value)),
        (None, Some(default)) => Ok(Cow::Borrowed(default)),
        (None, None) => Err(Fault {
            code: Code::UNSET_VARIABLE,
            message: format!("the variable `{name}` is not set"),
            help: "set it, or write a default: `${NAME:-default}`",
        }),
    }
}

fn bad(message: String) -> Fault {
    Fault {
        code: Code::BAD_VARIABLE,
        message,
        help: "write `${NAME}` or `${NAME:-default}`; `$$` stands for a dollar",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryReader;

    fn expanded(text: &str) -> Result<Option<String>, Code> {
        let reader = MemoryReader::new().variable("HOST", "db").variable("EMPTY", "");
        expand(text, &reader, &mut 100).map_err(|fault| fault.code)
    }

    #[test]
    fn variables_defaults_and_dollars_are_expanded_once() {
        assert_eq!(expanded("${HOST}:${PORT:-80}"), Ok(Some("db:80".into())));
        assert_eq!(expanded("${EMPTY:-x}${EMPTY}"), Ok(Some("x".into())));
        assert_eq!(expanded("$${HOST}"), Ok(Some("${HOST}".into())));
        assert_eq!(expanded("^/r[0-9]+$"), Ok(None));
        assert_eq!(expanded("${X:-$$}"), Ok(Some("$$".into())));
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        assert_eq!(expanded("${NOPE}"), Err(Code::UNSET_VARIABLE));
        for text in ["${", "${}", "${1}", "${A B}", "${HOST"] {
            assert_eq!(expanded(text), Err(Code::BAD_VARIABLE), "{text}");
        }
        assert_eq!(expanded(&"${HOST}".repeat(51)), Err(Code::TOO_LARGE));
    }
}
