use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Most bytes of a file with certificates or a key: some hundred certificates.
pub const PEM_BYTES_MAX: u64 = 1 << 20;

/// A file that was written shortly before it was read may be written again without another time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// Which bytes a file holds, as far as its folder tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Whether the same stamp means the same bytes.
    is_settled: bool,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let since = Duration::from_secs(changed.0.try_into().unwrap_or_default());
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed,
            is_settled: age.is_ok_and(|age| age > SETTLED),
        }
    }

    /// The stamp of what stands at `path`, links followed.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Whether a file with the stamp `now` surely holds what it held with this one.
    pub(super) fn still_holds(&self, now: &Self) -> bool {
        self.is_settled && Self { is_settled: true, ..*now } == *self
    }
}

/// Reads a regular file of at most [`PEM_BYTES_MAX`] bytes.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, Stamp)> {
    read_up_to(path, PEM_BYTES_MAX)
}

/// The same with another bound. A pipe may never end, and stops whoever opens it: it is refused.
pub(super) fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<(Vec<u8>, Stamp)> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes =
        Vec::with_capacity(usize::try_from(metadata.len().min(bytes_max)).unwrap_or_default() + 1);
    (&file).take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok((bytes, Stamp::of(&metadata)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_just_written_is_not_known_by_its_stamp() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let young = Stamp::at(file.path()).unwrap();
        assert!(!young.still_holds(&young));
        let old = Stamp { is_settled: true, ..young };
        assert!(old.still_holds(&young));
        assert!(!Stamp { bytes: 1, ..old }.still_holds(&young));
    }

    #[test]
    fn what_is_too_long_or_no_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(PEM_BYTES_MAX + 1).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("more than"));
        assert!(read(Path::new("/dev/zero")).is_err());
        assert!(read(Path::new("/")).is_err());
    }
}
