use std::sync::Arc;

use weir_base::ErrorCode;
use weir_net::tls::Digest;
use weir_wire::http1::{Known as Field, Method, RequestHead, list_items, websocket_key};
use weir_wire::websocket::accept_of;
use weir_wire::yamux::Role;

use super::Relay;
use super::agent::Agent;

/// The subprotocol of agents that know which numbers streams are opened with: ours are the client's.
pub const PROTOCOL: &str = "weir-tunnel.v1+yamux";

/// The subprotocol of agents that speak yamux and no more.
const PLAIN: &str = "yamux";

/// Who connects, and what is agreed on.
pub(super) struct Connect {
    pub(super) agent: Arc<Agent>,
    /// Which numbers we open streams with.
    pub(super) role: Role,
    protocol: Option<&'static str>,
    accept: String,
}

impl Connect {
    /// Judges a request for `/tunnel/connect`, everything before it is upgraded.
    pub(super) fn judge(relay: &Relay, request: &RequestHead) -> Result<Self, ErrorCode> {
        if request.method() != Method::Get {
            return Err(ErrorCode::MethodNotAllowed);
        }
        let fields = &request.fields;
        let lists = |field, wanted: &[u8]| {
            fields.all(field).flat_map(list_items).any(|item| item.eq_ignore_ascii_case(wanted))
        };
        if !lists(Field::Upgrade, b"websocket") || !lists(Field::Connection, b"upgrade") {
            return Err(ErrorCode::UpgradeRequired);
        }
        if fields.get(Field::SecWebSocketVersion) != Some(b"13") {
            return Err(ErrorCode::UpgradeRequired);
        }
        let key = fields.get(Field::SecWebSocketKey).and_then(|key| websocket_key(key).ok());
        let key = key.ok_or(ErrorCode::BadRequest)?;
        let (protocol, role) = protocol(request, relay.known().plan.role)?;
        let token = bearer(request).ok_or(ErrorCode::Unauthorized)?;
        let agent = relay.known().by_token.get(&Digest::of(&[token])).cloned();
        let agent = agent.ok_or(ErrorCode::Unauthorized)?;
        if agent.admits().is_err() {
            return Err(ErrorCode::AgentConnected);
        }
        Ok(Self { agent, role, protocol, accept: accept_of(key) })
    }

    /// Whether the agent is one of ours, whose streams are connections to its service.
    pub(super) fn keeps_streams(&self) -> bool {
        self.protocol == Some(PROTOCOL)
    }

    /// The head that upgrades the connection.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {}\r\n",
            self.accept
        );
        if let Some(protocol) = self.protocol {
            head.push_str("sec-websocket-protocol: ");
            head.push_str(protocol);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// The first of the offers that is spoken here; an agent that makes none speaks yamux and no more.
fn protocol(request: &RequestHead, role: Role) -> Result<(Option<&'static str>, Role), ErrorCode> {
    let mut speaks_another_version = false;
    for offer in request.fields.named(b"sec-websocket-protocol").flat_map(list_items) {
        if offer == PROTOCOL.as_bytes() {
            return Ok((Some(PROTOCOL), Role::Client));
        }
        if offer == PLAIN.as_bytes() {
            return Ok((Some(PLAIN), role));
        }
        speaks_another_version |= offer.starts_with(b"weir-tunnel.");
    }
    if speaks_another_version { Err(ErrorCode::UpgradeRequired) } else { Ok((None, role)) }
}

/// The token of the one `Authorization` field.
fn bearer(request: &RequestHead) -> Option<&[u8]> {
    if request.fields.count(Field::Authorization) != 1 {
        return None;
    }
    let value = request.fields.get(Field::Authorization)?;
    let (scheme, token) = value.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}
