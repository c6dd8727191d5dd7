//! From files to a plan: the root table, decoding, and the checks that need to see the whole.
//!
//! [`load`] never stops at the first fault: every one goes to the problems with its place. It opens no port and
//! resolves no name.

mod admin;
mod bind;
mod bounds;
mod covered;
mod cycle;
mod descriptors;
mod http2;
mod listener;
mod log;
mod matching;
mod root;
mod route;
mod table;
#[cfg(test)]
mod tests;
mod tunnel;

use std::path::{Path, PathBuf};

pub(crate) use descriptors::{descriptor_warnings, descriptors_reserved};
pub(crate) use root::ROOT;
pub(crate) use table::listener_id;
pub(crate) use tunnel::LISTENER as TUNNEL_LISTENER;
use weir_config::{Document, MemoryReader, Problems, SourceReader};
use weir_net::tls::certificates::Shelf;
use weir_provider::RecordingReader;

use crate::plan::RootPlan;
use crate::run::{Rejected, WasRead};

/// Reads a file and what it includes; certificates that `shelf` knows are not read again.
///
/// # Errors
///
/// Every problem, as text and as data.
pub(crate) fn load(path: &Path, shelf: &Shelf) -> Result<RootPlan, Rejected> {
    let reader = RecordingReader::default();
    let loaded = read(path, &reader, shelf);
    let seen = reader.into_seen();
    match loaded.into_plan() {
        Ok(plan) => Ok(RootPlan { seen, ..plan }),
        Err(mut rejected) => {
            rejected.read.seen = seen;
            Err(rejected)
        }
    }
}

/// Reads a text that the program made, which includes nothing.
///
/// # Errors
///
/// Every problem, as text and as data.
pub(crate) fn load_text(name: &str, text: &str, shelf: &Shelf) -> Result<RootPlan, Rejected> {
    read(Path::new(name), &MemoryReader::new().file(name, text), shelf).into_plan()
}

/// What a configuration is read through.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    /// Files of the configuration, secrets' files too.
    reader: &'a dyn SourceReader,
    /// Files of certificates.
    shelf: &'a Shelf,
}

/// What reading a configuration gave.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// None when there are errors.
    pub(crate) plan: Option<RootPlan>,
    /// Errors and warnings, with their places.
    pub(crate) problems: Problems,
    /// What was read, and the folders that `include` patterns look into.
    files: Vec<PathBuf>,
}

impl Loaded {
    fn into_plan(self) -> Result<RootPlan, Rejected> {
        let Self { plan, problems, files } = self;
        plan.ok_or_else(|| Rejected {
            text: problems.render(false),
            problems: problems.to_json(),
            read: Box::new(WasRead { files, ..WasRead::default() }),
        })
    }
}

/// Reads a configuration and checks all of it.
pub(crate) fn read(path: &Path, reader: &dyn SourceReader, shelf: &Shelf) -> Loaded {
    let problems = Problems::new();
    let document = weir_config::load(path, &ROOT, reader, &problems);
    let files = watched(&document);
    let nothing_read = problems.has_errors() && document.root.entries().is_none_or(<[_]>::is_empty);
    let plan = match nothing_read {
        // The file could not be read, or is no mapping: that its keys are missing is no news.
        true => None,
        false => Some(root::decode(&document, files.clone(), Inputs { reader, shelf }, &problems)),
    };
    let plan = plan.filter(|_| !problems.has_errors());
    let plan = plan.map(|plan| RootPlan { warnings: warnings(&problems), ..plan });
    Loaded { plan, problems, files }
}

fn watched(document: &Document) -> Vec<PathBuf> {
    let read = document.files.iter().filter_map(|source| match source.name() {
        weir_config::SourceName::File(path) => Some(path.clone()),
        _ => None,
    });
    read.chain(document.patterns.iter().cloned()).collect()
}

fn warnings(problems: &Problems) -> Vec<String> {
    let all = problems.to_vec();
    all.iter().map(|problem| format!("{}: {}", problem.place(), problem.message())).collect()
}
