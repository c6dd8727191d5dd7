//! The command line: what can be asked for, and who answers.

mod agent;
mod ask;
mod check;
mod demo;
mod explain;
mod proxy;
mod reference;
mod reload;
mod run;
mod schema;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Nothing went wrong.
pub(crate) const DONE: u8 = 0;
/// Something failed while it ran.
pub(crate) const FAILED: u8 = 1;
/// The command line or the configuration is bad; clap's own status for bad usage too.
pub(crate) const BAD: u8 = 2;

/// The gateway: an HTTP reverse proxy from one configuration file.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(RunArgs),
    /// Run a complete example with two built-in services behind it
    Demo(DemoArgs),
    /// Run a reverse proxy without a file
    Proxy(ProxyArgs),
    /// Dial a relay and serve its requests from a service nearby
    Agent(AgentArgs),
    /// Check a configuration as `run` does, without opening a port
    Check(CheckArgs),
    /// Tell which route a request takes and why, and where it would go
    Explain(ExplainArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Make the running gateway read its configuration again
    Reload(AdminArgs),
    /// Show what the running gateway does
    Status(AdminArgs),
    /// Print the reference page of the configuration
    #[command(hide = true)]
    Reference,
}

/// `weir run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration
    #[arg(value_name = "FILE", default_value = "weir.yaml")]
    pub(crate) file: PathBuf,
}

/// `weir demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The port to listen on, on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
}

/// `weir proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where clients connect, such as 127.0.0.1:8080 or unix:/run/weir.sock
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: String,
    /// Where requests go; several are taken in turn
    #[arg(long, value_name = "ADDR", required = true, value_delimiter = ',')]
    pub(crate) to: Vec<String>,
}

/// `weir agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The relay, such as ws://relay.example.com:3800
    #[arg(long, value_name = "URL")]
    pub(crate) relay: String,
    /// A file with the agent's token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// Where requests and connections go: 127.0.0.1:3000, a name with a port, or unix:/path
    #[arg(long, value_name = "ADDR")]
    pub(crate) to: String,
}

/// `weir check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration
    #[arg(value_name = "FILE", default_value = "weir.yaml")]
    pub(crate) file: PathBuf,
    /// Print the problems as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `weir explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The method, such as GET
    pub(crate) method: String,
    /// A URL, or a path alone
    pub(crate) url: String,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "weir.yaml", conflicts_with = "admin")]
    pub(crate) config: PathBuf,
    /// A header of the request, "name: value"; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The listener that the request comes to; by default the one with the port of the URL, else the first
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// The client's address, for balancers that look at it
    #[arg(long, value_name = "IP")]
    pub(crate) client: Option<std::net::IpAddr>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Ask the running gateway at this admin address
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// A file with the bearer token of the admin address
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `weir reload` and `weir status`.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The admin address of the running gateway; may be unix:/path
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub(crate) admin: String,
    /// A file with the bearer token of the admin address
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args.file),
        Command::Demo(args) => demo::run(&args),
        Command::Proxy(args) => proxy::run(&args.listen, &args.to),
        Command::Agent(args) => agent::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema => schema::run(),
        Command::Reload(args) => reload::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Reference => reference::run(),
    }
}

/// Prints to standard output; a reader that has gone away is no failure.
pub(crate) fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ => ExitCode::from(DONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn several_addresses_are_one_list() {
        let cli = Cli::try_parse_from(["weir", "proxy", "--listen", "[::]:80", "--to", "a:1,b:2"]).unwrap();
        let Command::Proxy(args) = cli.command else { panic!("{cli:?}") };
        assert_eq!((&*args.listen, args.to), ("[::]:80", vec!["a:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn usage_that_contradicts_itself_is_refused() {
        for bad in [
            &["weir"][..],
            &["weir", "run", "a", "b"],
            &["weir", "proxy", "--listen", "x:1"],
            &["weir", "explain", "GET"],
            &["weir", "explain", "GET", "/", "-c", "f", "--admin", "x:1"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
