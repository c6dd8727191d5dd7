//! `tls` of an upstream: whom to believe, what to show.

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape, SourceReader};
use weir_net::tls::{
    Authorities, ClientCertificate, ClientCertificateError, ClientTlsPlan, TlsVersions, Trust, system_roots,
};

use crate::plan::server_name;
use crate::{EndpointPlan, TlsPlan, UpstreamPlan};

/// `tls` of an upstream.
pub static TLS: Object = Object::new(
    "upstream_tls",
    "TLS to the endpoints. Each must show a certificate of a trusted authority, within its time and for the right name: \
     `server_name`, else the name in `host`, else the name or the IP address that the endpoint is written with (`localhost` for a unix socket). Files are \
     read again at every reload, and a change of them is one.",
    &[
        Key::new(
            "ca",
            Shape::Path,
            "A file with the certificates that are trusted, in PEM: authorities, or the endpoints' own. The system's by default, which `SSL_CERT_FILE` and `SSL_CERT_DIR` may name.",
        ),
        Key::new(
            "server_name",
            Shape::Text,
            "The name or the IP address that every endpoint's certificate must be for; a name is also what they are asked for (SNI).",
        ),
        Key::new(
            "certificate",
            Shape::Object(&CERTIFICATE),
            "What is shown to endpoints that ask who connects. Nothing by default.",
        ),
        Key::new(
            "versions",
            TlsVersions::SHAPE,
            "The versions of TLS that are offered; both by default.",
        ),
        Key::new(
            "insecure",
            Shape::Bool,
            "Believe any certificate for any name. Whoever can stand between this machine and the endpoint reads and changes everything: for tests only.",
        )
        .default("false"),
    ],
);

static CERTIFICATE: Object = Object::new(
    "client_certificate",
    "A certificate with its key, both in PEM.",
    &[
        Key::new("cert", Shape::Path, "The chain, the own certificate first.").required(),
        Key::new("key", Shape::Path, "The private key, not encrypted.").required(),
    ],
);

/// Reads `tls`; `None` where connections are not secured, or where the problems say why they cannot be.
pub(super) fn decode(
    upstream: &Section,
    reader: &dyn SourceReader,
    problems: &Problems,
) -> Option<Arc<TlsPlan>> {
    let node = upstream.node("tls").filter(|node| !node.is_off())?;
    // `tls: on` says no more than `tls: {}`.
    let section = (node.text().is_none()).then(|| TLS.open(node, problems));
    let section = section.as_ref();
    let trust = trust(section, node, reader, problems);
    let certificate = section.and_then(|section| section.object("certificate", &CERTIFICATE, problems));
    Some(Arc::new(TlsPlan {
        certificate: certificate.as_ref().and_then(|certificate| certificate.path("cert")),
        client: ClientTlsPlan {
            certificate: certificate.and_then(|section| read_certificate(&section, reader, problems)),
            versions: section.map(TlsVersions::decode).unwrap_or_default(),
            trust: trust?,
        },
        server_name: section
            .and_then(|section| section.node("server_name"))
            .and_then(|node| named(node, problems)),
        ca: section.and_then(|section| section.path("ca")),
    }))
}

fn trust(
    section: Option<&Section>,
    tls: &Node,
    reader: &dyn SourceReader,
    problems: &Problems,
) -> Option<Trust> {
    let ca = section.and_then(|section| section.node("ca"));
    if let Some(insecure) = section.filter(|section| section.boolean("insecure")) {
        warn_insecure(insecure.at("insecure"), ca, problems);
        return Some(Trust::Anybody);
    }
    let Some(ca) = ca else {
        let roots = system_roots().map_err(|error| {
            let problem = Problem::error(Code::UNREADABLE, tls, error.to_string());
            let problem = problem.help("install the distribution's certificates (`ca-certificates`)");
            problems.push(problem.help("or name the certificates to trust with `ca: FILE`"));
        });
        return roots.ok().map(Trust::System);
    };
    let text = read(ca, reader, problems)?;
    let listed = Authorities::read(&text).map_err(|error| unusable(ca, &error, problems));
    listed.ok().map(Trust::Listed)
}

fn warn_insecure(insecure: &Node, ca: Option<&Node>, problems: &Problems) {
    if let Some(ca) = ca {
        let problem =
            Problem::error(Code::CONFLICT, ca, "`ca` has no effect: `insecure` believes any certificate");
        let problem = problem.also(insecure, "set here");
        problems.push(problem.help("remove `insecure`, so that the certificates of `ca` count"));
    }
    let message = "INSECURE: certificates of this upstream are not verified; whoever can stand in between reads and \
                   changes everything";
    let problem = Problem::warning(Code::INSECURE, insecure, message);
    problems.push(
        problem.help("name the endpoints' own certificates or their authority with `ca: FILE` instead"),
    );
}

fn read_certificate(
    section: &Section,
    reader: &dyn SourceReader,
    problems: &Problems,
) -> Option<ClientCertificate> {
    use ClientCertificateError as Error;
    let (cert, key) = (section.node("cert")?, section.node("key")?);
    let chain = read(cert, reader, problems);
    let key_text = read(key, reader, problems);
    let read = ClientCertificate::read(&chain?, &key_text?);
    read.map_err(|error| match &error {
        Error::NoCertificate | Error::Damaged(_) => unusable(cert, &error, problems),
        Error::NoKey | Error::DamagedKey(_) | Error::Unusable(_) => unusable(key, &error, problems),
        Error::Mismatch => {
            let problem = Problem::error(Code::CERTIFICATE, key, error.to_string());
            problems.push(problem.also(cert, "the certificate"));
        }
    })
    .ok()
}

fn read(node: &Node, reader: &dyn SourceReader, problems: &Problems) -> Option<Vec<u8>> {
    let path: PathBuf = node.path()?;
    let read = reader.read(&path).map_err(|error| {
        let message = format!("`{}` cannot be read: {error}", path.display());
        problems.push(Problem::error(Code::CERTIFICATE, node, message));
    });
    read.ok()
}

fn unusable(node: &Node, error: &dyn std::error::Error, problems: &Problems) {
    let path = node.path().unwrap_or_default();
    let message = format!("`{}` cannot be used: {error}", path.display());
    problems.push(Problem::error(Code::CERTIFICATE, node, message));
}

fn named(node: &Node, problems: &Problems) -> Option<ServerName<'static>> {
    let name = server_name(node.text()?);
    if name.is_none() {
        let message = format!("`server_name` must be a host name or an IP address, got {}", node.describe());
        let problem = Problem::error(Code::MALFORMED, node, message);
        problems.push(problem.help("write it without a port, and an IPv6 address without brackets"));
    }
    name
}

/// Finds endpoints that could prove to be nobody.
pub(super) fn check_names(plan: &UpstreamPlan, upstream: &Section, problems: &Problems) {
    let is_nameless = |line: &&EndpointPlan| plan.server_name(&line.target).is_none();
    if plan.tls.is_some()
        && let Some(line) = plan.endpoints.iter().find(is_nameless)
    {
        let message = format!("no certificate can be for the name that `{}` goes by", line.target);
        let problem = Problem::error(Code::MISSING_KEY, upstream.at("tls"), message);
        problems.push(problem.help("add `server_name: NAME`"));
    }
}
