//! The matching rules of the configuration, by example.

mod build;

use build::{expect, request, table};
use weir_route::Params;

const NONE: i32 = -1;

#[test]
fn an_exact_host_goes_before_the_longest_wildcard_before_none() {
    let rules = &["path=/*", "host=*.example.com", "host=*.api.example.com", "host=a.api.example.com"];
    expect(
        rules,
        &[
            ("GET a.api.example.com/", 3),
            ("GET b.api.example.com/", 2),
            ("GET c.b.api.example.com/", 2),
            ("GET api.example.com/", 1),
            ("GET example.com/", 0),
            ("GET notexample.com/", 0),
            ("GET x.a.api.example.com/", 2),
            ("GET /", 0),
        ],
    );
}

#[test]
fn a_wildcard_covers_one_or_more_labels_but_not_the_name_itself() {
    expect(
        &["host=*.example.com"],
        &[
            ("GET a.example.com/", 0),
            ("GET a.b.example.com/", 0),
            ("GET example.com/", NONE),
            ("GET aexample.com/", NONE),
        ],
    );
}

#[test]
fn a_host_of_very_many_labels_still_finds_its_wildcard() {
    let deep = "x.".repeat(120);
    expect(
        &["host=*.example.com", "host=*.com"],
        &[
            (&format!("GET {deep}example.com/"), 0),
            (&format!("GET {deep}other.com/"), 1),
            (&format!("GET {deep}example.org/"), NONE),
        ],
    );
}

#[test]
fn a_less_specific_host_is_used_when_no_route_of_the_more_specific_matches() {
    let rules = &[
        "host=a.example.com path=/only",
        "host=*.example.com path=/wild",
        "path=/any",
        "host=*.com path=/com",
    ];
    expect(
        rules,
        &[
            ("GET a.example.com/only", 0),
            ("GET a.example.com/wild", 1),
            ("GET a.example.com/com", 3),
            ("GET a.example.com/any", 2),
            ("GET a.example.com/none", NONE),
        ],
    );
}

#[test]
fn a_literal_goes_before_a_parameter_before_the_rest_segment_by_segment() {
    let rules = &[
        "path=/a/*rest",
        "path=/a/:x",
        "path=/a/b",
        "path=/a/:x/c",
        "path=/a/b/*",
        "path=/:p/b/c",
        "path=/*",
    ];
    expect(
        rules,
        &[
            ("GET /a/b", 2),
            ("GET /a/z", 1),
            ("GET /a/z/c", 3),
            ("GET /a/z/d", 0),
            ("GET /a/b/c", 4),
            ("GET /a", 0),
            ("GET /a/", 0),
            ("GET /q/b/c", 5),
            ("GET /q/b/d", 6),
            ("GET /", 6),
        ],
    );
}

#[test]
fn an_earlier_segment_decides_before_a_later_one() {
    expect(&["path=/a/*", "path=/:x/b/c"], &[("GET /a/b/c", 0), ("GET /z/b/c", 1)]);
}

#[test]
fn a_tail_wildcard_covers_its_own_prefix_with_and_without_the_slash() {
    expect(
        &["path=/v1/*"],
        &[
            ("GET /v1", 0),
            ("GET /v1/", 0),
            ("GET /v1/a", 0),
            ("GET /v1/a/b/", 0),
            ("GET /v10", NONE),
            ("GET /", NONE),
        ],
    );
}

#[test]
fn a_slash_at_the_end_makes_another_path() {
    expect(
        &["path=/a", "path=/b/", "path=/c/:x"],
        &[
            ("GET /a", 0),
            ("GET /a/", NONE),
            ("GET /b/", 1),
            ("GET /b", NONE),
            ("GET /c/", NONE),
            ("GET /c/x/", NONE),
        ],
    );
}

#[test]
fn an_encoded_slash_is_no_separator() {
    expect(&["path=/a/:x", "path=/a/b/c"], &[("GET /a/b%2Fc", 0), ("GET /a/b/c", 1)]);
}

#[test]
fn an_expression_is_tried_after_all_other_paths_and_before_none() {
    let rules = &["re=^/r[0-9]+/.*$", "path=/r1/*", "m=GET", "re=/r[0-9]+/x h:x-env=?"];
    expect(
        rules,
        &[
            ("GET /r1/x", 1),
            ("GET /r2/x", 0),
            ("GET /r2/x x-env:1", 3),
            ("GET /other", 2),
            ("POST /other", NONE),
            ("GET /r2/", 0),
            ("GET /r2", 2),
        ],
    );
}

#[test]
fn methods_are_compared_with_case_and_get_is_not_head() {
    expect(
        &["path=/a m=GET,POST", "path=/a"],
        &[("GET /a", 0), ("POST /a", 0), ("HEAD /a", 1), ("get /a", 1), ("GETX /a", 1)],
    );
}

#[test]
fn any_line_of_a_field_may_match_and_its_name_has_no_case() {
    expect(
        &["path=/a h:x-env=canary", "path=/b h:x-env=~can.*", "path=/c h:x-env=?"],
        &[
            ("GET /a X-Env:blue x-env:canary", 0),
            ("GET /a x-env:canary2", NONE),
            ("GET /a", NONE),
            ("GET /b x-env:canoe", 1),
            ("GET /b x-env:acan", NONE),
            ("GET /c X-ENV:", 2),
            ("GET /c x-envy:1", NONE),
        ],
    );
}

