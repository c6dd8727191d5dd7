//! The language through its public face: a sample table, golden problems, bounds, schema and reference.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weir_config::*;

static HEADERS: Object =
    Object::new("headers", "Changes headers.", &[Key::new("set", Shape::Map(&Shape::Text), "Sets.")]);
static KINDS: [KindRow; 1] =
    [KindRow { name: "headers", doc: "Changes headers.", shape: Shape::Object(&HEADERS) }];

static UPSTREAM: Object = Object::new(
    "upstream",
    "A group of endpoints.",
    &[
        Key::new("endpoints", Shape::OneOrMany(&Shape::Address), "Where they are.").required(),
        Key::new("balance", Shape::Enum(&["round_robin", "least_conn"]), "The balancer.")
            .default("round_robin"),
        Key::new("connect_timeout", Shape::duration(1, 300_000), "To the connection.").default("5s"),
        Key::new("slow_start", Shape::DURATION_OR_OFF, "Ramp.").default("off"),
        Key::new("weight", Shape::Integer { min: 0, max: 1000 }, "The share.").default("1"),
        Key::new("buffer", Shape::Size { min: 1, max: 1 << 30 }, "The buffer.").default("64KiB"),
        Key::new("budget", Shape::Percent, "The budget.").default("20%"),
        Key::new("token", Shape::Secret, "The token."),
        Key::new("file", Shape::Path, "A file."),
    ],
);
static ROUTE: Object = Object::new(
    "route",
    "A route.",
    &[
        Key::new("name", Shape::Text, "Its name."),
        Key::new("forward", Shape::Text, "The upstream."),
        Key::new("respond", Shape::Any, "An answer."),
        Key::new("policies", Shape::List(&Shape::Kind(|| &KINDS)), "In this order."),
    ],
)
.exactly_one(&["forward", "respond"]);
static ROOT: Object = Object::new(
    "weir",
    "The file.",
    &[
        Key::new("include", Shape::OneOrMany(&Shape::Path), "More files."),
        Key::new("service_name", Shape::Text, "The name in logs.").default("weir"),
        Key::new("admin", Shape::OneOf(&[Shape::Off, Shape::Object(&HEADERS)]), "The admin address."),
        Key::new("upstreams", Shape::Map(&Shape::Object(&UPSTREAM)), "By name."),
        Key::new("routes", Shape::List(&Shape::Object(&ROUTE)), "In any order."),
    ],
);

fn decode(document: &Document, problems: &Problems) {
    let root = ROOT.open(&document.root, problems);
    for entry in root.map("upstreams") {
        let upstream = UPSTREAM.open(&entry.value, problems);
        if let Some(token) = upstream.secret("token") {
            token.resolve(&MemoryReader::new(), problems);
        }
    }
    for route in root.list("routes") {
        let route = ROUTE.open(route, problems);
        for policy in route.list("policies") {
            for entry in policy.entries().unwrap_or_default() {
                HEADERS.open(&entry.value, problems);
            }
        }
    }
}

fn read(text: &str) -> (Document, Problems) {
    let problems = Problems::new();
    let document = load_bytes("weir.yaml", text.as_bytes(), &ROOT, &problems);
    decode(&document, &problems);
    (document, problems)
}

/// Set `WEIR_BLESS=1` to write what is printed now, then read the difference.
#[test]
fn each_golden_file_has_exactly_its_problems() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let rendered = read(&std::fs::read_to_string(&path).unwrap()).1.render(false) + "\n";
        let expected = path.with_extension("problems.txt");
        if std::env::var_os("WEIR_BLESS").is_some() {
            std::fs::write(&expected, &rendered).unwrap();
        }
        assert_eq!(rendered, std::fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
    assert!(count >= 8);
}

#[test]
fn getters_give_what_is_written_or_the_tables_default() {
    let (document, problems) =
        read("upstreams:\n  a: {endpoints: \"x:1\", slow_start: false, weight: 3, file: k/v}\n");
    assert_eq!(problems.render(false), "0 errors");
    let a = UPSTREAM.open(document.root.get("upstreams").unwrap().get("a").unwrap(), &problems);
    assert_eq!(a.duration("connect_timeout"), Duration::from_secs(5));
    assert_eq!(a.duration_or_off("slow_start"), None);
    assert_eq!(a.integer::<u16>("weight"), 3);
    assert_eq!(a.size("buffer").bytes(), 65_536);
    assert_eq!(a.percent("budget").to_string(), "20%");
    assert_eq!(a.choice("balance", &[("round_robin", 1), ("least_conn", 2)]), 1);
    assert_eq!(a.texts("endpoints").map(|(text, _)| text).collect::<Vec<_>>(), ["x:1"]);
    assert_eq!(a.path("file"), Some("k/v".into()));
}

