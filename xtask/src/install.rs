//! The Debian packages that the benches need.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// A program, or another file where the path is whole, and the Debian package that brings it.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
}

pub(crate) const NGINX: Tool = Tool { program: "nginx", package: "nginx-light" };
pub(crate) const NGINX_STREAM: Tool =
    Tool { program: "/usr/lib/nginx/modules/ngx_stream_module.so", package: "libnginx-mod-stream" };
pub(crate) const IPERF3: Tool = Tool { program: "iperf3", package: "iperf3" };
pub(crate) const HAPROXY: Tool = Tool { program: "haproxy", package: "haproxy" };
pub(crate) const WRK: Tool = Tool { program: "wrk", package: "wrk" };
pub(crate) const H2LOAD: Tool = Tool { program: "h2load", package: "nghttp2-client" };
pub(crate) const VALGRIND: Tool = Tool { program: "valgrind", package: "valgrind" };

/// Where Debian puts programs; `/usr/sbin` is often missing from a user's PATH.
const FOLDERS: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];

impl Tool {
    /// The path to call it by.
    pub(crate) fn path(&self) -> String {
        if self.program.starts_with('/') {
            return self.program.to_owned();
        }
        let installed = FOLDERS.iter().map(|folder| format!("{folder}/{}", self.program));
        installed.into_iter().find(|path| Path::new(path).exists()).unwrap_or_else(|| self.program.to_owned())
    }

    fn is_missing(&self) -> bool {
        !Path::new(&self.path()).exists()
    }
}

/// Installs what is missing of `tools`, starting no service.
///
/// # Errors
///
/// The user is neither root nor allowed to use `sudo` without a password, or the installation fails.
pub(crate) fn install(tools: &[&Tool]) -> anyhow::Result<()> {
    let packages: Vec<_> = tools.iter().filter(|tool| tool.is_missing()).map(|tool| tool.package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    println!("installing {wanted}");
    let root = rustix::process::geteuid().is_root();
    ensure!(
        root || sudo_works(),
        "these Debian packages are missing: {wanted}\n\
         run `sudo apt-get install {wanted}`, or run this command as root"
    );
    // Packages of servers start them on installation unless a policy forbids it: `RUNLEVEL=1` is what
    // invoke-rc.d reads as "not a level to start services in".
    let environment = ["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"];
    for arguments in
        [&["update", "-q"][..], &[&["install", "-qy", "--no-install-recommends"], &packages[..]].concat()]
    {
        let mut words = if root { vec![] } else { vec!["sudo", "-n"] };
        words.push("env");
        words.extend(environment);
        words.push("apt-get");
        words.extend(arguments);
        let status = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status();
        let status = status.with_context(|| format!("cannot run {}", words[0]))?;
        ensure!(status.success(), "`{}` failed ({status}); install {wanted} by hand", words.join(" "));
    }
    Ok(())
}

fn sudo_works() -> bool {
    let status = Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
