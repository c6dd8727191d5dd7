//! `weir reload`: makes the running gateway read its configuration again.

use std::process::ExitCode;

use super::ask::{ask, refusal};
use super::{AdminArgs, BAD, FAILED, print};

/// Prints the new revision, or every problem.
pub(super) fn run(args: &AdminArgs) -> ExitCode {
    match ask(&args.admin, args.token_file.as_deref(), "POST", "/api/v1/reload", None) {
        Ok(answer) if answer.status == 200 => {
            print(&format!("reloaded: revision {}\n", answer.body["revision"]))
        }
        Ok(answer) => {
            match answer.body.get("problems") {
                Some(problems) => eprintln!("{problems:#}"),
                None => eprintln!("{}", refusal(&answer)),
            }
            ExitCode::from(if answer.status == 422 { BAD } else { FAILED })
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(FAILED)
        }
    }
}
