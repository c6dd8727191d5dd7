use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Metrics, RawClient, Response, SocketOptions, wait};

/// How the binary is started.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    binary: PathBuf,
    descriptors_max: Option<u32>,
    env: Vec<(String, String)>,
}

impl GatewayOptions {
    /// Starts the binary at this path, in its own empty folder.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), descriptors_max: None, env: Vec::new() }
    }

    /// Soft and hard limit of descriptors, as `ulimit -n` sets it.
    #[must_use]
    pub fn descriptors_max(mut self, max: u32) -> Self {
        self.descriptors_max = Some(max);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// The admin address goes to a port of the kernel's choice unless `yaml` names one.
    ///
    /// # Panics
    ///
    /// When it ends or is not ready within [`wait::PATIENCE`]; the message holds what it wrote.
    pub fn start(&self, yaml: &str) -> Gateway {
        let mut gateway = self.spawn(yaml);
        let ready = wait::until_within(wait::PATIENCE, || match gateway.child.try_wait() {
            Ok(None) => gateway.events("ready").first().map(|_| true),
            _ => Some(false),
        });
        assert!(ready == Some(true), "the gateway did not start:\n{}\n{yaml}", gateway.stderr());
        gateway
    }

    /// Starts it with a configuration that it should refuse; what it wrote, and how it ended.
    ///
    /// # Panics
    ///
    /// When it runs on for [`wait::PATIENCE`].
    pub fn start_refused(&self, yaml: &str) -> (ExitStatus, String) {
        let mut gateway = self.spawn(yaml);
        let status = gateway.exit_status();
        gateway.join_readers();
        (status, gateway.stderr())
    }

    fn spawn(&self, yaml: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder for the configuration");
        let file = folder.path().join("weir.yaml");
        write_config(&file, yaml);
        let mut command = match self.descriptors_max {
            None => Command::new(&self.binary),
            Some(max) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {max}; exec \"$0\" \"$@\"")]).arg(&self.binary);
                shell
            }
        };
        command.args(["run"]).arg(&file).current_dir(folder.path());
        command.envs(self.env.iter().cloned()).stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            stdout.collect_from(child.stdout.take().expect("a piped stdout")),
            stderr.collect_from(child.stderr.take().expect("a piped stderr")),
        ];
        Gateway { child, folder, file, stdout, stderr, readers }
    }
}

