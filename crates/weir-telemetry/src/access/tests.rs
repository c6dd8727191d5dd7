use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use weir_base::{ErrorCode, Percent};

use super::*;
use crate::chunk::Chunk;
use crate::timestamp::Timestamp;

const LIMIT: Duration = Duration::from_secs(20);

fn record() -> AccessRecord<'static> {
    AccessRecord {
        timestamp_us: 1_709_251_200_000_042,
        trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
        request_id: b"r-1",
        http_status: 200,
        method: b"GET",
        host: b"site.example",
        path: b"/a?token=s3cret",
        listener: "web",
        route: "all",
        upstream: "app",
        endpoint: "127.0.0.1:81",
        attempts: 1,
        client_ip: Some([192, 0, 2, 255].into()),
        bytes_in: 5,
        bytes_out: 12_345,
        duration: Duration::from_micros(12_045),
        queue_us: Some(0),
        connect_us: None,
        head_us: Some(999),
        body_us: Some(1_000),
        user_agent: "cu\u{1b}rl\"".as_bytes(),
        ..AccessRecord::EMPTY
    }
}

fn to_file(path: &Path) -> AccessSettings {
    AccessSettings { sink: Sink::File(path.to_owned()), ..AccessSettings::default() }
}

fn lines(settings: AccessSettings, records: &[AccessRecord<'_>]) -> Vec<String> {
    lines_of(settings, |buffer| records.iter().for_each(|record| buffer.push(record)))
}

/// What is in the file after `push` has pushed.
pub(super) fn lines_of(settings: AccessSettings, push: impl FnOnce(&mut AccessBuffer)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = AccessLog::new(AccessSettings { sink: Sink::File(path.clone()), ..settings }, Log::discard())
        .unwrap();
    let mut buffer = log.for_worker();
    push(&mut buffer);
    drop(buffer);
    assert!(log.flush(LIMIT));
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn each_field_has_a_row_on_the_page_of_operations() {
    let page = include_str!("../../../../docs/operations.md");
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.split("`, `"))
        .map(|name| name.trim_end_matches('`'))
        .collect();
    for field in Field::ALL {
        assert!(rows.contains(&field.as_str()), "no row for {}", field.as_str());
    }
}

/// The fields that only a connection within TLS has.
const TLS_FIELDS: [Field; 6] = [
    Field::Sni,
    Field::TlsVersion,
    Field::TlsCipher,
    Field::TlsCertificate,
    Field::ClientCertSubject,
    Field::ClientCertFingerprint,
];

/// The fields of every request's line.
fn request_fields() -> impl Iterator<Item = Field> {
    let of_streams = [Field::DatagramsIn, Field::DatagramsOut, Field::End];
    let others = move |field: &Field| !of_streams.contains(field) && !TLS_FIELDS.contains(field);
    Field::ALL.iter().copied().filter(others)
}

/// What a line says of TLS, each text the same.
fn tls(text: &str) -> TlsRecord<'_> {
    TlsRecord {
        version: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        sni: text,
        certificate: text,
        client_subject: text,
        client_fingerprint: text,
    }
}

#[test]
fn only_lines_of_connections_within_tls_tell_of_it() {
    let within = AccessRecord { tls: Some(tls("")), ..AccessRecord::EMPTY };
    let lines = lines(AccessSettings::default(), &[AccessRecord::EMPTY, within]);
    let [plain, within] = [0, 1].map(|n| serde_json::from_str::<Json>(&lines[n]).unwrap());
    for field in TLS_FIELDS {
        let known = match field {
            Field::TlsVersion => json!("TLSv1.3"),
            Field::TlsCipher => json!("TLS13_AES_256_GCM_SHA384"),
            _ => Json::Null,
        };
        assert_eq!(plain.get(field.as_str()), None, "{}", field.as_str());
        assert_eq!(within.get(field.as_str()), Some(&known), "{}", field.as_str());
    }
}

#[test]
fn a_json_line_has_every_field() {
    let line = &lines(AccessSettings::default(), &[record()])[0];
    let value: Json = serde_json::from_str(line).unwrap();
    assert_eq!(
        value,
        json!({
            "timestamp": "2024-03-01T00:00:00.000042Z", "level": "info", "service_name": "weir", "event": "request",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "request_id": "r-1", "http_status": 200,
            "method": "GET", "host": "site.example", "path": "/a?token=***", "listener": "web", "route": "all",
            "upstream": "app", "endpoint": "127.0.0.1:81", "attempts": 1, "client_ip": "192.0.2.255",
            "protocol": "HTTP/1.1", "bytes_in": 5, "bytes_out": 12_345, "duration_ms": 12.045, "queue_ms": 0.0,
            "connect_ms": null, "head_ms": 0.999, "body_ms": 1.0, "error": null, "user_agent": "cu\u{1b}rl\""
        })
    );
}

