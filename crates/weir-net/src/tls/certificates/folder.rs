use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Fault, PairFiles};

/// Most pairs of one folder.
pub const FOLDER_PAIRS_MAX: usize = 100_000;

/// The pairs of a folder, by name: every `NAME.pem` or `NAME.crt` with `NAME.key`. Hidden files are not looked at.
pub(super) fn pairs(folder: &Path) -> Result<Vec<Result<PairFiles, Fault>>, Fault> {
    let unreadable = |error| Fault::Unreadable { file: folder.to_owned(), error };
    let mut named: BTreeMap<OsString, (Option<PathBuf>, bool)> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = PathBuf::from(entry.map_err(unreadable)?.file_name());
        let (Some(stem), Some(kind)) = (name.file_stem(), name.extension()) else { continue };
        let kind = kind.as_encoded_bytes();
        if stem.as_encoded_bytes().starts_with(b".") || !matches!(kind, b"pem" | b"crt" | b"key") {
            continue;
        }
        let known = named.entry(stem.to_owned()).or_default();
        match kind {
            b"key" => known.1 = true,
            // Of the same name, the one that ends in `.pem`.
            b"crt" if known.0.is_some() => {}
            _ => known.0 = Some(folder.join(&name)),
        }
        if named.len() > FOLDER_PAIRS_MAX {
            return Err(Fault::TooMany { folder: folder.to_owned(), max: FOLDER_PAIRS_MAX });
        }
    }
    let pair = |(cert, has_key): (Option<PathBuf>, bool)| {
        let cert = cert?;
        let key = cert.with_extension("key");
        Some(match has_key {
            true => Ok(PairFiles { cert, key, ocsp: None }),
            false => Err(Fault::KeyMissing { cert, key }),
        })
    };
    Ok(named.into_values().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_by_name_and_a_certificate_without_its_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["b.pem", "b.key", "a.crt", "a.key", "b.crt", "c.pem", "d.key", ".e.pem", ".e.key", "f.txt"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = pairs(folder.path()).unwrap();
        let text = |pair: &Result<PairFiles, Fault>| match pair {
            Ok(files) => files.cert.file_name().unwrap().to_string_lossy().into_owned(),
            Err(fault) => fault.to_string().replace(&format!("{}/", folder.path().display()), ""),
        };
        let found: Vec<_> = found.iter().map(text).collect();
        assert_eq!(found, ["a.crt", "b.pem", "`c.pem` has no key: there is no `c.key`"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_fault() {
        let fault = pairs(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(fault.to_string().starts_with("`/nowhere/at/all` cannot be read"));
    }
}
