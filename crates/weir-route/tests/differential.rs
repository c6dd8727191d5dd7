//! A lookup against a reference that applies the ordering rules of the configuration to all rules, one by one.

mod build;
mod reference;

use build::{Fields, Request};
use proptest::prelude::*;
use proptest::sample::select;
use reference::{compile, matches, rank};
use weir_route::{Params, RouteTable, Rule};

fn words() -> impl Strategy<Value = String> {
    let hosts = select(vec!["", "host=a.b.c", "host=*.b.c", "host=*.c", "host=b.c", "host=c"]);
    let segment = select(vec!["a", "b", "cc", ":P", ":P", "a.b"]);
    let path = (prop::collection::vec(segment, 0..4), select(vec!["", "", "/", "/*", "/*tail"]));
    let path = path.prop_map(|(segments, end)| {
        let mut text = String::new();
        for (at, segment) in segments.iter().enumerate() {
            text += &format!("/{}", segment.replace('P', &format!("p{at}")));
        }
        text += end;
        format!("path={}", if text.is_empty() { "/" } else { &text })
    });
    let path = prop_oneof![
        8 => path,
        1 => select(vec!["re=/a.*", "re=^/[ab]/cc$", "re=/.*b"]).prop_map(str::to_owned),
        1 => Just(String::new()),
    ];
    let more = prop_oneof![
        4 => Just(""),
        1 => Just("m=GET"),
        1 => Just("m=GET,POST"),
        1 => Just("h:x=1"),
        1 => Just("h:x=~[0-9]"),
        1 => Just("h:y=?"),
        1 => Just("q:k=v"),
        1 => Just("l=1"),
        1 => Just("h:x=2 m=POST"),
        1 => Just("a=t/h"),
        1 => Just("a=t/*"),
        1 => Just("a=t/h,a/j"),
        1 => Just("a=a/j"),
    ];
    let param = select(vec!["", "", "", "p:p0=[ab]", "p:p1=cc"]);
    (hosts, path, more, param, 0..4i32).prop_map(|(host, path, more, param, priority)| {
        let known = param.split_once('=').map(|(name, _)| name.replace("p:", ":"));
        let param = if known.is_some_and(|name| path.contains(&name)) { param } else { "" };
        format!("{host} {path} {more} {param} prio={priority}")
    })
}

fn requests() -> impl Strategy<Value = Request> {
    let host = select(vec!["", "a.b.c", "x.b.c", "x.y.b.c", "b.c", "x.c", "c", "z"]);
    let path = prop::collection::vec(select(vec!["a", "b", "cc", "a.b", "zz", ""]), 1..5);
    let fields = select(vec![
        "",
        "x:1",
        "x:2",
        "x:1 y:q",
        "x:9 x:2",
        "accept:t/h;q=0.5,a/j",
        "accept:t/*;q=0.2 accept:*/*;q=0.1",
        "accept:t/h;q=0,*/*",
        "accept:a/j;q=0.2,t/h;q=0.2",
    ]);
    let query = select(vec!["", "k=v", "k=w", "j&k=v", "k"]);
    (host, path, select(vec!["GET", "POST", "PUT"]), fields, query, 0..3u32).prop_map(
        |(host, path, method, fields, query, listener)| Request {
            method: method.into(),
            listener,
            host: host.into(),
            path: format!("/{}", path.join("/")),
            query: query.into(),
            fields: Fields(
                fields
                    .split_whitespace()
                    .filter_map(|f| f.split_once(':'))
                    .map(|(n, v)| (n.into(), v.into()))
                    .collect(),
            ),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_winner_is_the_one_that_the_written_order_says(
        texts in prop::collection::vec(words(), 1..24),
        asked in prop::collection::vec(requests(), 24),
    ) {
        let rules = (0..).zip(&texts).map(|(id, text)| build::rule(id, text)).collect();
        let (table, rules) = compile(rules);
        let mut params = Params::default();
        for request in asked {
            let mut matching: Vec<&Rule> = rules.iter().filter(|rule| matches(rule, &request)).collect();
            matching.sort_by_key(|rule| rank(rule, &request));
            let found = table.lookup(&request.view(), &mut params);
            let best = matching.first().copied();
            let winner = rules.iter().find(|rule| Some(rule.id) == found);
            prop_assert_eq!(found.is_some(), best.is_some(), "{:?} in {:?}", &request, &texts);
            // Expressions and repeated field lines may leave several of one rank: each of them is right.
            let good = match (winner, best) {
                (Some(winner), Some(best)) => matching.contains(&winner) && rank(winner, &request) == rank(best, &request),
                _ => true,
            };
            prop_assert!(good, "{:?} won, not {:?}, for {:?}", winner, best, &request);
            let explained = table.explain(&request.view());
            prop_assert_eq!(explained.winner.map(|winner| winner.id), found);
            // Whatever else matches is named as outranked, and nothing else is.
            for miss in &explained.near_misses {
                let outranked = matches!(miss.reason, weir_route::Reason::Outranked(_));
                prop_assert_eq!(outranked, matching.iter().any(|rule| rule.id == miss.id), "{:?}", miss);
            }
        }
    }

    #[test]
    fn a_rule_that_is_called_unreachable_never_wins(
        texts in prop::collection::vec(words(), 2..16),
        asked in prop::collection::vec(requests(), 24),
    ) {
        let rules: Vec<Rule> = (0..).zip(&texts).map(|(id, text)| build::rule(id, text)).collect();
        let Err(problems) = RouteTable::compile(rules.clone()) else { return Ok(()) };
        for problem in problems {
            let weir_route::RuleProblem::Unreachable { rule: dead, .. } = problem else { continue };
            for request in &asked {
                let mut matching: Vec<&Rule> = rules.iter().filter(|rule| matches(rule, request)).collect();
                matching.sort_by_key(|rule| rank(rule, request));
                prop_assert!(matching.first().is_none_or(|rule| rule.id != dead), "{dead} of {texts:?}");
            }
        }
    }
}