/// Writes beside and renames, as an editor does: the watcher never sees half a file.
fn write_config(file: &Path, yaml: &str) {
    let has_admin = yaml.lines().any(|line| line.starts_with("admin:"));
    let admin = if has_admin { "" } else { "\nadmin: { bind: \"127.0.0.1:0\" }\n" };
    // Two writers at once each have their own.
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    let beside = file.with_extension(format!("new-{}", WRITES.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&beside, format!("{yaml}{admin}")).expect("the test's own folder is writable");
    std::fs::rename(&beside, file).expect("the test's own folder is writable");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn collect_from(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                lines.lock().push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The real binary, running. Dropping it kills it and fails the test when it panicked.
pub struct Gateway {
    child: Child,
    folder: TempDir,
    file: PathBuf,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that the configuration lies in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the listener called `name` listens.
    ///
    /// # Panics
    ///
    /// When no such listener has been reported for [`wait::PATIENCE`].
    pub fn addr(&self, name: &str) -> SocketAddr {
        self.try_addr(name).unwrap_or_else(|| panic!("no listener {name}:\n{}", self.stderr()))
    }

    fn try_addr(&self, name: &str) -> Option<SocketAddr> {
        wait::until_within(wait::PATIENCE, || {
            let listening = self.events("listening");
            let of_name = listening.iter().rev().find(|event| event["listener"] == name)?;
            of_name["address"].as_str()?.parse().ok()
        })
    }

    /// Where the admin address listens.
    pub fn admin(&self) -> SocketAddr {
        self.addr("admin")
    }

    /// A fresh connection to the listener called `web`.
    pub fn connect(&self) -> RawClient {
        RawClient::connect(self.addr("web"))
    }

    /// A GET on a fresh connection to `web`, with `Host: test`.
    pub fn get(&self, path: &str) -> Response {
        self.connect().get("test", path)
    }

    /// One request to the admin address, on a fresh connection.
    pub fn admin_request(&self, method: &str, path: &str, fields: &str) -> Response {
        let addr = self.admin();
        let mut client = RawClient::connect(addr);
        let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{length}{fields}\r\n"));
        client.read_response(method).unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
    }

    /// A GET of an admin resource.
    pub fn admin_get(&self, path: &str) -> Response {
        self.admin_request("GET", path, "")
    }

    /// Rewrites the configuration without telling the gateway.
    pub fn write_config(&self, yaml: &str) {
        write_config(&self.file, yaml);
    }

    /// Rewrites the configuration and reloads it through the admin address.
    pub fn reload(&self, yaml: &str) -> Response {
        self.write_config(yaml);
        self.admin_request("POST", "/api/v1/reload", "")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the child is ours and has not been waited for");
    }

    /// Sends SIGHUP: reload.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGTERM without waiting.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    ///
    /// When it runs on for [`wait::PATIENCE`].
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.exit_status()
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// When it runs on for [`wait::PATIENCE`].
    pub fn exit_status(&mut self) -> ExitStatus {
        wait::until_within(wait::PATIENCE, || self.child.try_wait().ok().flatten())
            .unwrap_or_else(|| panic!("the gateway did not end:\n{}", self.stderr()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a running process")
    }

    /// Number of open descriptors.
    pub fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running process").count()
    }

    /// The options of its TCP socket that is connected to `peer`.
    ///
    /// # Panics
    ///
    /// When it has none for [`wait::PATIENCE`].
    pub fn socket_options(&self, peer: SocketAddr) -> SocketOptions {
        wait::until("a socket of the gateway's", || SocketOptions::find(&self.child, peer))
    }

    /// CPU time used so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |n: usize| fields.split_whitespace().nth(n).and_then(|t| t.parse::<u64>().ok());
        // Fields 14 and 15 of proc(5), counted after the name; a tick is 10 ms on Linux.
        Duration::from_millis(10 * (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()))
    }

    /// A scrape of the metrics.
    pub fn metrics(&self) -> Metrics {
        let response = self.admin_get("/metrics");
        assert_eq!(response.status, 200, "{response:?}");
        Metrics::parse(&response.text())
    }

    /// Everything it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().join("\n")
    }

    /// Lines of stdout so far, as they are.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.stdout.lock().clone()
    }

    /// Log lines of stderr with this `event`.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let parsed = parse(&self.stderr.lock());
        parsed.into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Access lines so far for which `keep` holds.
    pub fn log_lines(&self, keep: impl Fn(&Value) -> bool) -> Vec<Value> {
        parse(&self.stdout.lock()).into_iter().filter(keep).collect()
    }

    /// Waits for the access line of the request to `path` and answers it.
    ///
    /// # Panics
    ///
    /// When none comes for [`wait::PATIENCE`].
    pub fn access_line(&self, path: &str) -> Value {
        wait::until(&format!("the access line of {path}"), || {
            let is_it = |line: &Value| {
                line["path"].as_str().is_some_and(|whole| whole.split('?').next() == Some(path))
            };
            self.log_lines(is_it).into_iter().next()
        })
    }

    fn join_readers(&mut self) {
        // Bounded: a process that outlives the gateway and holds its pipes must not hold the test.
        wait::until_within(wait::PATIENCE, || self.readers.iter().all(JoinHandle::is_finished).then_some(()));
    }
}

fn parse(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok().or_else(|| parse_text(line))).collect()
}

/// A line of `format: text`: timestamp, level, service, event, then `key=value`.
fn parse_text(line: &str) -> Option<Value> {
    let mut words = line.split(' ');
    let mut fields = serde_json::Map::new();
    for name in ["timestamp", "level", "service_name", "event"] {
        fields.insert(name.to_owned(), words.next()?.into());
    }
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        fields.insert(key.to_owned(), value.into());
    }
    Some(Value::Object(fields))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join_readers();
        let stderr = self.stderr();
        if std::thread::panicking() {
            let lines: Vec<&str> = stderr.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- last lines of the gateway ---\n{}\n---", last.join("\n"));
        } else {
            assert!(!stderr.contains("panicked"), "the gateway panicked:\n{stderr}");
        }
    }
}
