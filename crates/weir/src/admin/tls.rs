//! What `/api/v1/config` shows of TLS and HTTPS on listeners.

use serde_json::{Value, json};
use weir_base::format_duration;
use weir_http::HttpsPlan;
use weir_net::tls::certificates::CertificateSource;
use weir_net::tls::{ClientAuthMode, ServerTlsPlan};

pub(super) fn listener(plan: &ServerTlsPlan) -> Value {
    let client_auth = plan.client_auth().map(|(mode, ca)| {
        let mode = match mode {
            ClientAuthMode::None => "none",
            ClientAuthMode::Optional => "optional",
            ClientAuthMode::Required => "required",
        };
        json!({ "mode": mode, "ca": ca.display().to_string() })
    });
    json!({
        "certificates": plan.sources().iter().map(source).collect::<Vec<_>>(),
        "versions": plan.versions().as_strs(),
        "client_auth": client_auth,
        "handshake_timeout": format_duration(plan.handshake_timeout()),
        "tickets": plan.has_tickets(),
        "alpn": plan.alpn(),
    })
}

fn source(source: &CertificateSource) -> Value {
    match source {
        CertificateSource::Pair(pair) => json!({
            "cert": pair.cert.display().to_string(),
            "key": pair.key.display().to_string(),
            "ocsp": pair.ocsp.as_ref().map(|ocsp| ocsp.display().to_string()),
        }),
        CertificateSource::Folder(folder) => json!({ "directory": folder.display().to_string() }),
    }
}

/// Adds what a listener says about HTTPS, as its header and its redirect have it.
pub(super) fn https(plan: &HttpsPlan, http: &mut Value) {
    http["hsts"] = json!(plan.hsts);
    http["redirect_https"] = plan
        .redirect
        .map_or(Value::Null, |redirect| json!({ "status": redirect.status, "port": redirect.port }));
}
