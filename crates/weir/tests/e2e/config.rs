use std::fmt::{Display, Write as _};

use weir_testkit::{Gateway, GatewayOptions};

/// The binary under test, with default options.
pub(crate) fn binary() -> GatewayOptions {
    GatewayOptions::new(env!("CARGO_BIN_EXE_weir"))
}

/// Starts the gateway with this configuration.
pub(crate) fn start(yaml: &str) -> Gateway {
    binary().start(yaml)
}

/// The usual configuration: the listener `web`, one route for every path, the upstream `app`.
#[derive(Clone, Default)]
pub(crate) struct Config {
    endpoints: Vec<String>,
    listener: String,
    http: String,
    route: String,
    routes: String,
    upstream: String,
    top: String,
}

impl Config {
    /// Forwards everything to these endpoints.
    pub(crate) fn to<A: Display>(endpoints: impl IntoIterator<Item = A>) -> Self {
        let endpoints = endpoints.into_iter().map(|a| format!("\"{a}\"")).collect();
        Self { endpoints, ..Self::default() }
    }

    /// Adds an endpoint written out, such as `{ address: "…", weight: 2 }`.
    pub(crate) fn endpoint(mut self, text: impl Into<String>) -> Self {
        self.endpoints.push(text.into());
        self
    }

    /// Adds a line to the listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        let _ = writeln!(self.listener, "    {line}");
        self
    }

    /// What the listener's `http` holds, in flow style.
    pub(crate) fn http(mut self, keys: &str) -> Self {
        self.http = keys.to_owned();
        self
    }

    /// Adds a line to the route.
    pub(crate) fn route(mut self, line: &str) -> Self {
        let _ = writeln!(self.route, "    {line}");
        self
    }

    /// Adds another route, in flow style.
    pub(crate) fn another_route(mut self, flow: &str) -> Self {
        let _ = writeln!(self.routes, "  - {flow}");
        self
    }

    /// Adds a line to the upstream.
    pub(crate) fn upstream(mut self, line: &str) -> Self {
        let _ = writeln!(self.upstream, "    {line}");
        self
    }

    /// Adds a line at the top level.
    pub(crate) fn top(mut self, line: &str) -> Self {
        let _ = writeln!(self.top, "{line}");
        self
    }

    /// The text of it.
    pub(crate) fn yaml(&self) -> String {
        let Self { listener, http, route, routes, upstream, top, .. } = self;
        format!(
            "listeners:\n  web:\n    bind: \"127.0.0.1:0\"\n    http: {{ {http} }}\n{listener}\
             routes:\n  - name: all\n    match: {{ path: /* }}\n    forward: app\n{route}{routes}\
             upstreams:\n  app:\n    endpoints: [{}]\n{upstream}{top}",
            self.endpoints.join(", ")
        )
    }

    /// Starts the gateway with it.
    pub(crate) fn start(&self) -> Gateway {
        start(&self.yaml())
    }
}
