//! What a user writes about TLS on a listener.

mod told;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use weir_config::{Code, Key, Node, Object, Problem, Problems, Section, Shape};

use super::TlsVersions;
use super::certificates::{CertificateSource, PairFiles, Shelf, Table};
use super::client_auth::{ClientAuthMode, ClientAuthPlan, ClientRoots};
use super::server::{ServerTlsPlan, Settings};

/// `tls` of a listener.
pub static TLS: Object = Object::new(
    "tls",
    "TLS on the side of clients. Certificates are chosen by the name that a client asks for: exact names before wildcards before the first one listed. Their files are watched.",
    &[
        Key::new("certificates", Shape::List(&Shape::Object(&CERTIFICATE)), "Pairs of files, and folders of them. The first is for clients that ask for another name or for none.").required(),
        Key::new("versions", TlsVersions::SHAPE, "The versions of TLS; both by default. `[\"1.3\"]` is Mozilla's modern configuration, the default its intermediate one."),
        Key::new("client_auth", Shape::Object(&CLIENT_AUTH), "Certificates of clients; they are not asked for by default."),
        Key::new("handshake_timeout", Shape::duration(1, 3_600_000), "How long a handshake may take, from the first byte on.").default("10s"),
        Key::new("tickets", Shape::OnOff, "Whether clients may resume sessions with tickets. Their keys are made anew every six hours and good for six hours more; each listener has its own.").default("on"),
        Key::new("alpn", Shape::OneOrMany(&Shape::Text), "Application protocols to agree on, most preferred first. An `http` listener offers what it speaks, a `tcp` listener none by default."),
    ],
);

static CERTIFICATE: Object = Object::new(
    "certificate",
    "A certificate with its key, or a folder of such. The names come from the certificate.",
    &[
        Key::new("cert", Shape::Path, "The certificate and its chain in PEM, its own first."),
        Key::new(
            "key",
            Shape::Path,
            "Its private key in PEM, not encrypted; in the file of `cert` by default.",
        ),
        Key::new("ocsp", Shape::Path, "An OCSP answer in DER, to be stapled while it is valid."),
        Key::new(
            "directory",
            Shape::Path,
            "A folder: every `NAME.pem` or `NAME.crt` with `NAME.key`, by name. Hidden files are left out.",
        ),
    ],
)
.exactly_one(&["cert", "directory"]);

static CLIENT_AUTH: Object = Object::new(
    "client_auth",
    "Certificates of clients.",
    &[
        Key::new(
            "mode",
            Shape::Enum(&["none", "optional", "required"]),
            "`optional`: a client without one is served too, one whose certificate does not hold is not.",
        )
        .default("required"),
        Key::new(
            "ca",
            Shape::Path,
            "The authorities that vouch for clients, in PEM. A change of the file holds from the next handshake on, and ends the resumption of older sessions.",
        ),
    ],
);

/// What decoding needs beside the text.
#[derive(Debug, Clone, Copy)]
pub struct ServerTlsContext<'a> {
    /// Reads certificates, and knows those that run.
    pub shelf: &'a Shelf,
    /// The time, for what is expired.
    pub now: SystemTime,
    /// What the listener speaks, most preferred first; none where it takes any bytes.
    pub speaks: Option<&'a [&'a str]>,
}

impl ServerTlsPlan {
    /// Reads and checks a listener's `tls`, its files too; none where something is wrong, which the problems say.
    pub fn decode(node: &Node, context: ServerTlsContext<'_>, problems: &Problems) -> Option<Self> {
        let section = TLS.open(node, problems);
        let nodes = section.list("certificates");
        // Every one is read, whatever is wrong with those before it.
        let sources: Vec<_> = nodes.iter().map(|node| source(node, problems)).collect();
        let sources: Option<Vec<_>> = sources.into_iter().collect();
        let client_auth = client_auth(&section, problems);
        let alpn = alpn(&section, context.speaks, problems);
        let roots = client_auth.as_ref().ok()?.as_ref().map(|auth| roots(&section, auth, problems));
        let roots = match roots {
            Some(read) => Some(read?),
            None => None,
        };
        let sources = sources.filter(|sources| !sources.is_empty());
        let Some(sources) = sources else {
            if nodes.is_empty() && section.node("certificates").is_some() {
                let message = "`certificates` lists no certificate";
                problems.push(Problem::error(Code::MISSING_KEY, section.at("certificates"), message));
            }
            return None;
        };
        let loaded = context.shelf.load(&sources, context.now);
        told::refused(nodes, &loaded, problems);
        if loaded.certificates.is_empty() {
            if loaded.refused.is_empty() {
                let message = "there is no certificate: no folder here holds a pair of `NAME.pem` or `NAME.crt` and `NAME.key`";
                problems.push(Problem::error(Code::CERTIFICATE, section.at("certificates"), message));
            }
            return None;
        }
        told::certificates(nodes, &loaded, context.now, problems);
        let table = Table::new(loaded.certificates.iter().map(|(_, certificate)| Arc::clone(certificate)));
        told::shadows(nodes, &loaded, &table, problems);
        let settings = Settings {
            sources,
            versions: TlsVersions::decode(&section),
            client_auth: client_auth.ok()?,
            handshake_timeout: section.duration("handshake_timeout"),
            tickets: section.boolean("tickets"),
            alpn: alpn?,
        };
        Some(Self { settings, table: Arc::new(table), roots })
    }
}

