//! What `/api/v1/config` shows of `tcp` and `udp` listeners.

use serde_json::{Value, json};
use weir_base::format_duration;
use weir_stream::tcp::routes::Protocol;
use weir_stream::{OnDown, OnRemove, SendProxyProtocol, TcpPlan, TcpRoutePlan, UdpPlan};

pub(super) fn tcp(plan: &TcpPlan) -> Value {
    json!({
        "forward": plan.forward.as_deref(),
        "routes": plan.routes.iter().map(route).collect::<Vec<_>>(),
        "idle_timeout": format_duration(plan.idle_timeout),
        "half_close_timeout": format_duration(plan.half_close_timeout),
        "preread_timeout": format_duration(plan.preread_timeout),
        "send_proxy_protocol": match plan.send_proxy_protocol {
            SendProxyProtocol::Off => "off",
            SendProxyProtocol::V1 => "v1",
            SendProxyProtocol::V2 => "v2",
        },
        "max_connections": plan.max_connections,
        "max_connections_per_ip": plan.max_connections_per_ip,
        "upload_rate": plan.upload_rate.map(|rate| rate.to_string()),
        "download_rate": plan.download_rate.map(|rate| rate.to_string()),
        "keepalive": plan.options.keepalive.map_or_else(off, format_duration),
        "user_timeout": plan.options.user_timeout.map_or_else(off, format_duration),
        "on_remove": on_remove(plan.on_remove),
        "on_down": on_down(plan.on_down),
    })
}

pub(super) fn udp(plan: &UdpPlan) -> Value {
    json!({
        "forward": &*plan.forward,
        "idle_timeout": format_duration(plan.idle_timeout),
        "requests": plan.requests,
        "responses": plan.responses,
        "sessions_max": plan.sessions_max,
        "send_proxy_protocol": if plan.send_proxy_protocol { "v2" } else { "off" },
        "on_remove": on_remove(plan.on_remove),
        "on_down": on_down(plan.on_down),
    })
}

fn route(route: &TcpRoutePlan) -> Value {
    json!({
        "sni": route.matches.sni.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "alpn": route.matches.alpn.iter().map(Protocol::as_str).collect::<Vec<_>>(),
        "forward": &*route.forward,
    })
}

fn off() -> String {
    "off".to_owned()
}

const fn on_remove(plan: OnRemove) -> &'static str {
    match plan {
        OnRemove::Drain => "drain",
        OnRemove::Close => "close",
    }
}

const fn on_down(plan: OnDown) -> &'static str {
    match plan {
        OnDown::Keep => "keep",
        OnDown::Close => "close",
    }
}
