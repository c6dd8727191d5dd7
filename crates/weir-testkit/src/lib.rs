//! For tests only: the real binary under test, scripted upstreams and raw clients.
//!
//! Everything here is blocking and runs on plain threads, so that a test reads from top to bottom. Each wait
//! is bounded ([`wait::PATIENCE`]) and watches a real condition; ports come from the kernel; processes are ended
//! by the handle that started them. Both ends are strict: a [`RawClient`] and an [`Origin`] refuse any message
//! that is not plain HTTP/1.1, so every test also proves that the gateway writes well-formed messages.

pub mod behaviour;
mod certificate;
mod chromium;
mod client;
mod dnsmasq;
mod dnsperf;
mod fault;
mod gate;
mod gateway;
pub mod h2;
mod haproxy;
mod iperf3;
mod load;
mod message;
mod metrics;
mod nginx;
mod node;
mod origin;
mod pgbench;
mod postgres;
mod problem;
mod python;
mod raw_server;
mod server;
mod socket_options;
mod udp;
pub mod wait;
pub mod websocket;
mod wire;

pub use certificate::{Authority, Certificate, CertificateRequest};
pub use chromium::{browse, browse_until_loaded};
pub use client::RawClient;
pub use dnsmasq::Dnsmasq;
pub use dnsperf::{Dnsperf, DnsperfReport};
pub use fault::{Blackhole, Refusing};
pub use gate::Gate;
pub use gateway::{Gateway, GatewayOptions};
pub use haproxy::Haproxy;
pub use iperf3::{Iperf3, Iperf3Report, Iperf3Server};
pub use load::{Curl, Load, LoadReport, curl, wrk};
pub use message::{Fields, Head, Response};
pub use metrics::Metrics;
pub use nginx::Nginx;
pub use node::{node, node_command};
pub use origin::{After, Connection, Origin, Request};
pub use pgbench::{Pgbench, PgbenchReport, PgbenchRun};
pub use postgres::Postgres;
pub use problem::Problem;
pub use python::{PythonServer, python, tool};
pub use raw_server::{RawServer, TcpOrigin};
pub use socket_options::SocketOptions;
pub use udp::{Received, UdpClient, UdpOrigin, free_address, refusing_udp};
pub use wire::{Ending, ReadError};
