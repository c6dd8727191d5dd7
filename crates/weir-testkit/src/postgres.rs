use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::server::Server;
use crate::{Certificate, wait};

/// The user that owns the cluster, and the database `postgres` in it.
pub(crate) const USER: &str = "weir";

/// The system's user whom PostgreSQL runs as when the tests run as root, which it refuses to be.
const SYSTEM_USER: &str = "postgres";

/// A PostgreSQL cluster of its own, listening on TCP alone, without passwords.
///
/// It keeps nothing safe against a crash, so that it is quick.
pub struct Postgres {
    server: Option<Server>,
    addr: SocketAddr,
    folder: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it on a free port; takes a second or two.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for PostgreSQL");
        init(folder.path());
        let (server, addr) = Server::on_free_port("PostgreSQL", |addr| serve(folder.path(), addr));
        Self { server: Some(server), addr, folder }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Fills the tables that pgbench's scripts use: 100,000 accounts for each step of `scale`.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn fill_for_pgbench(&self, scale: u32) {
        let mut command = Command::new(program("pgbench"));
        command.args(["--initialize", "--quiet", "--scale", &scale.to_string()]);
        succeed(command.args(connection_arguments(self.addr)).arg("postgres"));
    }

    /// What an SQL query answers: a line for each row, with `|` between its columns.
    ///
    /// # Panics
    ///
    /// When the query fails.
    pub fn query(&self, sql: &str) -> String {
        let mut command = Command::new(program("psql"));
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]);
        succeed(command.args(connection_arguments(self.addr)).arg("postgres")).trim_end().to_owned()
    }

    /// Has it take connections over TLS too, with this certificate.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn take_tls(&self, certificate: &Certificate) {
        // It wants to own its files, and that nobody else reads the key: it writes them itself.
        for (file, pem) in [("server.crt", certificate.pem()), ("server.key", certificate.key_pem())] {
            let lines = format!("SELECT regexp_split_to_table('{}', '\\n')", pem.trim_end());
            self.query(&format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {file}'"));
        }
        self.query("ALTER SYSTEM SET ssl = on");
        self.query("SELECT pg_reload_conf()");
        wait::until_true("PostgreSQL to take TLS", || self.query("SHOW ssl") == "on");
    }

    /// What psql prints of this query at another address, such as a gateway's, with these settings of libpq.
    ///
    /// # Errors
    ///
    /// What it complains of.
    pub fn query_at(addr: SocketAddr, settings: &str, sql: &str) -> Result<String, String> {
        let target = format!(
            "host=127.0.0.1 port={} user={USER} dbname=postgres connect_timeout=20 {settings}",
            addr.port()
        );
        let mut command = Command::new(program("psql"));
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql, &target]);
        let output = command.output().expect("psql is installed by scripts/test");
        let [told, complaint] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).trim_end().to_owned());
        if output.status.success() { Ok(told) } else { Err(complaint) }
    }

    /// Ends it as if it had crashed: connections are cut, and none is accepted until [`Postgres::resume`].
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port, with what it held.
    ///
    /// # Panics
    ///
    /// When it does not start, which also happens when somebody has taken the port.
    pub fn resume(&mut self) {
        let server = serve(self.folder.path(), self.addr);
        self.server = Some(server.expect("PostgreSQL starts again on its port"));
    }
}

/// Host, port and user, as PostgreSQL's programs take them.
pub(crate) fn connection_arguments(addr: SocketAddr) -> [String; 6] {
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    ["--host".into(), host, "--port".into(), port, "--username".into(), USER.into()]
}

/// One of PostgreSQL's programs. Debian keeps them in a folder for each version, outside of every `PATH`.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| Path::new(&format!("/usr/lib/postgresql/{version}/bin/{name}")).exists())
        .max();
    match newest {
        Some(version) => format!("/usr/lib/postgresql/{version}/bin/{name}").into(),
        None => name.into(),
    }
}

fn init(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        succeed(Command::new("chown").arg(SYSTEM_USER).arg(folder));
    }
    let mut command = as_owner("initdb", folder);
    command.args(["--auth", "trust", "--username", USER, "--no-sync", "--encoding", "UTF8", "--no-locale"]);
    succeed(command.arg("--pgdata").arg(folder.join("data")));
}

fn serve(folder: &Path, addr: SocketAddr) -> Option<Server> {
    let mut command = as_owner("postgres", folder);
    command.arg("-D").arg(folder.join("data")).args(["-p", &addr.port().to_string()]);
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=200",
        "shared_buffers=16MB",
    ];
    command.args(settings.map(|setting| format!("--{setting}")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // QUIT: without waiting for clients and without a checkpoint.
    Server::start(&mut command, Signal::QUIT, || accepts(addr))
}

/// Whether it serves: it listens a moment earlier, and tells clients to come back.
fn accepts(addr: SocketAddr) -> bool {
    let mut command = Command::new(program("pg_isready"));
    let status = command.arg("--quiet").args(connection_arguments(addr)).status();
    status.expect("pg_isready is installed with PostgreSQL").success()
}

/// A command for one of PostgreSQL's programs, by a user that it accepts; the process id is the program's.
fn as_owner(name: &str, folder: &Path) -> Command {
    let program = program(name);
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // It wants to look into the folder it is started in.
    command.current_dir(folder);
    command
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}, installed by scripts/test: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
