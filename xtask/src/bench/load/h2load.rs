//! h2load: HTTP/2 in clear text, without asking for it first.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::NamedTempFile;

use super::{Load, seconds};
use crate::bench::Case;
use crate::bench::process::{Cores, Process, pinned};
use crate::bench::seen::Seen;
use crate::install;

/// Requests under way on each connection.
const STREAMS: usize = 32;

/// A gRPC message of four bytes: not compressed, its length, and the bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x04ping";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Request {
    Get(&'static str),
    /// A unary gRPC call.
    Call,
}

/// So many connections with [`STREAMS`] requests under way on each.
pub(in crate::bench) struct H2load {
    pub(in crate::bench) request: Request,
    pub(in crate::bench) connections: usize,
    pub(in crate::bench) cores: Cores,
}

impl Load for H2load {
    fn apply(&self, to: SocketAddr, duration: Duration) -> anyhow::Result<Seen> {
        let log = NamedTempFile::new()?;
        let mut command = pinned(&self.cores, &install::H2LOAD.path());
        command
            .args(["-c", &self.connections.to_string(), "-m", &STREAMS.to_string(), "-t", "1"])
            .args(["-D", &seconds(duration)])
            .arg("--log-file")
            .arg(log.path());
        let _body = ask(&mut command, self.request, to)?;
        let output =
            Process::start(command.stdout(Stdio::piped()))?.output().context("reading from h2load")?;
        let lines = std::fs::read_to_string(log.path())?;
        parse(&output, &lines, duration).with_context(|| format!("h2load said: {output}"))
    }
}

/// One request, which must be answered.
pub(in crate::bench) fn once(case: Case, to: SocketAddr, cores: &Cores) -> anyhow::Result<()> {
    let request = if case == Case::H2Grpc { Request::Call } else { Request::Get("/128") };
    let mut command = pinned(cores, &install::H2LOAD.path());
    command.args(["-c", "1", "-n", "1"]);
    let _body = ask(&mut command, request, to)?;
    let output = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::null()))?.output()?;
    ensure!(output.contains("1 2xx"), "h2load said: {output}");
    Ok(())
}

/// Adds what is asked of whom; the file of a body is there for as long as what is returned.
fn ask(command: &mut Command, request: Request, to: SocketAddr) -> anyhow::Result<Option<NamedTempFile>> {
    match request {
        Request::Get(path) => {
            command.arg(format!("http://{to}{path}"));
            Ok(None)
        }
        Request::Call => {
            let mut file = NamedTempFile::new()?;
            file.write_all(MESSAGE)?;
            command
                .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"])
                .arg(file.path());
            command.arg(format!("http://{to}/bench.Echo/Call"));
            Ok(Some(file))
        }
    }
}

/// Reads h2load's summary, and of its log the time of each request.
fn parse(output: &str, log: &str, duration: Duration) -> anyhow::Result<Seen> {
    let line = |start: &str| {
        output.lines().find(|line| line.starts_with(start)).with_context(|| format!("no line `{start}`"))
    };
    let number = |line: &str, what: &str| -> anyhow::Result<f64> {
        let part = line.split(&[',', ':'][..]).find(|part| part.trim().ends_with(what));
        let part = part.with_context(|| format!("no `{what}` in `{line}`"))?;
        Ok(part.trim().trim_end_matches(what).trim().parse()?)
    };
    let (requests, statuses, traffic) = (line("requests:")?, line("status codes:")?, line("traffic:")?);
    let succeeded = number(statuses, "2xx")?;
    ensure!(succeeded > 0.0, "not one request succeeded");
    let bytes = traffic.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let bytes = bytes.context("no bytes")?.0.parse()?;
    // Those cut off by the end of the load count neither way.
    let failed = number(requests, "errored")?
        + number(requests, "timeout")?
        + number(statuses, "4xx")?
        + number(statuses, "5xx")?;
    let mut times: Vec<u32> = log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    ensure!(!times.is_empty(), "no request was logged");
    times.sort_unstable();
    let percentile = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]);
    Ok(Seen {
        requests: succeeded,
        bytes,
        seconds: seconds(duration).parse()?,
        p50_us: percentile(0.5),
        p99_us: percentile(0.99),
        failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "finished in 1.00s, 90.00 req/s, 1.0MB/s\n\
        requests: 92 total, 92 started, 92 done, 90 succeeded, 2 failed, 1 errored, 0 timeout\n\
        status codes: 90 2xx, 0 3xx, 0 4xx, 1 5xx\n\
        traffic: 1.00KB (1024) total, 500B (500) headers (space savings 90%), 400B (400) data\n";

    #[test]
    fn what_failed_is_told_from_what_succeeded() {
        let log = "1\t200\t30\n2\t200\t10\n3\t200\t20\n";
        let seen = parse(OUTPUT, log, Duration::from_secs(1)).unwrap();
        assert_eq!((seen.requests, seen.failed, seen.bytes), (90.0, 2.0, 1024.0));
        assert_eq!((seen.p50_us, seen.p99_us), (20.0, 20.0));
    }

    #[test]
    fn a_load_without_a_success_is_an_error() {
        let output = OUTPUT.replace("90 2xx", "0 2xx");
        assert!(parse(&output, "1\t200\t30\n", Duration::from_secs(1)).is_err());
    }
}