#[test]
fn query_entries_are_decoded_before_they_are_compared() {
    expect(
        &[
            "path=/a q:debug=1",
            "path=/b q:name=a_b",
            "path=/c q:flag=?",
            "path=/d q:n=~[0-9]+",
            "path=/e q:n=a+b",
            "path=/f q:n=%41",
        ],
        &[
            ("GET /e?n=a%2Bb", 4),
            ("GET /e?n=a+b", NONE),
            ("GET /f?n=%2541", 5),
            ("GET /f?n=%41", NONE),
            ("GET /a?debug=1", 0),
            ("GET /a?x=2&debug=1&y", 0),
            ("GET /a?debug=%31", 0),
            ("GET /a?%64ebug=1", 0),
            ("GET /a?debug=0&debug=1", 0),
            ("GET /a?debug=11", NONE),
            ("GET /a?Debug=1", NONE),
            ("GET /b?name=a+b", 1),
            ("GET /b?name=a%20b", 1),
            ("GET /b?name=a%2", NONE),
            ("GET /c?flag", 2),
            ("GET /c?flag=", 2),
            ("GET /c?flags", NONE),
            ("GET /d?n=%34%32", 3),
            ("GET /d?n=4x", NONE),
        ],
    );
}

#[test]
fn a_route_answers_only_on_its_listeners() {
    expect(&["path=/a l=1,3", "path=/a"], &[("GET 1@/a", 0), ("GET 3@/a", 0), ("GET 2@/a", 1)]);
}

#[test]
fn a_parameter_of_another_form_falls_through_to_the_next_pattern() {
    let rules = &["path=/u/:id p:id=[0-9]+", "path=/u/:name", "path=/f/*rest p:rest=.*\\.png", "path=/f/*"];
    expect(
        rules,
        &[("GET /u/17", 0), ("GET /u/17a", 1), ("GET /f/a/b.png", 2), ("GET /f/a/b.jpg", 3), ("GET /f", 3)],
    );
}

#[test]
fn more_matchers_go_before_priority_before_nothing() {
    let rules = &["path=/a h:a=?", "path=/a h:b=? prio=1", "path=/a h:a=? m=GET", "path=/a prio=100"];
    expect(rules, &[("GET /a a:1 b:1", 2), ("POST /a a:1 b:1", 1), ("POST /a a:1", 0), ("POST /a", 3)]);
}

#[test]
fn parameters_have_the_values_of_the_pattern_that_won() {
    let table = table(&["path=/:a/:b/x/*tail h:no=?", "path=/:q/*rest", "path=/p", "re=/never"]);
    let mut params = Params::default();
    let wanted = request("GET /one/two/x/y/z");
    assert_eq!(table.lookup(&wanted.view(), &mut params), Some(1));
    let path = wanted.path.as_bytes();
    assert_eq!(params.get("q", path), Some(&b"one"[..]));
    assert_eq!(params.get("rest", path), Some(&b"two/x/y/z"[..]));
    assert_eq!(params.get("a", path), None);
    assert_eq!(params.iter(path).count(), 2);

    let plain = request("GET /p");
    assert_eq!(table.lookup(&plain.view(), &mut params), Some(2));
    assert_eq!(params.iter(plain.path.as_bytes()).count(), 0, "nothing is left of the last match");
}

#[test]
fn the_order_in_which_routes_are_written_decides_nothing() {
    let words =
        ["path=/a/*", "path=/a/:x", "path=/a/b m=GET", "path=/a/b", "host=h.example path=/:y", "re=/.*"];
    for turn in 0..words.len() {
        let mut rules = build::rules(&words);
        rules.rotate_left(turn);
        let table = weir_route::RouteTable::compile(rules).unwrap();
        for (text, wanted) in
            [("GET /a/b", 2), ("POST /a/b", 3), ("GET /a/c", 1), ("GET h.example/q", 4), ("GET /z", 5)]
        {
            assert_eq!(build::winner(&table, text), Some(wanted), "{text} after {turn} turns");
        }
    }
}

#[test]
fn of_routes_that_offer_media_types_the_one_that_the_client_would_rather_have_wins() {
    let rules = &[
        "path=/a a=text/html prio=1",
        "path=/a a=application/json",
        "path=/a h:x=1 prio=2",
        "path=/b a=text/*",
    ];
    expect(
        rules,
        &[
            ("GET /a", 0),
            ("GET /a accept:*/*", 0),
            ("GET /a accept:text/html;q=0.5,application/json", 1),
            ("GET /a accept:application/json;q=0.5 accept:text/*;q=0.4", 1),
            ("GET /a accept:text/html;q=0,*/*", 1),
            ("GET /a accept:image/png", NONE),
            ("GET /a accept:image/png x:1", 2),
            ("GET /a accept:text/html;q=0.9 x:1", 2),
            ("GET /b accept:text/plain", 3),
            ("GET /b accept:text/*;q=0", NONE),
        ],
    );
}

#[test]
fn a_preflight_takes_the_route_of_the_method_that_it_asks_for() {
    let rules = &["path=/a m=GET preflights=", "path=/a m=POST", "path=/a", "path=/b m=PUT,GET preflights="];
    expect(
        rules,
        &[
            ("OPTIONS /a origin:x access-control-request-method:GET", 0),
            ("OPTIONS /a origin:x access-control-request-method:POST", 2),
            ("OPTIONS /a access-control-request-method:GET", 2),
            ("POST /a origin:x access-control-request-method:GET", 1),
            ("OPTIONS /a origin:x", 2),
            ("OPTIONS /b origin:x access-control-request-method:PUT", 3),
            ("OPTIONS /b origin:x access-control-request-method:put", NONE),
            ("OPTIONS /b origin:x", NONE),
        ],
    );
}
