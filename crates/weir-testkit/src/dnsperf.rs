use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

/// A load of DNS queries over UDP, by Debian's dnsperf.
#[derive(Debug, Clone)]
pub struct Dnsperf {
    to: SocketAddr,
    queries: String,
    clients: u32,
    flags: Vec<String>,
}

/// What dnsperf counted.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsperfReport {
    /// Queries sent.
    pub sent: u64,
    /// Queries answered.
    pub completed: u64,
    /// Queries not answered in time (5 s).
    pub lost: u64,
    /// Answers with records: response code NOERROR.
    pub noerror: u64,
    /// Mean time to an answer, in milliseconds; 0 when none came.
    pub latency_ms: f64,
    /// All that it printed, for a failed test's message.
    pub text: String,
}

impl Dnsperf {
    /// Asks for the A records of these names in turn, from one client.
    pub fn new(to: SocketAddr, names: &[&str]) -> Self {
        let queries = names.iter().map(|name| format!("{name} A\n")).collect();
        Self { to, queries, clients: 1, flags: Vec::new() }
    }

    /// Clients, each with a socket of its own.
    #[must_use]
    pub fn clients(mut self, clients: u32) -> Self {
        self.clients = clients;
        self
    }

    /// Ends after this many seconds; without it, after one pass over the names.
    #[must_use]
    pub fn seconds(self, seconds: u32) -> Self {
        self.flag("-l").flag(&seconds.to_string())
    }

    /// At most this many queries a second.
    #[must_use]
    pub fn queries_per_second_max(self, max: u32) -> Self {
        self.flag("-Q").flag(&max.to_string())
    }

    /// Any other argument of dnsperf.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When dnsperf is not installed or prints no report.
    pub fn run(&self) -> DnsperfReport {
        let mut file = NamedTempFile::new().expect("a file for the queries");
        file.write_all(self.queries.as_bytes()).expect("the test's own file is writable");
        let output = Command::new("dnsperf")
            .args(["-s", &self.to.ip().to_string(), "-p", &self.to.port().to_string(), "-T", "1"])
            .args(["-c", &self.clients.to_string()])
            .arg("-d")
            .arg(file.path())
            .args(&self.flags)
            .stdin(Stdio::null())
            .output()
            .expect("dnsperf is installed by scripts/test");
        let text = [output.stdout, output.stderr].concat();
        DnsperfReport::parse(&String::from_utf8_lossy(&text))
    }
}

impl DnsperfReport {
    fn parse(text: &str) -> Self {
        let after = |mark: &str| {
            let (_, rest) = text.lines().find_map(|line| line.split_once(mark))?;
            rest.split_whitespace().next()?.parse::<f64>().ok()
        };
        let count = |mark: &str| after(mark).map(|number| number as u64);
        Self {
            sent: count("Queries sent:").unwrap_or_else(|| panic!("no report: {text}")),
            completed: count("Queries completed:").unwrap_or_default(),
            lost: count("Queries lost:").unwrap_or_default(),
            noerror: count("NOERROR ").unwrap_or_default(),
            latency_ms: after("Average Latency (s):").unwrap_or_default() * 1e3,
            text: text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_queries_and_other_codes_are_told_apart() {
        let text = "  Queries sent:         100\n  Queries completed:    90 (90.00%)\n  Queries lost:         10 (10.00%)\n\n\
            \x20 Response codes:       NOERROR 80 (88.88%), REFUSED 10 (11.11%)\n  Average Latency (s):  0.000250 (min 0.1)\n";
        let report = DnsperfReport::parse(text);
        assert_eq!((report.sent, report.completed, report.lost, report.noerror), (100, 90, 10, 80));
        assert_eq!(report.latency_ms, 0.25);
    }
}
