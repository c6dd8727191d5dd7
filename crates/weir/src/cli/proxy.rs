//! `weir proxy`: a reverse proxy without a file.

use std::process::ExitCode;
use std::sync::Arc;

use weir_net::tls::certificates::Shelf;

use crate::plan::RootPlan;
use crate::run::{self, Rejected, Source};

/// Serves `listen` and forwards everything to `to`.
pub(super) fn run(listen: &str, to: &[String]) -> ExitCode {
    run::run(Arc::new(Text::new("weir proxy", configuration(listen, to))), |_| {})
}

/// The same as a file would say it, so that one path leads from text to what runs.
fn configuration(listen: &str, to: &[String]) -> String {
    serde_json::json!({
        "listeners": { "proxy": { "bind": listen, "http": {} } },
        "routes": [{ "name": "all", "match": { "path": "/*" }, "forward": "to" }],
        "upstreams": { "to": { "endpoints": to } },
        "admin": "off",
        "watch": "off",
    })
    .to_string()
}

/// A configuration that was made here and never changes.
pub(super) struct Text {
    name: &'static str,
    text: String,
}

impl Text {
    pub(super) fn new(name: &'static str, text: String) -> Self {
        Self { name, text }
    }
}

impl Source for Text {
    fn load(&self, shelf: &Shelf) -> Result<RootPlan, Rejected> {
        crate::spec::load_text(self.name, &self.text, shelf)
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }
}
