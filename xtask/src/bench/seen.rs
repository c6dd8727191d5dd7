//! What a load saw.

use anyhow::{Context, ensure};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// Complete responses, exchanges or connections; 0 for a load that only moves bytes.
    pub(super) requests: f64,
    /// Bytes received, heads included.
    pub(super) bytes: f64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Statuses of 400 and above, socket errors and timeouts, lost datagrams.
    pub(super) failed: f64,
}

impl Seen {
    /// Reads the line `JSON {…}` among what a load prints.
    pub(super) fn parse(output: &str) -> anyhow::Result<Self> {
        let line = output.lines().find_map(|line| line.strip_prefix("JSON ")).context("no report")?;
        let report: Value = serde_json::from_str(line)?;
        let number = |name: &str| report[name].as_f64().with_context(|| format!("no number `{name}`"));
        let seen = Self {
            requests: number("requests")?,
            bytes: number("bytes")?,
            seconds: number("duration_us")? / 1e6,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
            failed: number("failed")?,
        };
        ensure!(seen.requests > 0.0, "not one request succeeded");
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_what_a_load_prints() {
        let output = "Running 5s test @ http://127.0.0.1:1/128\n\
            JSON {\"requests\":1000,\"bytes\":300000,\"duration_us\":2000000,\"p50_us\":80,\"p99_us\":200,\"failed\":2}\n";
        let seen = Seen::parse(output).unwrap();
        let wanted = Seen {
            requests: 1000.0,
            bytes: 300_000.0,
            seconds: 2.0,
            p50_us: 80.0,
            p99_us: 200.0,
            failed: 2.0,
        };
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_run_without_a_request_is_an_error() {
        let output =
            "JSON {\"requests\":0,\"bytes\":0,\"duration_us\":1,\"p50_us\":0,\"p99_us\":0,\"failed\":64}";
        assert!(Seen::parse(output).is_err());
        assert!(Seen::parse("unable to connect").is_err());
    }
}
