//! Where values were written, and what they read as: through includes, anchors, merge keys, variables and secrets.

use std::path::Path;

use weir_config::{
    Code, Document, Key, MemoryReader, Node, Object, Place, Problems, Secret, SecretSpec, Shape, load,
};

static NAMED: Object = Object::new(
    "named",
    "One of several.",
    &[
        Key::new("text", Shape::Text, "A text."),
        Key::new("count", Shape::Integer { min: 0, max: 9 }, "A number.").default("1"),
        Key::new("token", Shape::Secret, "A secret."),
    ],
);
static ROOT: Object = Object::new(
    "root",
    "The file.",
    &[
        Key::new("include", Shape::OneOrMany(&Shape::Path), "More files."),
        Key::new("items", Shape::List(&Shape::Any), "Appended."),
        Key::new("named", Shape::Map(&Shape::Object(&NAMED)), "By name."),
        Key::new("one", Shape::Any, "Owned by one file."),
    ],
);

fn read(reader: &MemoryReader) -> (Document, Problems) {
    let problems = Problems::new();
    let document = load(Path::new("a/main.yaml"), &ROOT, reader, &problems);
    (document, problems)
}

fn one(text: &str) -> (Document, Problems) {
    read(&MemoryReader::new().file("a/main.yaml", text).variable("HOST", "db").variable("NULL", "null"))
}

fn at<'n>(document: &'n Document, keys: &[&str]) -> &'n Node {
    keys.iter().fold(&document.root, |node, key| match key.parse::<usize>() {
        Ok(index) => &node.items().expect("a list")[index],
        Err(_) => node.get(key).unwrap_or_else(|| panic!("no `{key}`")),
    })
}

fn place(node: &Node) -> String {
    Place::from(node).position().to_string()
}

fn codes(problems: &Problems) -> Vec<Code> {
    problems.to_vec().iter().map(weir_config::Problem::code).collect()
}

#[test]
fn merged_values_keep_the_places_of_their_own_files() {
    let reader = MemoryReader::new()
        .file("a/main.yaml", "include: [b/*.yaml]\nitems: [x]\nnamed:\n  m: { text: é, count: 1 }\n")
        .file("a/b/1.yaml", "items:\n  - y\nnamed: { n: { count: 2 } }\n")
        .file("a/b/2.yaml", "items: [z, w]\nnamed:\n  o:\n    count: 3\n");
    let (document, problems) = read(&reader);
    assert_eq!(codes(&problems), []);
    let items: Vec<String> = at(&document, &["items"]).items().unwrap().iter().map(place).collect();
    assert_eq!(items, ["a/main.yaml:2:9", "a/b/1.yaml:2:5", "a/b/2.yaml:1:9", "a/b/2.yaml:1:12"]);
    assert_eq!(
        place(at(&document, &["named", "m", "count"])),
        "a/main.yaml:4:24",
        "columns count characters"
    );
    assert_eq!(place(at(&document, &["named", "n", "count"])), "a/b/1.yaml:3:22");
    assert_eq!(place(at(&document, &["named", "o", "count"])), "a/b/2.yaml:4:12");
}

#[test]
fn a_name_of_a_third_file_is_held_against_those_of_both_before_it() {
    let reader = MemoryReader::new()
        .file("a/main.yaml", "include: [1.yaml, 2.yaml]\nnamed: { m: {} }\none: 1\n")
        .file("a/1.yaml", "named: { n: {} }\n")
        .file("a/2.yaml", "named: { n: {}, m: {}, o: {} }\none: 2\nitems: [x]\n");
    let (document, problems) = read(&reader);
    assert_eq!(codes(&problems), [Code::SET_TWICE; 3]);
    let shown = problems.render(false);
    for first in ["a/1.yaml:1:10", "a/main.yaml:2:10", "a/main.yaml:3:1"] {
        assert!(shown.contains(&format!("::: {first}")), "{first} is not in\n{shown}");
    }
    let names: Vec<&str> =
        at(&document, &["named"]).entries().unwrap().iter().map(weir_config::Entry::name).collect();
    assert_eq!(names, ["m", "n", "o"]);
}

#[test]
fn an_alias_and_a_merge_key_keep_the_place_of_what_they_repeat() {
    let (document, problems) =
        one("one:\n  base: &b { text: x, count: 3 }\n  copy: *b\n  more: { <<: *b, count: 4 }\n");
    assert_eq!(codes(&problems), []);
    assert_eq!(place(at(&document, &["one", "copy", "text"])), "a/main.yaml:2:20");
    assert_eq!(place(at(&document, &["one", "more", "text"])), "a/main.yaml:2:20");
    assert_eq!(at(&document, &["one", "more", "count"]).text(), Some("4"));
    assert_eq!(place(at(&document, &["one", "more", "count"])), "a/main.yaml:4:26");
}

