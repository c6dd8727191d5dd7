//! What scanners find of a listener with TLS: nothing, the path of a test's own certificate aside.

use std::process::{Command, Stdio};

use serde_json::Value;
use weir_testkit::{Authority, Certificate, CertificateRequest, Gateway, Origin, behaviour, python};

use crate::Config;
use crate::tls::tls_with;

/// What is scanned, with what it needs for as long as that takes.
struct Scanned {
    gateway: Gateway,
    _certificate: Certificate,
    _origin: Origin,
}

impl Scanned {
    fn start(keys: &str) -> Self {
        let certificate = CertificateRequest::new(&["localhost"]).issued_by(&Authority::new("Scanned"));
        let origin = Origin::start(behaviour::fixed(200, "hello"));
        let config = Config::to([origin.addr()]).http("hsts: on").listener(&tls_with(&certificate, keys));
        let gateway = config.route("policies: [{ security_headers: default }]").start();
        Self { gateway, _certificate: certificate, _origin: origin }
    }

    fn port(&self) -> u16 {
        self.gateway.addr("web").port()
    }
}

/// What sslyze finds wanting beside one of Mozilla's configurations.
fn sslyze(configuration: &str, port: u16) -> Vec<String> {
    let scan = python()
        .args([
            "-m",
            "sslyze",
            &format!("--mozilla_config={configuration}"),
            &format!("localhost:{port}{{127.0.0.1}}"),
        ])
        .stdin(Stdio::null())
        .output()
        .expect("sslyze runs");
    let text = String::from_utf8_lossy(&scan.stdout).into_owned();
    let (_, compliance) = text.split_once("COMPLIANCE AGAINST").unwrap_or_else(|| panic!("no scan: {text}"));
    assert!(compliance.contains(configuration), "{compliance}");
    compliance.lines().filter_map(|line| line.trim().strip_prefix("* ")).map(str::to_owned).collect()
}

#[test]
fn the_defaults_are_mozillas_intermediate_configuration_and_1_3_alone_its_modern_one() {
    for (configuration, keys) in [("intermediate", ""), ("modern", ", versions: [\"1.3\"]")] {
        let scanned = Scanned::start(keys);
        let wanting = sslyze(configuration, scanned.port());
        let others = wanting.iter().filter(|line| !line.starts_with("certificate_path_validation"));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new(), "{configuration}");
    }
}

/// Goal: no finding above low. Method: testssl.sh on versions, suites, forward secrecy, preferences, fields and known
/// attacks; what it says about certificates is about the test's own.
#[test]
fn testssl_finds_nothing_above_low() {
    let scanned = Scanned::start("");
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let status = Command::new("timeout")
        .args(["280", "testssl", "--quiet", "--color", "0", "--warnings", "off"])
        .args([
            "--protocols",
            "--std",
            "--pfs",
            "--server-preference",
            "--headers",
            "--vulnerable",
            "--jsonfile",
        ])
        .arg(&report)
        .args(["--ip", "127.0.0.1", &format!("localhost:{}", scanned.port())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("testssl is installed by scripts/test");
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{status}: {error}"));
    let findings: Vec<Value> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status}: {error}\n{text}"));
    assert!(findings.len() > 30, "{text}");
    let is_bad = |finding: &&Value| {
        matches!(finding["severity"].as_str(), Some("MEDIUM" | "HIGH" | "CRITICAL" | "FATAL"))
    };
    let bad: Vec<_> = findings.iter().filter(is_bad).collect();
    assert!(bad.is_empty(), "{bad:?}");
}
