//! `weir reference`: the reference page of the configuration, kept as `docs/reference.md`.

use std::fmt::Write as _;
use std::process::ExitCode;

use weir_base::ErrorCode;
use weir_config::Code;

/// Prints the page.
pub(crate) fn run() -> ExitCode {
    super::print(&page())
}

fn page() -> String {
    let mut page = format!("{HEAD}{}", weir_config::reference(&crate::spec::ROOT));
    page.push_str("## policies\n\nAn item of a route's `policies` has exactly one of these keys.\n\n| policy | does |\n|---|---|\n");
    for kind in weir_http::policy_kinds() {
        let _ = writeln!(page, "| `{}` | {} |", kind.name, kind.doc);
    }
    page.push_str(VARIABLES);
    for (name, meaning) in weir_http::VARIABLES {
        let _ = writeln!(page, "| `{{{name}}}` | {meaning} |");
    }
    page.push_str("\n## problems\n\nWhat `weir check` and a reload may say about a configuration.\n\n| code | title | meaning |\n|---|---|---|\n");
    for rule in Code::ALL {
        let _ = writeln!(page, "| {} | {} | {} |", rule.code, rule.title, cell(rule.doc));
    }
    page.push_str("\n## errors\n\nWhat Weir itself answers, in `weir-error` and in the body's `type`.\n\n| code | status | at fault | meaning |\n|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let origin = code.origin().as_str();
        let _ = writeln!(
            page,
            "| `{}` | {} | {origin} | {} |",
            code.as_str(),
            code.status(),
            cell(code.doc().trim())
        );
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

const HEAD: &str = "# Configuration reference

Made by `weir reference` from the same tables that the decoder reads; do not edit it by hand.

Durations are written `250ms`, `10s`, `5m`, `1h`; sizes `64KiB`, `10MiB`; shares `20%`. Keys that take `off` take
`false` too. `${NAME}` and `${NAME:-default}` stand for environment variables, `$$` for a dollar. A secret is
`{ file: … }`, `{ env: NAME }` or a text. Relative paths start at the directory of the file that names them.

";

const VARIABLES: &str = "
## variables

Texts that may hold variables take these, and the path parameters of their route. `{{` and `}}` stand for braces.

| variable | meaning |
|---|---|
";
