use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use weir_config::{FILE_BYTES_MAX, SourceReader};

/// Most files that one pattern may stand for.
pub const GLOB_MATCHES_MAX: usize = 4_096;

/// Reads configuration from the file system and the environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileReader;

impl SourceReader for FileReader {
    /// One byte more than [`FILE_BYTES_MAX`] at most, so that the language sees what is too large. Regular files only:
    /// a pipe may never end, would be empty when it is read again, and stops whoever opens it.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        must_be_regular(&fs::metadata(path)?)?;
        // What was a file a moment ago may be a pipe by now.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        must_be_regular(&file.metadata()?)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Patterns in the last part of a path; hidden files only where the pattern starts with a dot. Sorted.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(wanted) = pattern.file_name() else { return Ok(Vec::new()) };
        let folder = match pattern.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let wanted = wanted.as_encoded_bytes();
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            let hidden = name.starts_with(b".") && !wanted.starts_with(b".");
            if hidden || !matches(wanted, name) || !entry.path().is_file() {
                continue;
            }
            if found.len() == GLOB_MATCHES_MAX {
                return Err(io::Error::other(format!("more than {GLOB_MATCHES_MAX} files match")));
            }
            found.push(pattern.with_file_name(entry.file_name()));
        }
        found.sort();
        Ok(found)
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn must_be_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")))
}

/// Whether `name` fits a pattern of `*`, `?` and `[a-z]`. Goes back to the last `*` only: never exponential.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match one(&pattern[p..], name[n]) {
            Step::Star => {
                star = Some((p, n));
                p += 1;
            }
            Step::Fits(length) => {
                p += length;
                n += 1;
            }
            Step::Differs => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

enum Step {
    Star,
    /// Fits, and the pattern goes on after so many bytes.
    Fits(usize),
    Differs,
}

fn one(pattern: &[u8], byte: u8) -> Step {
    match pattern {
        [b'*', ..] => Step::Star,
        [b'?', ..] => Step::Fits(1),
        [b'[', set @ ..] => {
            let Some(end) = set.iter().skip(1).position(|b| *b == b']').map(|end| end + 1) else {
                return if byte == b'[' { Step::Fits(1) } else { Step::Differs };
            };
            let (negated, members) = match &set[..end] {
                [b'!' | b'^', members @ ..] if !members.is_empty() => (true, members),
                members => (false, members),
            };
            if is_member(members, byte) == negated { Step::Differs } else { Step::Fits(end + 2) }
        }
        [literal, ..] if *literal == byte => Step::Fits(1),
        _ => Step::Differs,
    }
}

fn is_member(mut members: &[u8], byte: u8) -> bool {
    while let Some((&first, rest)) = members.split_first() {
        if let [b'-', last, after @ ..] = rest {
            if (first..=*last).contains(&byte) {
                return true;
            }
            members = after;
        } else if first == byte {
            return true;
        } else {
            members = rest;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_a_shell_has_it() {
        for (pattern, name, fits) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("a?c*", "abcd", true),
            ("[0-9][!x]", "7y", true),
            ("[0-9][!x]", "7x", false),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("[", "[", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_in_order_without_hidden_ones_or_folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yaml", ".c.yaml", "d.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("e.yaml")).unwrap();
        let found = FileReader.glob(&folder.path().join("*.yaml")).unwrap();
        assert_eq!(found, [folder.path().join("a.yaml"), folder.path().join("b.yaml")]);
        assert_eq!(FileReader.read(&found[0]).unwrap(), b"a.yaml");
        assert!(FileReader.glob(&folder.path().join("none/*.yaml")).unwrap().is_empty());
    }

    #[test]
    fn reading_stops_soon_after_the_bound() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(FILE_BYTES_MAX as u64 * 2).unwrap();
        assert_eq!(FileReader.read(file.path()).unwrap().len(), FILE_BYTES_MAX + 1);
    }

    #[test]
    fn only_regular_files_are_read_and_the_error_says_what_else_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, what) in [
            (at("pipe"), "a pipe"),
            (at("socket"), "a socket"),
            (folder.path().to_owned(), "a folder"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = FileReader.read(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("it is {what}, not a regular file"));
        }
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert_eq!(FileReader.read(&at("link")).unwrap(), b"text");
    }
}
