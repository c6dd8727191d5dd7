//! `weir explain`: which route a request takes and why, from a file or from the running gateway.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;
use weir_net::tls::certificates::Shelf;

use super::{ExplainArgs, ask};
use crate::explain::{self, Question};
use crate::spec;

/// Prints the explanation; 2 for a bad configuration or question, 1 when the gateway cannot be asked.
pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let answer = question(args).and_then(|question| match &args.admin {
        Some(admin) => of_gateway(admin, args, &question),
        None => of_file(args, &question),
    });
    match answer {
        Ok(answer) if args.json => super::print(&format!("{answer:#}\n")),
        Ok(answer) => super::print(&explain::text(&answer)),
        Err(failure) => {
            eprintln!("{}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

struct Failure {
    message: String,
    status: u8,
}

fn bad(message: String) -> Failure {
    Failure { message: format!("error: {message}"), status: super::BAD }
}

fn question(args: &ExplainArgs) -> Result<Question, Failure> {
    let header = |text: &String| {
        let (name, value) = text
            .split_once(':')
            .filter(|(name, _)| weir_wire::http1::is_token(name.as_bytes()))
            .ok_or_else(|| bad(format!("`{text}` is no header; write `name: value`")))?;
        Ok((name.to_owned(), value.trim().to_owned()))
    };
    Ok(Question {
        method: args.method.clone(),
        url: args.url.clone(),
        headers: args.headers.iter().map(header).collect::<Result<_, Failure>>()?,
        listener: args.listener.clone(),
        client: args.client,
    })
}

fn of_file(args: &ExplainArgs, question: &Question) -> Result<Value, Failure> {
    let plan = spec::load(&args.config, &Shelf::default()).map_err(|rejected| Failure {
        message: format!("{}: {} cannot be used", rejected.text, args.config.display()),
        status: super::BAD,
    })?;
    let tls = |name: &str| Some(Arc::clone(plan.listeners.get(name)?.tls.as_ref()?.certificates()));
    explain::explain(&plan, question, &|_| None, &tls).map_err(bad)
}

fn of_gateway(admin: &str, args: &ExplainArgs, question: &Question) -> Result<Value, Failure> {
    let token = args.token_file.as_deref();
    let answer = ask::ask(admin, token, "POST", "/api/v1/explain", Some(&question.to_json()))
        .map_err(|message| Failure { message: format!("error: {message}"), status: super::FAILED })?;
    match answer.status {
        200 => Ok(answer.body),
        400 => Err(bad(ask::refusal(&answer))),
        _ => Err(Failure { message: format!("error: {}", ask::refusal(&answer)), status: super::FAILED }),
    }
}
