//! `weir run`: the gateway, from a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use weir_net::tls::certificates::Shelf;

use crate::plan::RootPlan;
use crate::run::{self, Rejected, Source};

/// Runs until a signal ends it.
pub(super) fn run(file: PathBuf) -> ExitCode {
    run::run(Arc::new(File(file)), |_| {})
}

/// A configuration file and what it includes.
struct File(PathBuf);

impl Source for File {
    fn load(&self, shelf: &Shelf) -> Result<RootPlan, Rejected> {
        crate::spec::load(&self.0, shelf)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}
