//! stub
pub(crate) fn run(_: &super::ExplainArgs) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