#[test]
fn a_text_line_escapes_what_is_no_plain_word() {
    let line = &lines(AccessSettings { format: Format::Text, ..AccessSettings::default() }, &[record()])[0];
    assert!(line.starts_with("2024-03-01T00:00:00.000042Z info weir request trace_id=4bf9"), "{line}");
    for part in [" path=\"/a?token=***\" ", " connect_ms=- ", " error=- ", " user_agent=\"cu\\u001brl\\\"\""]
    {
        assert!(format!("{line} ").contains(part), "{part} in {line}");
    }
}

#[test]
fn only_the_fields_asked_for_are_written() {
    let fields = Fields::named(["path", "http_status", "timestamp"]).unwrap();
    let line = &lines(AccessSettings { fields, ..AccessSettings::default() }, &[record()])[0];
    assert!(line.ends_with("\"event\":\"request\",\"http_status\":200,\"path\":\"/a?token=***\"}"), "{line}");
    assert_eq!(Fields::named(["path", "pth"]), Err("pth"));
    assert_eq!(Fields::named(Field::ALL.iter().map(|field| field.as_str())), Ok(Fields::ALL));
}

#[test]
fn sampling_keeps_its_share_of_good_requests_and_every_error() {
    let mut records = vec![record(); 400];
    records.push(AccessRecord { http_status: 404, ..record() });
    records.push(AccessRecord { error: Some(ErrorCode::UpstreamCut), ..record() });
    let written =
        lines(AccessSettings { sample: Percent::parse("2.5%").unwrap(), ..Default::default() }, &records);
    assert_eq!(written.len(), 10 + 2);
    let none = lines(AccessSettings { sample: Percent::NONE, ..Default::default() }, &records);
    assert_eq!(none.len(), 2);
    assert!(none[1].contains("\"error\":\"upstream-cut\""));
}

#[test]
fn a_reload_moves_to_another_file_without_losing_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    let log = AccessLog::new(to_file(&first), Log::discard()).unwrap();
    let mut buffer = log.for_worker();
    for turn in 0..300 {
        if turn == 100 {
            buffer.flush();
            assert!(log.flush(LIMIT));
            log.reconfigure(AccessSettings { format: Format::Text, ..to_file(&second) });
        }
        buffer.push(&record());
    }
    buffer.flush();
    assert!(log.flush(LIMIT));
    let count = |path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((count(&first), count(&second), log.dropped()), (100, 200, 0));
    assert!(fs::read_to_string(second).unwrap().starts_with("2024"));
}

#[test]
fn full_buffers_go_by_themselves_and_all_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = AccessLog::new(to_file(&path), Log::discard()).unwrap();
    let mut buffer = log.for_worker();
    for _ in 0..500 {
        buffer.push(&record());
    }
    assert!(log.flush(LIMIT));
    assert!(fs::metadata(&path).unwrap().len() >= ACCESS_BUFFER_BYTES as u64);
    drop(buffer);
    assert!(log.flush(LIMIT));
    let mut out = Exposition::new();
    log.collect(&mut out);
    let text = out.into_text();
    assert!(text.contains("weir_log_lines_total{log=\"access\"} 500\n"), "{text}");
}

#[test]
fn switched_off_nothing_is_formatted() {
    let log =
        AccessLog::new(AccessSettings { sink: Sink::Off, ..Default::default() }, Log::discard()).unwrap();
    let mut buffer = log.for_worker();
    assert!(!buffer.is_on());
    buffer.push(&record());
    log.reconfigure(to_file(Path::new("/dev/null")));
    assert!(buffer.is_on());
}

#[test]
fn what_is_not_known_is_null_and_never_left_out() {
    let line = &lines(AccessSettings::default(), &[AccessRecord::EMPTY])[0];
    let value: Json = serde_json::from_str(line).unwrap();
    for field in request_fields() {
        let known = match field {
            Field::TraceId | Field::Protocol => continue,
            Field::Attempts | Field::BytesIn | Field::BytesOut => json!(0),
            Field::DurationMs => json!(0.0),
            _ => Json::Null,
        };
        assert_eq!(value.get(field.as_str()), Some(&known), "{}", field.as_str());
    }
    let text =
        &lines(AccessSettings { format: Format::Text, ..Default::default() }, &[AccessRecord::EMPTY])[0];
    for part in [" http_status=- ", " path=- ", " client_ip=- ", " endpoint=- "] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_full_disk_is_told_as_an_event_and_every_lost_line_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("log"), folder.path().join("events"));
    let told = Log::to(Sink::File(events.clone()), "weir", Level::Info, Format::Json).unwrap();
    let log = AccessLog::new(to_file(Path::new("/dev/full")), told.clone()).unwrap();
    let mut buffer = log.for_worker();
    for _ in 0..300 {
        buffer.push(&record());
    }
    buffer.flush();
    assert!(log.flush(LIMIT) && told.flush(LIMIT));
    assert_eq!(log.dropped(), 300);
    let told = fs::read_to_string(events).unwrap();
    assert!(told.lines().count() == 1 && told.contains("access_log_failed"), "{told}");
    log.reconfigure(to_file(&path));
    buffer.push(&record());
    buffer.flush();
    assert!(log.flush(LIMIT));
    assert_eq!((fs::read_to_string(path).unwrap().lines().count(), log.dropped()), (1, 300));
}

