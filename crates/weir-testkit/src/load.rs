use std::process::{Child, Command, Stdio};

/// What curl printed.
#[derive(Debug, Clone)]
pub struct Curl {
    /// Its exit status: 0 when the transfer was complete, 18 when a body was cut, 52 for no answer.
    pub exit: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs Debian's curl with these arguments, silently and with a time limit.
///
/// # Panics
///
/// When curl is not installed.
pub fn curl(args: &[&str]) -> Curl {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args(args)
        .output()
        .expect("curl is installed by scripts/test");
    Curl {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running wrk.
pub struct Load(Option<Child>);

/// What wrk counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests answered.
    pub requests: u64,
    /// Answers that are neither 2xx nor 3xx.
    pub bad_statuses: u64,
    /// Connections that could not be made, reads and writes that failed, requests that timed out.
    pub socket_errors: u64,
}

/// Starts wrk on `url` with one thread.
///
/// # Panics
///
/// When wrk is not installed.
pub fn wrk(url: &str, connections: u32, seconds: u32) -> Load {
    let child = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("wrk is installed by scripts/test");
    Load(Some(child))
}

impl Load {
    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for the end and reads the report.
    ///
    /// # Panics
    ///
    /// When wrk printed no report.
    pub fn report(mut self) -> LoadReport {
        let child = self.0.take().expect("a load is read once");
        let output = child.wait_with_output().expect("a child can be waited for");
        LoadReport::parse(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl LoadReport {
    fn parse(text: &str) -> Self {
        let numbers = |line: &str| -> Vec<u64> {
            line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
        };
        let of = |mark: &str| text.lines().find(|line| line.contains(mark)).map(numbers).unwrap_or_default();
        let requests = of("requests in").first().copied();
        Self {
            requests: requests.unwrap_or_else(|| panic!("no report: {text}")),
            bad_statuses: of("Non-2xx or 3xx").last().copied().unwrap_or_default(),
            socket_errors: of("Socket errors").iter().sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_errors_is_counted() {
        let text = "  90 requests in 1.00s, 7.9KB read\n  Socket errors: connect 0, read 2, write 1, timeout 4\n  \
                    Non-2xx or 3xx responses: 5\n";
        assert_eq!(LoadReport::parse(text), LoadReport { requests: 90, bad_statuses: 5, socket_errors: 7 });
    }
}
