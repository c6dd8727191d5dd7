//! Weir: one binary between clients and services.
//!
//! This crate is the product: it composes what the floors below it do and decides nothing that they could.
//! `spec` turns files into a plan, `run` makes the plan serve, `admin` shows it, `cli` is the front door.

mod admin;
mod allocator;
mod cli;
mod explain;
mod plan;
mod run;
mod spec;

fn main() -> std::process::ExitCode {
    allocator::give_back_buffers();
    cli::main()
}