#[test]
#[should_panic(expected = "no key `nope`")]
fn a_getter_for_a_key_outside_the_table_panics() {
    let (document, problems) = read("");
    ROOT.open(&document.root, &problems).opt_text("nope");
}

#[test]
fn includes_merge_by_name_append_routes_and_refuse_two_owners() {
    let reader = MemoryReader::new()
        .file(
            "/e/weir.yaml",
            "include: [conf.d/*.yaml, none/*.yaml]\nservice_name: a\nupstreams: {a: {endpoints: x}}\n",
        )
        .file("/e/conf.d/2.yaml", "service_name: b\nroutes: [{forward: a}]\nupstreams: {a: {endpoints: y}}\n")
        .file("/e/conf.d/1.yaml", "routes: [{forward: b}]\nupstreams: {b: {endpoints: x, file: k.pem}}\n");
    let problems = Problems::new();
    let document = load(Path::new("/e/weir.yaml"), &ROOT, &reader, &problems);
    let names: Vec<_> = document.files.iter().map(|file| file.name().to_string()).collect();
    assert_eq!(names, ["/e/weir.yaml", "/e/conf.d/1.yaml", "/e/conf.d/2.yaml"]);
    let routes = document.root.get("routes").unwrap().items().unwrap();
    assert_eq!(routes[0].get("forward").unwrap().text(), Some("b"));
    let file = document.root.get("upstreams").unwrap().get("b").unwrap().get("file").unwrap();
    assert_eq!(file.path(), Some("/e/conf.d/k.pem".into()));
    assert_eq!(problems.errors(), 2, "{}", problems.render(false));
    assert!(problems.render(false).contains("first defined here"));
}

#[test]
fn include_cycles_and_missing_files_are_problems_at_their_place() {
    let reader = MemoryReader::new().file("a.yaml", "include: [a.yaml, gone.yaml]\n");
    let problems = Problems::new();
    load(Path::new("a.yaml"), &ROOT, &reader, &problems);
    let codes: Vec<_> = problems.to_vec().iter().map(Problem::code).collect();
    assert_eq!(codes, [Code::INCLUDE_CYCLE, Code::UNREADABLE]);
}

#[test]
fn aliases_and_merge_keys_work_and_explicit_keys_win() {
    let (document, problems) = read(
        "upstreams:\n  a: &base {endpoints: x, weight: 2, buffer: 1KiB}\n  b:\n    <<: *base\n    weight: 5\n  c: *base\n",
    );
    assert_eq!(problems.render(false), "0 errors");
    let upstreams = document.root.get("upstreams").unwrap();
    let b = upstreams.get("b").unwrap();
    assert_eq!(
        (b.get("weight").unwrap().integer(), b.get("buffer").unwrap().text()),
        (Some(5), Some("1KiB"))
    );
    assert_eq!(upstreams.get("c").unwrap().get("weight").unwrap().integer(), Some(2));
}

#[test]
fn variables_never_reach_across_structure_nor_into_a_problem() {
    let reader = MemoryReader::new()
        .file("w.yaml", "service_name: ${A}\nupstreams: {a: {endpoints: x, weight: \"${S}\"}}\n")
        .variable("A", "{x: 1}")
        .variable("S", "hunter2");
    let problems = Problems::new();
    let document = load(Path::new("w.yaml"), &ROOT, &reader, &problems);
    decode(&document, &problems);
    assert_eq!(document.root.get("service_name").unwrap().text(), Some("{x: 1}"));
    assert_eq!(problems.errors(), 1);
    assert!(
        !problems.render(false).contains("hunter2") && !problems.to_json().to_string().contains("hunter2")
    );
}

#[test]
fn secrets_never_show() {
    let (document, problems) = read("upstreams: {a: {endpoints: x, token: hunter2, foo: 1}}\n");
    let text = format!("{}{}", problems.render(true), problems.to_json());
    assert!(text.contains("W0451") && text.contains("W0401") && !text.contains("hunter2"), "{text}");
    let a = UPSTREAM.open(document.root.get("upstreams").unwrap().get("a").unwrap(), &problems);
    assert!(
        !format!("{:?}", a.secret("token").map(|s| s.resolve(&MemoryReader::new(), &problems)))
            .contains("hunter2")
    );
}