fn source(node: &Node, problems: &Problems) -> Option<CertificateSource> {
    let section = CERTIFICATE.open(node, problems);
    match section.chosen()? {
        ("directory", directory) => {
            for key in ["key", "ocsp"] {
                if let Some(node) = section.node(key) {
                    let message = format!("`{key}` has no meaning beside `directory`");
                    problems
                        .push(Problem::error(Code::CONFLICT, node, message).help(format!("remove `{key}`")));
                }
            }
            directory.path().map(CertificateSource::Folder)
        }
        (_, cert) => {
            let cert = cert.path()?;
            let key = section.path("key").unwrap_or_else(|| cert.clone());
            Some(CertificateSource::Pair(PairFiles { cert, key, ocsp: section.path("ocsp") }))
        }
    }
}

fn alpn(section: &Section, speaks: Option<&[&str]>, problems: &Problems) -> Option<Vec<String>> {
    let speaks_all = || speaks.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect();
    if section.node("alpn").is_none() {
        return Some(speaks_all());
    }
    let mut names: Vec<String> = Vec::new();
    let mut is_good = true;
    for (name, node) in section.texts("alpn") {
        let problem = match speaks {
            _ if name.is_empty() || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic()) => {
                let message = format!("{} is not the name of a protocol", node.describe());
                Problem::error(Code::MALFORMED, node, message)
                    .help("such names are `h2`, `http/1.1`, `postgresql`")
            }
            Some(known) if !known.contains(&name) => {
                let message = format!("this listener does not speak {}", node.describe());
                Problem::error(Code::UNKNOWN_CHOICE, node, message)
                    .did_you_mean(name, known.iter().copied())
                    .help(format!("it speaks {}", known.join(", ")))
            }
            _ => {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
                continue;
            }
        };
        problems.push(problem);
        is_good = false;
    }
    is_good.then_some(names)
}

/// `Err` where it is wrong, which the problems say.
fn client_auth(section: &Section, problems: &Problems) -> Result<Option<ClientAuthPlan>, ()> {
    let Some(auth) = section.object("client_auth", &CLIENT_AUTH, problems) else { return Ok(None) };
    let modes = [
        ("none", ClientAuthMode::None),
        ("optional", ClientAuthMode::Optional),
        ("required", ClientAuthMode::Required),
    ];
    let mode = auth.choice("mode", &modes);
    match auth.path("ca") {
        Some(_) if mode == ClientAuthMode::None => Ok(None),
        Some(ca) => Ok(Some(ClientAuthPlan { mode, ca })),
        None if mode == ClientAuthMode::None => Ok(None),
        None => {
            let message = "`ca` is missing: nobody could vouch for a client";
            let problem = Problem::error(Code::MISSING_KEY, auth.this(), message);
            problems
                .push(problem.help("name a file with the authorities' certificates, or write `mode: none`"));
            Err(())
        }
    }
}

fn roots(section: &Section, auth: &ClientAuthPlan, problems: &Problems) -> Option<ClientRoots> {
    let node = section.at("client_auth");
    let node = node.get("ca").unwrap_or(node);
    let ca: &Path = &auth.ca;
    match ClientRoots::read(ca) {
        Ok(roots) => Some(roots),
        Err(fault) => {
            let problem = Problem::error(Code::CERTIFICATE, node, fault.to_string());
            problems.push(match fault.help() {
                Some(_) => {
                    problem.help("the file must hold `-----BEGIN CERTIFICATE-----` for each authority")
                }
                None => problem,
            });
            None
        }
    }
}
