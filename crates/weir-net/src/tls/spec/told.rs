//! What is told about certificates when a configuration is checked: each at the line that names the file.

use std::time::SystemTime;

use weir_config::{Code, Node, Problem, Problems};
use weir_telemetry::date_time;

use crate::tls::certificates::{Certificate, Fault, Loaded, Refused, Standing, Table};

/// Most problems of one kind that are told of one folder; the rest is counted.
const TOLD_MAX: usize = 10;

/// What is broken: an error where nothing is left to serve, else a warning.
pub(super) fn refused(nodes: &[Node], loaded: &Loaded, problems: &Problems) {
    let is_fatal = loaded.certificates.is_empty();
    let mut told = Told::new(nodes, problems);
    for refused in &loaded.refused {
        let message = match (is_fatal, refused.is_kept) {
            (true, _) => refused.fault.to_string(),
            (false, true) => format!("{}; what was good before is served on", refused.fault),
            (false, false) => format!("{}; it is left out", refused.fault),
        };
        let node = place(nodes, refused);
        let problem = match is_fatal {
            true => Problem::error(Code::CERTIFICATE, node, message),
            false => Problem::warning(Code::CERTIFICATE, node, message),
        };
        let problem = match refused.fault.help() {
            Some(help) => problem.help(help),
            None => problem,
        };
        told.push(refused.source, problem);
    }
    told.finish("pairs that are broken");
}

/// What is wrong with certificates that are served all the same.
pub(super) fn certificates(nodes: &[Node], loaded: &Loaded, now: SystemTime, problems: &Problems) {
    let mut told = Told::new(nodes, problems);
    for (source, certificate) in &loaded.certificates {
        let file = certificate.files.cert.display();
        if let Some((message, help)) = standing(certificate, now) {
            let message = format!("the certificate in `{file}` {message}");
            let problem = Problem::warning(Code::CERTIFICATE_DATE, cert_node(&nodes[*source]), message);
            told.push(*source, problem.help(help));
        }
        for flaw in &certificate.flaws {
            let message = format!("the certificate in `{file}`: {flaw}");
            told.push(*source, Problem::warning(Code::CERTIFICATE_FLAW, cert_node(&nodes[*source]), message));
        }
    }
    told.finish("certificates with such warnings");
}

fn standing(certificate: &Certificate, now: SystemTime) -> Option<(String, &'static str)> {
    let (begins, ends) = (date_time(certificate.not_before), date_time(certificate.not_after));
    match certificate.standing(now) {
        Standing::Valid => None,
        Standing::ExpiresSoon => Some((format!("expires soon, at {ends}"), "renew it")),
        Standing::Expired => Some((format!("has expired at {ends}"), "renew it; it is served as it is")),
        Standing::NotYetValid => Some((
            format!("is not valid before {begins}"),
            "see to the clock of this machine, or wait; it is served as it is",
        )),
    }
}

/// Names that two certificates have.
pub(super) fn shadows(nodes: &[Node], loaded: &Loaded, table: &Table, problems: &Problems) {
    let mut told = Told::new(nodes, problems);
    let source = |certificate: &std::sync::Arc<Certificate>| {
        let is_it =
            |(_, other): &&(usize, std::sync::Arc<Certificate>)| std::sync::Arc::ptr_eq(other, certificate);
        loaded.certificates.iter().find(is_it).map_or(0, |(source, _)| *source)
    };
    // As many as are shown: each is looked for among all.
    for shadow in table.shadows().iter().take(TOLD_MAX * nodes.len() + 1) {
        let names = match shadow.more {
            0 => format!("`{}`", shadow.name),
            more => format!("`{}` and {more} more", shadow.name),
        };
        let (winner, loser) = (&shadow.winner, &shadow.loser);
        let message = format!(
            "`{}` is served for {names}, not `{}`: it comes first",
            winner.files.cert.display(),
            loser.files.cert.display(),
        );
        let (at, other) = (source(loser), source(winner));
        let problem = Problem::warning(Code::CERTIFICATE_NAME, cert_node(&nodes[at]), message);
        let problem = match at == other {
            true => problem,
            false => problem.also(cert_node(&nodes[other]), "the one that is served"),
        };
        told.push(at, problem.help("remove one of the two"));
    }
    told.finish("names that two certificates have");
}

/// The value that names the broken file.
fn place<'n>(nodes: &'n [Node], refused: &Refused) -> &'n Node {
    let node = &nodes[refused.source];
    let in_key = match (&refused.fault, &refused.files) {
        (Fault::KeyMissing { .. } | Fault::KeyMismatch { .. }, _) => true,
        (
            Fault::Unreadable { file, .. }
            | Fault::NoKey { file }
            | Fault::NotPem { file, .. }
            | Fault::EncryptedKey { file }
            | Fault::BadKey { file, .. },
            Some(files),
        ) => *file == files.key,
        _ => false,
    };
    node.get("key").filter(|_| in_key).unwrap_or_else(|| cert_node(node))
}

fn cert_node(node: &Node) -> &Node {
    node.get("cert").or_else(|| node.get("directory")).unwrap_or(node)
}

/// Tells a bounded number of problems of each source.
struct Told<'a> {
    nodes: &'a [Node],
    problems: &'a Problems,
    counts: Vec<usize>,
}

impl<'a> Told<'a> {
    fn new(nodes: &'a [Node], problems: &'a Problems) -> Self {
        Self { nodes, problems, counts: vec![0; nodes.len()] }
    }

    fn push(&mut self, source: usize, problem: Problem) {
        self.counts[source] += 1;
        if self.counts[source] <= TOLD_MAX {
            self.problems.push(problem);
        }
    }

    fn finish(self, what: &str) {
        for (node, count) in self.nodes.iter().zip(self.counts) {
            if count > TOLD_MAX {
                let message = format!("there are {} more {what}", count - TOLD_MAX);
                self.problems.push(Problem::warning(Code::CERTIFICATE, cert_node(node), message));
            }
        }
    }
}