#[test]
fn the_value_of_a_misspelt_or_repeated_secret_key_is_starred_out() {
    let text = "upstreams:\n  a: { endpoints: x, my_token: hunter2, z: 1 }\n  c: {endpoints: x, tokn: hunter2}\n  b:\n    token: hunter2\n    token: hunter2\n";
    let rendered = read(text).1.render(false);
    assert!(rendered.contains("my_token: *******, z: 1") && !rendered.contains("hunter2"), "{rendered}");
}

#[test]
fn bombs_and_towers_are_refused_at_once() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..200 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    let tower = "[".repeat(1 << 20);
    let maps = "{a: ".repeat(1 << 18);
    for (text, code) in
        [(bomb, Code::TOO_LARGE), (chain, Code::TOO_DEEP), (tower, Code::TOO_DEEP), (maps, Code::TOO_DEEP)]
    {
        let start = Instant::now();
        let problems = Problems::new();
        load_bytes("bomb.yaml", text.as_bytes(), &ROOT, &problems);
        // The scanner looks ahead and gives up on very deep brackets before we count them.
        let found = problems.to_vec().first().map(Problem::code);
        assert!(found == Some(code) || (code == Code::TOO_DEEP && found == Some(Code::SYNTAX)), "{found:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{code} took {:?}", start.elapsed());
    }
}

#[test]
fn the_schema_takes_a_good_document_and_refuses_a_bad_one() {
    let schema = json_schema(&ROOT);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good = serde_json::json!({ "admin": "off", "upstreams": { "a": { "endpoints": ["x:1"], "connect_timeout": "${T}" } },
        "routes": [{ "forward": "a", "policies": [{ "headers": { "set": { "x": 1 } } }] }] });
    assert!(validator.is_valid(&good), "{:?}", validator.validate(&good));
    for bad in [
        serde_json::json!({ "upstream": {} }),
        serde_json::json!({ "upstreams": { "a": {} } }),
        serde_json::json!({ "upstreams": { "a": { "endpoints": "x", "weight": "2" } } }),
        serde_json::json!({ "routes": [{ "forward": "a", "respond": {} }] }),
        serde_json::json!({ "upstreams": { "a": { "endpoints": "x", "connect_timeout": "10" } } }),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn the_reference_lists_each_key_with_its_default_and_range() {
    let page = reference(&ROOT);
    assert!(
        page.contains(
            "| `connect_timeout` | a duration such as `10s` | `5s` | 1ms to 5m | To the connection. |"
        ),
        "{page}"
    );
    assert!(page.contains("## upstream\n") && page.contains("Exactly one of `forward`, `respond`"));
}

/// Goal: a reload of 10,000 routes has time to spare. Method: the parse alone; the bound is for a debug build.
#[test]
fn ten_thousand_routes_are_read_quickly() {
    let mut text = "routes:\n".to_owned();
    for n in 0..10_000 {
        text.push_str(&format!(
            "  - name: route-{n}\n    match:\n      host: [api{n}.example.com, \"*.api{n}.example.com\"]\n      path: /v1/users/{n}/:id\n      methods: [GET, HEAD]\n    forward: upstream-{n}\n"
        ));
    }
    let start = Instant::now();
    let problems = Problems::new();
    let document = load_bytes("big.yaml", text.as_bytes(), &ROOT, &problems);
    println!("{} bytes in {:?}", text.len(), start.elapsed());
    assert_eq!(document.root.get("routes").unwrap().items().unwrap().len(), 10_000);
    assert!(start.elapsed() < Duration::from_secs(5));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&String::from_utf8_lossy(&bytes)).1.render(true);
        load_bytes("f", &bytes, &ROOT, &Problems::new());
    }

    #[test]
    fn no_text_that_looks_like_a_file_panics(
        pieces in proptest::collection::vec(prop_oneof![
            Just("upstreams:"), Just("\n"), Just("  "), Just("a: "), Just("- "), Just("{"), Just("}"), Just("["),
            Just("]"), Just("&x "), Just("*x"), Just("<<: "), Just("\""), Just("é"), Just("${A"), Just("}"), Just("\t"),
            Just("|"), Just("endpoints: x"), Just("connect_timeout: 0s"), Just("token: "), Just("# "), Just("\r\n"),
            Just("include: f"), Just("---"), Just("!!str "), Just("? "), Just(","),
        ], 0..40)
    ) {
        read(&pieces.concat()).1.render(true);
    }
}
