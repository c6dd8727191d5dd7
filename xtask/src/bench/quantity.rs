//! What a load is measured by: the columns of a report.

use super::Case;
use super::sampling::Sample;

/// A number that each sample has.
pub(super) struct Quantity {
    pub(super) title: String,
    pub(super) of: fn(&Sample) -> f64,
}

/// The columns of a case, the most important one first.
pub(super) fn quantities(case: Case) -> Vec<Quantity> {
    let quantity = |title: &str, of| Quantity { title: title.to_owned(), of };
    let busy = quantity("cores busy", Sample::busy);
    if matches!(case, Case::TcpBulk | Case::TcpBulkMany) {
        return vec![
            quantity("CPU ms/GB", Sample::cpu_ms_per_gb),
            quantity("of it kernel", Sample::system_ms_per_gb),
            quantity("GB/s", Sample::gb_per_second),
            busy,
        ];
    }
    let unit = match case {
        _ if case.is_handshakes() => "handshake",
        Case::H2Grpc => "call",
        Case::TcpExchange => "exchange",
        Case::TcpConnect => "connection",
        Case::UdpEcho => "echo",
        _ => "request",
    };
    let plural = if case == Case::UdpEcho { "echoes".to_owned() } else { format!("{unit}s") };
    let mut all = vec![
        quantity(&format!("CPU µs/{unit}"), Sample::cpu_us_per_request),
        quantity("of it kernel", Sample::system_us_per_request),
        quantity(&format!("{plural}/s"), Sample::requests_per_second),
        quantity("p50 µs", |sample| sample.seen.p50_us),
        quantity("p99 µs", |sample| sample.seen.p99_us),
        busy,
    ];
    if matches!(case, Case::Body1m | Case::TlsBody1m) {
        all.insert(0, quantity("CPU ms/GB", Sample::cpu_ms_per_gb));
    }
    all
}
