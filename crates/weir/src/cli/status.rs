//! `weir status`: what the running gateway does.

use std::process::ExitCode;

use super::ask::{ask, refusal};
use super::{AdminArgs, FAILED, print};

/// Prints the status as JSON.
pub(super) fn run(args: &AdminArgs) -> ExitCode {
    match ask(&args.admin, args.token_file.as_deref(), "GET", "/api/v1/status", None) {
        Ok(answer) if answer.status == 200 => print(&format!("{:#}\n", answer.body)),
        Ok(answer) => {
            eprintln!("error: {}", refusal(&answer));
            ExitCode::from(FAILED)
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(FAILED)
        }
    }
}
