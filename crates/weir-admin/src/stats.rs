use weir_telemetry::{Collect, Counter, Exposition, Gauge, Kind};

/// What the admin address counts of itself.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) connections: Gauge,
    pub(crate) connections_cut: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) token_failures: Counter,
    pub(crate) locked_out: Counter,
    pub(crate) sources_forgotten: Counter,
}

impl Collect for Stats {
    fn collect(&self, out: &mut Exposition) {
        out.family("weir_admin_connections", "Open connections to the admin address.", Kind::Gauge)
            .sample(&[], self.connections.get() as f64);
        let rows: [(&str, &str, &Counter); 5] = [
            (
                "connections_cut_total",
                "Connections to the admin address cut while they waited, to make room for one more.",
                &self.connections_cut,
            ),
            (
                "connections_refused_total",
                "Connections closed at once because all places of their source were being worked for.",
                &self.connections_refused,
            ),
            (
                "token_failures_total",
                "Requests to the admin address with a wrong token.",
                &self.token_failures,
            ),
            (
                "locked_out_total",
                "Requests answered 429 because of the wrong tokens before them.",
                &self.locked_out,
            ),
            (
                "sources_forgotten_total",
                "Sources of wrong tokens forgotten before their time, to make room for another.",
                &self.sources_forgotten,
            ),
        ];
        for (name, help, counter) in rows {
            out.family(&format!("weir_admin_{name}"), help, Kind::Counter).sample(&[], counter.get() as f64);
        }
    }
}
