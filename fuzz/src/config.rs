use weir_config::{Key, MemoryReader, Object, Problems, Shape, load_bytes};

static HEADERS: Object = Object::new(
    "headers",
    "Changes fields.",
    &[
        Key::new("set", Shape::Map(&Shape::Text), "Sets."),
        Key::new("remove", Shape::OneOrMany(&Shape::Text), "Removes."),
    ],
);

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
        Key::new("certificate", Shape::Path, "A file."),
    ],
);

static ROOT: Object = Object::new(
    "weir",
    "The file.",
    &[
        Key::new("include", Shape::OneOrMany(&Shape::Path), "More files."),
        Key::new("service_name", Shape::Text, "The name in logs.").default("weir"),
        Key::new("admin", Shape::OneOf(&[Shape::Off, Shape::Object(&HEADERS)]), "The admin address."),
        Key::new("upstreams", Shape::Map(&Shape::Object(&UPSTREAM)), "By name."),
        Key::new("extra", Shape::Any, "Anything."),
    ],
);

/// Configuration: any bytes give a tree or problems, and every problem can be shown where it stands.
pub fn config(data: &[u8]) {
    let problems = Problems::new();
    let document = load_bytes("weir.yaml", data, &ROOT, &problems);
    let root = ROOT.open(&document.root, &problems);
    let _ = root.text("service_name");
    for entry in root.map("upstreams") {
        let upstream = UPSTREAM.open(&entry.value, &problems);
        let timeout = upstream.duration("connect_timeout").as_millis();
        assert!((1..=300_000).contains(&timeout), "a value is in its range, or its default");
        assert!((0..=1000).contains(&upstream.integer::<i64>("weight")));
        let _ = (upstream.size("buffer"), upstream.percent("budget"), upstream.duration_or_off("slow_start"));
        if let Some(token) = upstream.secret("token") {
            let _ = token.resolve(&MemoryReader::new(), &problems);
        }
    }
    let rendered = problems.render(false);
    let all = problems.to_vec();
    assert!(all.is_empty() || !rendered.is_empty());
    assert_eq!(problems.errors() > 0, problems.has_errors());
}
