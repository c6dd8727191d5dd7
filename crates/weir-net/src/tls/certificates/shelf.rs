use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::SystemTime;

use super::{Certificate, Fault, PairFiles, folder};

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// Two files.
    Pair(PairFiles),
    /// Every pair of a folder.
    Folder(PathBuf),
}

/// Certificates that were read and are still in use somewhere: what did not change is not read again, and what was good
/// stays where its files have become bad.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<PairFiles, Weak<Certificate>>>);

/// What a list of sources gave.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of the sources, within a folder by name; each with the place of its source.
    pub certificates: Vec<(usize, Arc<Certificate>)>,
    /// What is broken.
    pub refused: Vec<Refused>,
}

/// Something that was not taken.
#[derive(Debug)]
pub struct Refused {
    /// The place of its source.
    pub source: usize,
    /// Why.
    pub fault: Fault,
    /// The files of the pair; none where it is a folder that cannot be used.
    pub files: Option<PairFiles>,
    /// Whether what these files held before is served on.
    pub is_kept: bool,
}

/// So few certificates are read without further threads.
const FEW: usize = 64;

/// Most threads that read.
const THREADS_MAX: usize = 8;

impl Shelf {
    /// Reads what changed of the sources.
    pub fn load(&self, sources: &[CertificateSource], now: SystemTime) -> Loaded {
        let mut loaded = Loaded::default();
        let mut wanted: Vec<(usize, PairFiles)> = Vec::new();
        let mut named = HashSet::new();
        for (source, from) in sources.iter().enumerate() {
            let pairs = match from {
                CertificateSource::Pair(files) => vec![Ok(files.clone())],
                CertificateSource::Folder(path) => {
                    folder::pairs(path).unwrap_or_else(|fault| vec![Err(fault)])
                }
            };
            for pair in pairs {
                match pair {
                    Ok(files) if named.insert(files.clone()) => wanted.push((source, files)),
                    Ok(_) => {}
                    Err(Fault::KeyMissing { cert, key }) => {
                        // What was good before is kept by who looks at the pair.
                        let files = PairFiles { cert, key, ocsp: None };
                        wanted.push((source, files));
                    }
                    Err(fault) => loaded.refused.push(Refused { source, fault, files: None, is_kept: false }),
                }
            }
        }
        let looked_at = each(&wanted, |(_, files)| self.look(files, now));
        for ((source, files), result) in wanted.into_iter().zip(looked_at) {
            let (certificate, fault) = match result {
                Ok(certificate) => (Some(certificate), None),
                Err((fault, kept)) => (kept, Some(fault)),
            };
            if let Some(fault) = fault {
                let is_kept = certificate.is_some();
                loaded.refused.push(Refused { source, fault, files: Some(files), is_kept });
            }
            loaded.certificates.extend(certificate.map(|certificate| (source, certificate)));
        }
        self.remember(&loaded);
        loaded
    }

    /// What a pair's files hold; where that is broken, why, and what they held before.
    fn look(
        &self,
        files: &PairFiles,
        now: SystemTime,
    ) -> Result<Arc<Certificate>, (Fault, Option<Arc<Certificate>>)> {
        let known = self.lock().get(files).and_then(Weak::upgrade);
        if let Some(known) = known.as_ref().filter(|known| known.is_untouched(now)) {
            return Ok(Arc::clone(known));
        }
        let bytes = match files.read() {
            Ok(bytes) => bytes,
            Err(fault) => return Err((missing_key(fault, files), known)),
        };
        if let Some(known) = known.as_ref().filter(|known| known.is_made_of(&bytes, now)) {
            return Ok(Arc::clone(known));
        }
        match Certificate::parse(files.clone(), bytes, now) {
            Ok(certificate) => Ok(Arc::new(certificate)),
            Err(fault) => Err((fault, known)),
        }
    }

    fn remember(&self, loaded: &Loaded) {
        let mut shelf = self.lock();
        shelf.retain(|_, certificate| certificate.strong_count() > 0);
        for (_, certificate) in &loaded.certificates {
            shelf.insert(certificate.files.clone(), Arc::downgrade(certificate));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PairFiles, Weak<Certificate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that is not there at all is told as what it is: perhaps it is yet to be written.
fn missing_key(fault: Fault, files: &PairFiles) -> Fault {
    let is_own = files.key != files.cert;
    match fault {
        Fault::Unreadable { file, error }
            if error.kind() == std::io::ErrorKind::NotFound && file == files.key && is_own =>
        {
            Fault::KeyMissing { cert: files.cert.clone(), key: files.key.clone() }
        }
        fault => fault,
    }
}

/// Does `work` for each item, with several threads where there are many; the results stand in the order of the items.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
    if items.len() <= FEW || threads == 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let (next, work) = (&next, &work);
    let take = move || {
        let mut done = Vec::new();
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            done.push((index, work(item)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.flatten().collect()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
