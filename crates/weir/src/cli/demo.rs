//! `weir demo`: a complete example with two built-in services behind it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::DemoArgs;
use super::proxy::Text;
use crate::run;

/// Runs the example until a signal ends it.
///
/// The two services are listeners of the same process on unix sockets in a folder of their own, so that the
/// example needs no other program and no other port.
pub(super) fn run(args: &DemoArgs) -> ExitCode {
    // A demo beside a demo: where the kernel chooses the port, it chooses the admin address's too.
    let admin_port = if args.port == 0 { 0 } else { 9090 };
    let folder = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("error: cannot make the folder {}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    let source = Text::new("weir demo", configuration(&folder, args.port, admin_port));
    let code = run::run(Arc::new(source), print_what_to_try);
    // The sockets are gone with their listeners; a folder that is left behind does no harm.
    let _left = std::fs::remove_dir(&folder);
    code
}

fn configuration(folder: &Path, port: u16, admin_port: u16) -> String {
    let socket = |name: &str| format!("unix:{}", folder.join(name).display());
    format!(
        r#"
listeners:
  web: {{ bind: "127.0.0.1:{port}", http: {{}} }}
  # The two services that stand behind the gateway.
  hello-service: {{ bind: "{hello}", http: {{}} }}
  echo-service: {{ bind: "{echo}", http: {{}} }}

routes:
  - name: hello
    match: {{ listeners: [web], path: /hello/:name }}
    policies:
      - headers: {{ response: {{ set: {{ x-served-by: weir }} }} }}
    forward: hello
  - name: echo
    match: {{ listeners: [web], path: /api/* }}
    policies:
      - rewrite: {{ strip_prefix: /api }}
      - security_headers: {{ preset: api }}
    forward: echo
  - name: split
    match: {{ listeners: [web], path: /split }}
    forward: [{{ upstream: hello, weight: 80 }}, {{ upstream: echo, weight: 20 }}]
  - name: old
    match: {{ listeners: [web], path: /old/*rest }}
    redirect: {{ to: "/hello/{{rest}}", status: 308 }}
  - name: ping
    match: {{ listeners: [web], path: /ping }}
    respond: {{ status: 200, body: "pong\n" }}
  - name: hello-answer
    match: {{ listeners: [hello-service] }}
    respond:
      status: 200
      body: "Hello from the first service. You asked for {{path}}.\n"
  - name: echo-answer
    match: {{ listeners: [echo-service] }}
    respond:
      status: 200
      headers: {{ content-type: text/plain }}
      body: |
        The second service was asked: {{method}} {{uri}}
        host {{host}}, accept {{header.accept}}, trace {{trace_id}}

upstreams:
  hello: {{ endpoints: ["{hello}"], health: {{ active: {{ http: {{ path: /health }} }} }} }}
  echo: {{ endpoints: ["{echo}"] }}

admin: {{ bind: "127.0.0.1:{admin_port}" }}
watch: off
"#,
        hello = socket("hello.sock"),
        echo = socket("echo.sock"),
    )
}

fn print_what_to_try(gateway: &run::Gateway) {
    let addresses = gateway.listeners();
    let address = |name: &str| {
        addresses.iter().find(|row| row.name == name).map_or("?", |row| row.address.as_str()).to_owned()
    };
    let web = address("web");
    let admin = gateway.admin_address().unwrap_or_else(|| "127.0.0.1:9090".to_owned());
    println!(
        "\nWeir is running with two services behind it. Try, in another terminal:\n\n  \
         curl -i http://{web}/hello/you        forwarded to the first service\n  \
         curl -i http://{web}/api/anything?a=b forwarded to the second, which shows what it received\n  \
         curl -i http://{web}/old/friend       redirected\n  \
         curl -i http://{web}/nowhere          an error of the gateway's own\n  \
         curl -s http://{admin}/api/v1/status  what the gateway says of itself\n  \
         curl -s http://{admin}/metrics        the same for Prometheus\n\n\
         Each request is a line of JSON below. Ctrl-C drains and stops.\n"
    );
}