#[test]
fn a_file_that_cannot_be_opened_is_no_access_log_and_the_error_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("log");
    let error = AccessLog::new(to_file(&path), Log::discard()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with(&format!("{}: No such file", path.display())), "{error}");
}

#[test]
fn a_file_that_cannot_be_opened_later_leaves_the_lines_where_they_went_and_is_named_in_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("log"), folder.path().join("events"));
    let told = Log::to(Sink::File(events.clone()), "weir", Level::Info, Format::Json).unwrap();
    let log = AccessLog::new(to_file(&path), told.clone()).unwrap();
    let mut buffer = log.for_worker();
    let missing = folder.path().join("missing").join("log");
    for expected in 1..=2 {
        log.reconfigure(to_file(&missing));
        buffer.push(&record());
        buffer.flush();
        assert!(log.flush(LIMIT) && told.flush(LIMIT));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), expected);
        let told = fs::read_to_string(&events).unwrap();
        assert!(told.lines().count() == expected && told.contains(missing.to_str().unwrap()), "{told}");
    }
    fs::create_dir(missing.parent().unwrap()).unwrap();
    log.reconfigure(to_file(&missing));
    buffer.push(&record());
    buffer.flush();
    assert!(log.flush(LIMIT));
    assert_eq!((fs::read_to_string(missing).unwrap().lines().count(), log.dropped()), (1, 0));
}

#[test]
fn what_sampling_left_out_is_counted_when_the_worker_flushes() {
    let settings = AccessSettings { sample: Percent::NONE, ..to_file(Path::new("/dev/null")) };
    let log = AccessLog::new(settings, Log::discard()).unwrap();
    let mut buffer = log.for_worker();
    for _ in 0..7 {
        buffer.push(&record());
    }
    assert_eq!(log.0.sampled_out.get(), 0);
    buffer.flush();
    buffer.flush();
    assert_eq!(log.0.sampled_out.get(), 7);
}

proptest! {
    /// Row 40 of the attacks: whatever a client sends, its line stays one line of one object, and no byte of it
    /// reaches a terminal as a command.
    #[test]
    fn hostile_bytes_make_one_harmless_line_in_both_formats(
        texts in proptest::collection::vec(hostile(), 6),
    ) {
        let [request_id, method, host, path, user_agent, name] = &texts[..] else { unreachable!() };
        let name = String::from_utf8_lossy(name);
        let record = AccessRecord {
            request_id, method, host, path, user_agent, route: &name, upstream: &name, tls: Some(tls(&name)),
            ..record()
        };
        let line = &written(&AccessSettings::default(), &record);
        let (json, end) = line.split_at(line.len() - 1);
        prop_assert!(end == "\n" && !json.contains(char::is_control));
        let value: Json = serde_json::from_str(json).unwrap();
        let fields = request_fields().chain(TLS_FIELDS);
        prop_assert_eq!(value.as_object().unwrap().len(), fields.count() + 4);
        if !user_agent.is_empty() && std::str::from_utf8(user_agent).is_ok() {
            prop_assert_eq!(value["user_agent"].as_str().unwrap().as_bytes(), &user_agent[..]);
        }
        let line = &written(&AccessSettings { format: Format::Text, ..Default::default() }, &record);
        let (text, end) = line.split_at(line.len() - 1);
        prop_assert!(end == "\n" && !text.contains(char::is_control));
        let open = unquoted(text);
        for field in request_fields().chain(TLS_FIELDS) {
            let key = format!(" {}=", field.as_str());
            prop_assert_eq!(open.matches(&key).count(), 1);
        }
    }
}

/// What tries to break out of a line or to command a terminal, between plain bytes.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..8),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        Just(b"\",\"level\":\"error\",\"x\":\"".to_vec()),
        Just(b"\x1b]0;title\x07\x1b[2J\xc2\x9b31m\r\n{\"event\":\"request\"}\n".to_vec()),
        Just(b"\" error=none a=\"\\".to_vec()),
        Just("\u{202e}\u{2066}\u{feff}\u{85}\u{2028}".as_bytes().to_vec()),
        Just(b"\xc0\x80\xed\xa0\x80\xf5\xff\xe2\x80".to_vec()),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn written(settings: &AccessSettings, record: &AccessRecord<'_>) -> String {
    let (mut chunk, mut timestamp) = (Chunk::default(), Timestamp::new());
    let time = timestamp.text(record.timestamp_us);
    chunk.push(|pen| record.write(settings, time, pen));
    String::from_utf8(chunk.bytes().to_vec()).expect("lines are UTF-8")
}

/// The line of text without what stands between quotes.
fn unquoted(line: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in line.chars() {
        match (inside, escaped, c) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => inside = !inside,
            (false, _, _) => out.push(c),
            (true, false, _) => {}
        }
    }
    out
}
