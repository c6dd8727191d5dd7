use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use weir_net::tls::certificates::{Certificate, Table};
use weir_route::normalize_host;
use weir_telemetry::date_time;

/// The certificate that a client is shown who asks for this authority; null where there is none.
pub(super) fn served(table: &Table, authority: &str) -> Value {
    let mut buffer = Vec::new();
    let name = normalize_host(authority.as_bytes(), &mut buffer).ok();
    let name = name.and_then(|host| std::str::from_utf8(host.name).ok());
    let Some(certificate) = table.find(name) else { return Value::Null };
    let because = match name {
        Some(name) if certificate.names.iter().any(|known| **known == *name) => "exact name",
        Some(name) if table.covers(name) => "wildcard",
        Some(_) => "the first one listed: none is for this name",
        None => "the first one listed: no name is asked for",
    };
    let mut shown = show(certificate, SystemTime::now());
    shown["because"] = json!(because);
    shown
}

/// A certificate for people and programs.
pub(crate) fn show(certificate: &Arc<Certificate>, now: SystemTime) -> Value {
    /// Names that are shown; a certificate may have thousands.
    const NAMES_MAX: usize = 100;
    let names: Vec<&str> = certificate
        .names
        .iter()
        .chain(&certificate.other_names)
        .map(|name| &**name)
        .take(NAMES_MAX)
        .collect();
    json!({
        "certificate": &*certificate.label,
        "names": names,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": date_time(certificate.not_before),
        "not_after": date_time(certificate.not_after),
        "state": certificate.standing(now).as_str(),
        "file": certificate.files.cert.display().to_string(),
        "fingerprint": certificate.fingerprint.to_string(),
        "stapled": certificate.is_stapled(),
        "flaws": certificate.flaws.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