#[test]
fn of_several_merged_mappings_the_first_wins_and_a_scalar_is_refused() {
    let (document, problems) =
        one("one:\n  a: &a { x: 1, y: 1 }\n  b: &b { y: 2, z: 2 }\n  c: { <<: [*b, *a], z: 3 }\n");
    assert_eq!(codes(&problems), []);
    let value = |key: &str| at(&document, &["one", "c", key]).text().unwrap().to_owned();
    assert_eq!([value("x"), value("y"), value("z")], ["1", "2", "3"]);
    assert_eq!(codes(&one("one: { <<: 1 }\n").1), [Code::BAD_MERGE]);
}

#[test]
fn repeated_keys_are_found_in_small_mappings_and_in_large_ones() {
    for size in [2, 16, 17, 200] {
        let keys: String = (0..size).map(|n| format!("  k{n}: {n}\n")).collect();
        let (document, problems) = one(&format!("one:\n{keys}  k1: again\n  k0: again\n"));
        assert_eq!(codes(&problems), [Code::REPEATED_KEY; 2], "{size}");
        assert_eq!(at(&document, &["one"]).entries().unwrap().len(), size);
        assert_eq!(at(&document, &["one", "k1"]).text(), Some("1"), "the first stays");
    }
}

#[test]
fn variables_reach_values_alone_and_never_the_structure() {
    let (document, problems) =
        one("one:\n  ${HOST}: '${HOST}:80'\n  n: ${NULL}\n  q: \"${NULL}\"\n  d: $$${HOST}\n");
    assert_eq!(codes(&problems), []);
    assert_eq!(at(&document, &["one", "${HOST}"]).text(), Some("db:80"), "a key is left as it is");
    assert!(at(&document, &["one", "n"]).is_null(), "a plain scalar reads as what it expands to");
    assert_eq!(at(&document, &["one", "q"]).text(), Some("null"));
    assert_eq!(at(&document, &["one", "d"]).text(), Some("$db"));
    let (document, _) =
        read(&MemoryReader::new().file("a/main.yaml", "one: ${X}\n").variable("X", "{a: [b]}"));
    assert_eq!(at(&document, &["one"]).text(), Some("{a: [b]}"));
}

#[test]
fn scalars_read_the_same_however_they_are_written() {
    let (document, problems) = one(
        "one:\n  - é\n  - \"é\"\n  - '\\u00e9'\n  - \"\\u00e9\"\n  - 'it''s'\n  - |\n    é\n  - >-\n    a\n    b\n  - &x é\n  - ''\n  -\n",
    );
    assert_eq!(codes(&problems), []);
    let texts: Vec<Option<&str>> = at(&document, &["one"]).items().unwrap().iter().map(Node::text).collect();
    let wanted = ["é", "é", "\\u00e9", "é", "it's", "é\n", "a b", "é", ""];
    assert_eq!(texts[..9], wanted.map(Some));
    assert_eq!(texts[9], None);
}

#[test]
fn a_secret_is_shown_by_no_message_no_debug_and_no_excerpt() {
    let (document, problems) = one("named:\n  m: { token: hunter2-hunter2-hunter2, count: x }\n");
    let m = NAMED.open(at(&document, &["named", "m"]), &problems);
    let spec = m.secret("token").unwrap();
    assert!(matches!(&spec, SecretSpec::Literal(secret, _) if secret.expose().starts_with("hunter2")));
    let secret: Secret = spec.resolve(&MemoryReader::new(), &problems).unwrap();
    assert_eq!(codes(&problems), [Code::WRONG_TYPE]);
    for shown in [
        problems.render(false),
        problems.to_json().to_string(),
        format!("{spec:?} {secret:?} {secret}"),
        format!("{:?}", problems.to_vec()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_near_key_is_suggested_and_a_far_one_only_listed() {
    let message = |key: &str| {
        let (document, problems) = one(&format!("named: {{ m: {{ {key}: 1 }} }}\n"));
        NAMED.open(at(&document, &["named", "m"]), &problems);
        problems.to_vec()[0].message().to_owned()
    };
    assert_eq!(message("cuont"), "unknown key `cuont` (did you mean `count`?)");
    assert_eq!(message("zebra"), "unknown key `zebra`");
}

#[test]
fn depth_is_bounded_at_its_last_level_and_through_aliases() {
    let nested = |depth: usize| format!("one: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(codes(&one(&nested(weir_config::DEPTH_MAX - 1)).1), []);
    assert_eq!(codes(&one(&nested(weir_config::DEPTH_MAX)).1), [Code::TOO_DEEP]);
    let half = weir_config::DEPTH_MAX / 2;
    let through = format!(
        "one:\n  - &a {}{}\n  - {}*a{}\n",
        "[".repeat(half),
        "]".repeat(half),
        "[".repeat(half),
        "]".repeat(half)
    );
    assert_eq!(codes(&one(&through).1), [Code::TOO_DEEP]);
}
