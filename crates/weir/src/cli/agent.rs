//! `weir agent`: dials a relay and joins its streams to a service nearby.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use weir_telemetry::{Format, Level, Log, SHUTDOWN_FLUSH_MAX};
use weir_tunnel::agent::{self, AgentSettings, Service};

use super::{AgentArgs, BAD, DONE, FAILED};

/// Runs until a signal ends it, or the relay refuses it for good.
pub(super) fn run(args: &AgentArgs) -> ExitCode {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(BAD);
        }
    };
    let log = match Log::new("weir", Level::Info, Format::Json) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: cannot open the log: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start a runtime: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(until_signal(settings, log.clone()));
    log.flush(SHUTDOWN_FLUSH_MAX);
    code
}

async fn until_signal(settings: AgentSettings, log: Log) -> ExitCode {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        eprintln!("error: cannot listen for signals");
        return ExitCode::from(FAILED);
    };
    tokio::select! {
        refused = agent::run(settings, log) => {
            let Err(error) = refused;
            eprintln!("error: {error}");
            // The token or the address is wrong: a restart does not help.
            ExitCode::from(BAD)
        }
        _ = terminate.recv() => ExitCode::from(DONE),
        _ = interrupt.recv() => ExitCode::from(DONE),
    }
}

fn settings(args: &AgentArgs) -> Result<AgentSettings, String> {
    let relay = args.relay.parse().map_err(|error| format!("--relay {}: {error}", args.relay))?;
    let token = token(&args.token_file)?;
    Ok(AgentSettings { relay, token, to: service(&args.to)? })
}

fn token(file: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("--token-file {}: {error}", file.display()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("--token-file {}: a token is printable ASCII without spaces", file.display()));
    }
    Ok(token.to_owned())
}

/// `127.0.0.1:3000`, `name:3000` or `unix:/path`; `http://` before an address means the same.
fn service(text: &str) -> Result<Service, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Service::Unix(path.into()));
    }
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if let Ok(address) = address.parse() {
        return Ok(Service::Tcp(address));
    }
    let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
    match port.map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(Service::Name(address.to_owned())),
        _ => Err(format!("--to {text}: write `HOST:PORT` or `unix:/path`")),
    }
}
