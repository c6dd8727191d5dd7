//! The command line beside `run`.

use std::process::{Command, Output};

use weir_testkit::{Origin, behaviour};

use crate::Config;

fn weir(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().expect("the binary starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Writes a configuration into a folder of its own and answers its path.
fn file(folder: &std::path::Path, yaml: &str) -> String {
    let path = folder.join("weir.yaml");
    std::fs::write(&path, yaml).expect("the test's own folder is writable");
    path.to_str().expect("a temporary path is UTF-8").to_owned()
}

#[test]
fn check_answers_0_for_a_good_file_and_2_for_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let good = Config::to(["127.0.0.1:9"]);
    let output = weir(&["check", &file(folder.path(), &good.yaml())]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let bad = good.yaml().replace("forward: app", "forward: ap");
    let output = weir(&["check", &file(folder.path(), &bad)]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("did you mean `app`"), "{}", text(&output));
    assert!(text(&output).contains("weir.yaml:"), "{}", text(&output));
    let output = weir(&["check", "/no/such/file.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn check_opens_no_port() {
    let origin = Origin::start(behaviour::fixed(200, "ok"));
    let gateway = Config::to([origin.addr()]).start();
    let folder = tempfile::tempdir().unwrap();
    let yaml = Config::to([origin.addr()]).yaml().replace("127.0.0.1:0", &gateway.addr("web").to_string());
    let output = weir(&["check", &file(folder.path(), &yaml)]);
    assert_eq!(output.status.code(), Some(0), "a port in use is no problem of the file: {}", text(&output));
}

#[test]
fn bad_usage_is_2() {
    for args in [&["no-such-command"][..], &["run", "--no-such-option"], &["run", "a", "b"]] {
        assert_eq!(weir(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(weir(&["--version"]).status.code(), Some(0));
    assert_eq!(weir(&["--help"]).status.code(), Some(0));
}

#[test]
fn schema_prints_a_json_schema_of_the_whole_language() {
    let output = weir(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["listeners", "routes", "upstreams", "admin", "log", "timeouts", "limits"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn explain_names_the_route_and_why_others_do_not_match() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::to(["127.0.0.1:9"])
        .another_route("{ name: users, match: { path: \"/users/:id\", methods: [POST] }, forward: app }");
    let path = file(folder.path(), &config.yaml());
    let output = weir(&["explain", "GET", "http://t/users/7", "-c", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let explained = text(&output);
    for word in ["all", "users", "app", "127.0.0.1:9"] {
        assert!(explained.contains(word), "{word} is not in {explained}");
    }
}

#[test]
fn explain_refuses_what_the_listener_refuses() {
    let folder = tempfile::tempdir().unwrap();
    for (keys, refused) in [("", false), ("encoded_slashes: refuse", true)] {
        let path = file(folder.path(), &Config::to(["127.0.0.1:9"]).http(keys).yaml());
        let output = weir(&["explain", "GET", "http://t/a%2fb", "-c", &path]);
        assert_eq!(output.status.code() != Some(0), refused, "{}", text(&output));
        assert_eq!(text(&output).contains("encoded slash at byte 2"), refused, "{}", text(&output));
    }
}

#[test]
fn status_and_reload_talk_to_the_running_gateway() {
    let (one, two) =
        (Origin::start(behaviour::fixed(200, "one")), Origin::start(behaviour::fixed(200, "two")));
    let gateway = Config::to([one.addr()]).top("watch: off").start();
    let admin = gateway.admin().to_string();
    let output = weir(&["status", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    gateway.write_config(&Config::to([two.addr()]).top("watch: off").yaml());
    let output = weir(&["reload", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(gateway.get("/").text(), "two");
    gateway.write_config("listeners: [");
    let output = weir(&["reload", "--admin", &admin]);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", text(&output));
    assert_eq!(gateway.get("/").text(), "two");
    drop(gateway);
    let output = weir(&["status", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1), "nobody is there: {}", text(&output));
}

#[test]
fn what_is_not_there_yet_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for (more, line) in [("tunnel: { bind: \"127.0.0.1:0\" }\n", "tunnel"), ("x: 1\n", "x")] {
        let output = weir(&["check", &file(folder.path(), &(Config::to(["127.0.0.1:9"]).yaml() + more))]);
        assert_eq!(output.status.code(), Some(2), "{more}");
        assert!(text(&output).contains("weir.yaml:") && text(&output).contains(line), "{}", text(&output));
    }
}
