//! What the modules about TCP share: the usual configuration, and what became of a connection.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use serde_json::Value;
use weir_testkit::{Ending, Gateway, RawClient, wait};

use crate::start;

/// The usual configuration: the listener `web` that takes TCP and forwards it to the upstream `app`.
#[derive(Clone, Default)]
pub(crate) struct Tcp {
    endpoints: Vec<String>,
    tcp: String,
    listener: String,
    listeners: String,
    upstream: String,
    upstreams: String,
    top: String,
    has_forward: bool,
}

impl Tcp {
    /// Forwards everything to these endpoints.
    pub(crate) fn to<A: Display>(endpoints: impl IntoIterator<Item = A>) -> Self {
        let endpoints = endpoints.into_iter().map(|a| format!("\"{a}\"")).collect();
        Self { endpoints, has_forward: true, ..Self::default() }
    }

    /// Forwards only what its routes match.
    pub(crate) fn without_forward(mut self) -> Self {
        self.has_forward = false;
        self
    }

    /// Adds an endpoint written out, such as `{ address: "…", weight: 2 }`.
    pub(crate) fn endpoint(mut self, text: impl Into<String>) -> Self {
        self.endpoints.push(text.into());
        self
    }

    /// Adds a line to `tcp`.
    pub(crate) fn tcp(mut self, line: &str) -> Self {
        let _ = writeln!(self.tcp, "      {line}");
        self
    }

    /// Adds a line to the listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        let _ = writeln!(self.listener, "    {line}");
        self
    }

    /// Adds another listener, as one line.
    pub(crate) fn another_listener(mut self, line: &str) -> Self {
        let _ = writeln!(self.listeners, "  {line}");
        self
    }

    /// Adds a line to the upstream.
    pub(crate) fn upstream(mut self, line: &str) -> Self {
        let _ = writeln!(self.upstream, "    {line}");
        self
    }

    /// Adds another upstream, as one line.
    pub(crate) fn another_upstream(mut self, line: &str) -> Self {
        let _ = writeln!(self.upstreams, "  {line}");
        self
    }

    /// Adds a line at the top level.
    pub(crate) fn top(mut self, line: &str) -> Self {
        let _ = writeln!(self.top, "{line}");
        self
    }

    /// The text of it.
    pub(crate) fn yaml(&self) -> String {
        let Self { tcp, listener, listeners, upstream, upstreams, top, .. } = self;
        let forward = if self.has_forward { "      forward: app\n" } else { "" };
        let endpoints = self.endpoints.join(", ");
        let app = match self.endpoints.is_empty() {
            true => String::new(),
            false => format!("  app:\n    endpoints: [{endpoints}]\n{upstream}"),
        };
        format!(
            "listeners:\n  web:\n    bind: \"127.0.0.1:0\"\n    tcp:\n{forward}{tcp}{listener}{listeners}\
             upstreams:\n{app}{upstreams}{top}"
        )
    }

    /// Starts the gateway with it.
    pub(crate) fn start(&self) -> Gateway {
        start(&self.yaml())
    }
}

/// Whether a new connection is reset at once: within the greeting of the kernels, or right after it.
pub(crate) fn is_reset(addr: SocketAddr) -> bool {
    match RawClient::try_connect(addr) {
        Ok(mut client) => client.ending() == Ending::Reset,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Waits for the log line of a connection that ended so.
pub(crate) fn end_of(gateway: &Gateway, end: &str) -> Value {
    wait::until(&format!("a connection that ended {end}"), || {
        gateway.log_lines(|line| line["end"] == end).into_iter().next()
    })
}

/// How many connections of `web` have ended so, by the metrics.
pub(crate) fn ended(gateway: &Gateway, end: &str) -> u64 {
    let labels = ["listener=\"web\"", &format!("end=\"{end}\"")];
    gateway.metrics().sum("weir_stream_ended_total", &labels) as u64
}

/// A fresh connection to `web`, and what its endpoint says of itself in `length` bytes.
pub(crate) fn greeted(gateway: &Gateway, length: usize) -> (RawClient, String) {
    let mut client = gateway.connect();
    let greeting = client.exactly(length).expect("the endpoint speaks first");
    (client, String::from_utf8(greeting).expect("a text"))
}
