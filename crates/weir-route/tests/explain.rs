//! Explanations: the same winner as a lookup, and why not the others.

mod build;

use build::{request, table};
use weir_route::{Advantage, Explanation, NEAR_MISSES_MAX, PathKind, Reason};

fn explain(words: &[&str], text: &str) -> Explanation {
    table(words).explain(&request(text).view())
}

#[test]
fn the_winner_comes_with_its_rank_and_parameters() {
    let found = explain(&["host=*.example.com path=/u/:id m=GET prio=7"], "GET a.example.com/u/17");
    let winner = found.winner.unwrap();
    assert_eq!((winner.id, winner.rank.matcher_count, winner.rank.priority), (0, 1, 7));
    assert_eq!(winner.rank.path_kind, PathKind::Param);
    assert_eq!(winner.params, [("id".to_owned(), "17".to_owned())]);
    assert_eq!(
        winner.to_string(),
        "rule 0 wins: wildcard host *.example.com, path with parameters `/u/:id`, 1 further matcher, priority 7; id is `17`"
    );
    assert_eq!(found.near_misses, []);
}

#[test]
fn each_refusal_names_what_was_wanted_and_what_came() {
    let cases = [
        ("path=/a host=b.example", "wants host b.example, got a.example"),
        ("path=/a/b", "wants path `/a/b`, got `/a`"),
        ("path=/a l=2,3", "wants listener 2 or 3, got 1"),
        ("path=/a m=PUT,POST", "wants method PUT or POST, got GET"),
        ("path=/:p p:p=[0-9]+", "wants parameter p to match `[0-9]+`, got `a`"),
        ("path=/a h:x-env=canary", "wants header x-env to be `canary`, got `blue`"),
        ("path=/a h:x-none=?", "wants header x-none to be there, got none"),
        ("path=/a q:debug=~[01]", "wants query entry debug to match `[01]`, got `2`"),
        ("path=/a a=text/*,a/b", "wants a client that accepts text/* or a/b, got `a/c;q=0.5`"),
    ];
    for (words, wanted) in cases {
        let found = explain(&[words], "GET 1@a.example/a?debug=2 x-env:blue accept:a/c;q=0.5");
        assert_eq!(found.winner, None);
        assert_eq!(found.near_misses[0].reason.to_string(), wanted);
    }
}

#[test]
fn what_matches_too_says_what_the_winner_has_over_it() {
    let cases = [
        ("path=/a/* host=a.example", "path=/a", Advantage::Host),
        ("path=/a", "path=/:x", Advantage::Path),
        ("path=/a m=GET", "path=/a", Advantage::Matchers),
        ("path=/a a=a/b", "path=/a a=a/c prio=1", Advantage::Accept),
        ("path=/a h:x=? prio=1", "path=/a h:y=?", Advantage::Priority),
        ("path=/a h:x=~[0-9]", "path=/a h:x=~1", Advantage::Order),
    ];
    for (winner, other, wanted) in cases {
        let found = explain(&[winner, other], "GET a.example/a x:1 y:1 accept:a/b,a/c;q=0.1");
        assert_eq!(found.winner.unwrap().id, 0, "{winner}");
        assert_eq!(found.near_misses[0].reason, Reason::Outranked(wanted), "{winner}");
    }
}

#[test]
fn the_nearest_misses_come_first_and_the_far_ones_not_at_all() {
    let words = &[
        "path=/a/b/c",
        "path=/a/x",
        "path=/a/b host=h.example",
        "path=/a/b m=PUT",
        "path=/:x/b",
        "host=z.example path=/z",
    ];
    let found = explain(words, "GET /a/b");
    let order: Vec<u32> = found.near_misses.iter().map(|miss| miss.id).collect();
    assert_eq!(found.winner.unwrap().id, 4);
    assert_eq!(order, [3, 2, 0, 1]);
}

#[test]
fn near_misses_are_bounded_and_each_route_is_named_once() {
    let rules = (0..500).map(|at| build::rule(at / 2, &format!("path=/a/{at}"))).collect();
    let table = weir_route::RouteTable::compile(rules).unwrap();
    let found = table.explain(&request("GET /a").view());
    assert_eq!(found.near_misses.len(), NEAR_MISSES_MAX);
    assert!(found.near_misses.windows(2).all(|pair| pair[0].id < pair[1].id));
}
