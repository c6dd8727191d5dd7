use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::postgres;

/// A load of PostgreSQL transactions, by Debian's pgbench.
#[derive(Debug, Clone)]
pub struct Pgbench {
    to: SocketAddr,
    clients: u32,
    flags: Vec<String>,
}

/// A running pgbench; dropping it ends it.
pub struct PgbenchRun(Option<Child>);

/// What pgbench counted.
#[derive(Debug, Clone, PartialEq)]
pub struct PgbenchReport {
    /// Its exit status: 0 when every client ran to its end, 2 when one gave up.
    pub exit: i32,
    /// Transactions that were committed.
    pub transactions: u64,
    /// Transactions that failed, and whose client went on.
    pub failed: u64,
    /// Clients that gave up because a connection could not be made.
    pub refused: u64,
    /// Clients that gave up because their connection ended within a transaction.
    pub cut: u64,
    /// Mean time of a transaction, in milliseconds; 0 when none was committed.
    pub latency_ms: f64,
    /// Standard error, for a failed test's message.
    pub stderr: String,
}

impl Pgbench {
    /// One client that reads one account a transaction; [`crate::Postgres::fill_for_pgbench`] makes them.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, clients: 1, flags: Vec::new() }.flag("--builtin=select-only")
    }

    /// Clients at the same time, on one thread.
    #[must_use]
    pub fn clients(mut self, clients: u32) -> Self {
        self.clients = clients;
        self
    }

    /// Ends after this many seconds; without it and `transactions`, each client runs ten transactions.
    #[must_use]
    pub fn seconds(self, seconds: u32) -> Self {
        self.flag(&format!("--time={seconds}"))
    }

    /// Ends after this many transactions of each client.
    #[must_use]
    pub fn transactions(self, transactions: u32) -> Self {
        self.flag(&format!("--transactions={transactions}"))
    }

    /// A new connection for each transaction.
    #[must_use]
    pub fn reconnecting(self) -> Self {
        self.flag("--connect")
    }

    /// Any other flag of pgbench; a later one overrides an earlier one, such as `--builtin=tpcb-like`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When pgbench is not installed.
    pub fn start(&self) -> PgbenchRun {
        let child = Command::new(postgres::program("pgbench"))
            .args(["--no-vacuum", "--jobs=1", &format!("--client={}", self.clients)])
            .args(&self.flags)
            .args(postgres::connection_arguments(self.to))
            .arg("postgres")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pgbench is installed by scripts/test");
        PgbenchRun(Some(child))
    }
}

impl PgbenchRun {
    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for the end and reads the report.
    pub fn report(mut self) -> PgbenchReport {
        let child = self.0.take().expect("a run is read once");
        let output = child.wait_with_output().expect("a child can be waited for");
        PgbenchReport::parse(
            output.status.code().unwrap_or(-1),
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&output.stderr),
        )
    }
}

impl Drop for PgbenchRun {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl PgbenchReport {
    fn parse(exit: i32, stdout: &str, stderr: &str) -> Self {
        let after = |mark: &str| {
            let rest = stdout.lines().find_map(|line| line.strip_prefix(mark))?;
            rest.split([' ', '/']).find_map(|word| word.parse::<f64>().ok())
        };
        let count = |mark: &str| after(mark).unwrap_or_default() as u64;
        // A connection that cannot be made at the start ends the whole run with the first of the two.
        let refused = ["could not create connection for", "aborted while establishing connection"];
        let given_up = |marks: &[&str]| {
            stderr.lines().filter(|line| marks.iter().any(|mark| line.contains(mark))).count()
        };
        Self {
            exit,
            transactions: count("number of transactions actually processed:"),
            failed: count("number of failed transactions:"),
            refused: given_up(&refused) as u64,
            cut: given_up(&["perhaps the backend died"]) as u64,
            latency_ms: after("latency average =").unwrap_or_default(),
            stderr: stderr.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_report_is_read() {
        let stdout = "transaction type: <builtin: select only>\nnumber of transactions per client: 10\n\
            number of transactions actually processed: 80/80\nnumber of failed transactions: 3 (3.750%)\n\
            latency average = 0.250 ms\ntps = 4000.0 (without initial connection time)\n";
        let report = PgbenchReport::parse(0, stdout, "");
        assert_eq!((report.transactions, report.failed, report.latency_ms), (80, 3, 0.25));
        assert_eq!((report.refused, report.cut), (0, 0));
    }

    #[test]
    fn clients_that_gave_up_are_told_apart() {
        let stderr = "pgbench: error: connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\
            pgbench: error: client 2 aborted while establishing connection\n\
            pgbench: error: client 0 aborted: perhaps the backend died while processing\n";
        let report = PgbenchReport::parse(2, "", stderr);
        assert_eq!((report.exit, report.refused, report.cut, report.transactions), (2, 1, 1, 0));
    }
}
