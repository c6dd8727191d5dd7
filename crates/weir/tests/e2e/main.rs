//! The real binary between real clients and real servers, one module per theme.
//!
//! One test binary, so that tests that mostly wait run beside each other and the kit is linked once. Every test
//! starts its own gateway on ports of the kernel's choice.

mod abuse;
mod admin;
mod admin_abuse;
mod balancing;
mod cli;
mod compress;
mod config;
mod cors;
mod drain;
mod errors;
mod forwarded;
mod forwarding;
mod framing;
mod grpc;
mod grpc_web;
mod h2_abuse;
mod h2_abuse_floods;
mod h2_abuse_heads;
mod h2_abuse_resets;
mod h2_abuse_windows;
mod h2_connections;
mod h2_downgrade;
mod h2_requests;
mod h2_upstreams;
mod h2_websocket;
mod health;
mod limits;
mod logging;
mod reload;
mod retry;
mod routing;
mod streaming;
mod tcp;
mod tcp_balancing;
mod tcp_limits;
mod tcp_postgres;
mod tcp_proxy_protocol;
mod tcp_relay;
mod tcp_reload;
mod tcp_sni;
mod tcp_tls;
mod timeouts;
mod tls;
mod tls_certificates;
mod tls_http;
mod tls_scanners;
mod tls_tcp;
mod tunnel;
mod tunnel_agents;
mod udp;
mod udp_addresses;
mod udp_dns;
mod udp_flood;
mod udp_proxy_protocol;
mod udp_reload;
mod udp_upstreams;
mod upgrade;
mod upstream_faults;
mod upstream_tls;
mod upstream_tls_health;
mod websocket_abuse;

use config::{Config, binary, start};
