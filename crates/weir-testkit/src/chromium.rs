use std::process::Command;

/// Opens a page in Chromium, and answers what it wrote, as JSON, into `<pre id="out">`.
///
/// # Panics
///
/// When Chromium is not installed, and when the page wrote nothing of the kind within ten seconds of its own time.
pub fn browse(url: &str) -> serde_json::Value {
    written(url, &["--virtual-time-budget=10000"])
}

/// As [`browse`], in the time of everybody else: what the page wrote until it was loaded. A page that waits for a
/// connection rather than for an answer holds up its loading meanwhile, by an image that does not come.
///
/// # Panics
///
/// As [`browse`], and when the page is not loaded within a minute.
pub fn browse_until_loaded(url: &str) -> serde_json::Value {
    written(url, &[])
}

fn written(url: &str, arguments: &[&str]) -> serde_json::Value {
    let profile = tempfile::tempdir().expect("a folder for Chromium");
    let output = Command::new("timeout")
        .args(["60", "chromium", "--headless", "--disable-gpu", "--dump-dom"])
        .args(arguments)
        // Its sandbox is not there for root, nor in many containers; the pages are ours.
        .arg("--no-sandbox")
        // The certificates of tests are nobody's.
        .arg("--ignore-certificate-errors")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .output()
        .expect("timeout is part of every Debian");
    let page = String::from_utf8_lossy(&output.stdout);
    let written = page.split_once("<pre id=\"out\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (written, _) = written.unwrap_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("Chromium, installed by scripts/test, shows no output of {url}: {page}{complaint}")
    });
    serde_json::from_str(written).unwrap_or_else(|error| panic!("{error}: {written}"))
}
