use std::cmp::Reverse;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// A route in words: names, then protocols behind an `@`: `a.example *.b @ h2 http/1.1`.
fn route(words: &str) -> RouteMatch {
    let (names, protocols) = words.split_once('@').unwrap_or((words, ""));
    RouteMatch {
        sni: names.split_whitespace().map(|name| HostPattern::parse(name).unwrap()).collect(),
        alpn: protocols.split_whitespace().map(|name| Protocol::parse(name).unwrap()).collect(),
    }
}

fn routes(words: &[&str]) -> Vec<RouteMatch> {
    words.iter().map(|words| route(words)).collect()
}

/// The winner for a name (`-` for none) and the protocols that are offered.
fn winner(routes: &[RouteMatch], asked: &str) -> Option<usize> {
    let mut words = asked.split_whitespace();
    let name = words.next().filter(|name| *name != "-");
    Routes::compile(routes).lookup(name, words.map(str::as_bytes))
}

#[test]
fn the_exact_name_wins_over_the_longest_wildcard_over_none() {
    let routes = routes(&["@ h2", "*.example", "*.b.example", "a.b.example", "*.x.b.example"]);
    for (asked, expected) in [
        ("a.b.example h2", Some(3)),
        ("c.b.example", Some(2)),
        ("c.d.b.example h2", Some(2)),
        ("x.b.example", Some(2)),
        ("a.x.b.example", Some(4)),
        ("b.example", Some(1)),
        ("example h2", Some(0)),
        ("example", None),
        ("notexample", None),
        ("a.b.example.org", None),
        ("- h2", Some(0)),
        ("- http/1.1", None),
        ("-", None),
    ] {
        assert_eq!(winner(&routes, asked), expected, "{asked}");
    }
}

#[test]
fn case_and_a_trailing_dot_make_no_other_name() {
    let routes = routes(&["A.Example.", "*.B.example"]);
    assert_eq!(winner(&routes, "a.EXAMPLE"), Some(0));
    assert_eq!(winner(&routes, "X.b.Example"), Some(1));
}

#[test]
fn a_wildcard_covers_one_or_more_labels_and_never_none() {
    let routes = routes(&["*.a.example"]);
    for (asked, expected) in [
        ("x.a.example", Some(0)),
        ("x.y.a.example", Some(0)),
        ("a.example", None),
        ("xa.example", None),
        (".a.example", None),
    ] {
        assert_eq!(winner(&routes, asked), expected, "{asked}");
    }
}

#[test]
fn a_name_with_a_protocol_wins_over_the_name_alone() {
    let routes = routes(&["a.example", "a.example @ h2 h3", "*.example @ acme-tls/1", "@ h2"]);
    for (asked, expected) in [
        ("a.example", Some(0)),
        ("a.example http/1.1", Some(0)),
        ("a.example http/1.1 h2", Some(1)),
        ("a.example h3", Some(1)),
        // The more specific name matches, with or without the protocol.
        ("a.example acme-tls/1", Some(0)),
        ("b.example acme-tls/1", Some(2)),
        ("b.example h2", Some(3)),
        ("b.example H2", None),
    ] {
        assert_eq!(winner(&routes, asked), expected, "{asked}");
    }
}

#[test]
fn a_less_specific_name_is_used_where_no_route_of_the_more_specific_one_matches() {
    let routes = routes(&["a.example @ h2", "*.example", "@ http/1.1"]);
    assert_eq!(winner(&routes, "a.example http/1.1"), Some(1));
    assert_eq!(winner(&routes, "a.test http/1.1"), Some(2));
}

#[test]
fn between_protocols_of_one_name_the_client_prefers() {
    let routes = routes(&["a.example @ http/1.1", "a.example @ h2"]);
    assert_eq!(winner(&routes, "a.example h2 http/1.1"), Some(1));
    assert_eq!(winner(&routes, "a.example grease http/1.1 h2"), Some(0));
    assert_eq!(problems(&routes), []);
}

#[test]
fn a_route_with_no_matcher_takes_every_hello_that_no_other_takes() {
    let routes = routes(&["", "a.example", "@ h2"]);
    assert_eq!(winner(&routes, "-"), Some(0));
    assert_eq!(winner(&routes, "b.example http/1.1"), Some(0));
    assert_eq!(winner(&routes, "a.example h2"), Some(1));
    assert_eq!(winner(&routes, "- h2"), Some(2));
    assert_eq!(winner(&[], "a.example h2"), None);
}

#[test]
fn a_name_longer_than_any_pattern_matches_by_protocol_only() {
    let long = format!("{}a.example", "a.".repeat(130));
    assert_eq!(winner(&routes(&["*.example", "@ h2"]), &format!("{long} h2")), Some(1));
}

#[test]
fn routes_that_nothing_orders_are_found_each_pair_once() {
    let tie = |first, second| RouteProblem::Tie { first, second };
    for (words, expected) in [
        (&["a.example", "A.example."][..], vec![tie(0, 1)]),
        (&["a b", "b c", "c a"], vec![tie(0, 1), tie(0, 2), tie(1, 2)]),
        (&["a @ h2 h3", "a @ http/1.1", "a @ h3 h2"], vec![tie(0, 2)]),
        (&["@ h2", "x", "@ h2"], vec![tie(0, 2)]),
        (&["", "a", ""], vec![tie(0, 2)]),
        (&["*.a", "*.a @ h2", "a", "*.b.a", "a @ h2", "@ h2"], vec![]),
        (&["a A a."], vec![]),
    ] {
        assert_eq!(problems(&routes(words)), expected, "{words:?}");
    }
}

#[test]
fn an_address_is_called_one_that_no_client_asks_for() {
    let routes = routes(&["a.example 192.0.2.1", "[2001:db8::1]", "1.2.3 *.1"]);
    let address = |route, pattern| RouteProblem::Address { route, pattern };
    assert_eq!(problems(&routes), [address(0, 1), address(1, 0)]);
}

#[test]
fn protocols_are_one_to_255_bytes() {
    assert_eq!(Protocol::parse("h2").unwrap().as_str(), "h2");
    assert!(Protocol::parse(&"a".repeat(255)).is_ok());
    for bad in [String::new(), "a".repeat(256)] {
        assert_eq!(Protocol::parse(&bad), Err(ProtocolError));
    }
}

/// Where a route stands for a hello, the smallest first; none where it does not match. Read from the rules at the top.
fn rank(route: &RouteMatch, name: Option<&str>, offered: &[&str]) -> Option<impl Ord + use<>> {
    let covers = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(own) => {
            name.filter(|name| name.eq_ignore_ascii_case(own)).map(|_| (0, Reverse(0)))
        }
        HostPattern::Wildcard(own) => name
            .filter(|name| name.to_lowercase().ends_with(&format!(".{own}")))
            .map(|_| (1, Reverse(own.len()))),
    };
    let host = match &route.sni[..] {
        [] => (2, Reverse(0)),
        patterns => patterns.iter().filter_map(covers).min()?,
    };
    let preferred = offered.iter().position(|name| route.alpn.iter().any(|own| own.as_str() == *name));
    match (route.alpn.is_empty(), preferred) {
        (true, _) => Some((host, 1, 0)),
        (false, Some(place)) => Some((host, 0, place)),
        (false, None) => None,
    }
}

const NAMES: [&str; 8] = ["a", "b.a", "*.a", "*.b.a", "c.b.a", "*.c.b.a", "d", "*.d"];
const PROTOCOLS: [&str; 4] = ["h2", "http/1.1", "x", "y"];

fn some_routes() -> impl Strategy<Value = Vec<RouteMatch>> {
    let words = (subsequence(&NAMES[..], 0..4), subsequence(&PROTOCOLS[..], 0..3));
    let route =
        words.prop_map(|(names, protocols)| route(&format!("{} @ {}", names.join(" "), protocols.join(" "))));
    prop::collection::vec(route, 0..9)
}

fn some_hello() -> impl Strategy<Value = (Option<&'static str>, Vec<&'static str>)> {
    let name = select(vec!["a", "B.a", "x.a", "c.b.a", "x.b.a", "y.x.C.b.a", "d", "x.d", "e"]);
    let offered = subsequence(vec!["h2", "http/1.1", "x", "z"], 0..=4).prop_shuffle();
    (proptest::option::weighted(0.9, name), offered)
}

proptest! {
    #[test]
    fn the_winner_is_the_one_that_the_written_order_says(
        mut routes in some_routes(),
        hellos in prop::collection::vec(some_hello(), 12),
    ) {
        // Without those that tie, as the configuration refuses them.
        while let Some(RouteProblem::Tie { second, .. }) = problems(&routes).first() {
            routes.remove(*second);
        }
        let table = Routes::compile(&routes);
        let backwards: Vec<RouteMatch> = routes.iter().rev().cloned().collect();
        let backwards_table = Routes::compile(&backwards);
        for (name, offered) in hellos {
            let mut matching: Vec<_> = routes
                .iter()
                .enumerate()
                .filter_map(|(place, route)| Some((rank(route, name, &offered)?, place)))
                .collect();
            matching.sort();
            if let [first, second, ..] = &matching[..] {
                prop_assert!(first.0 < second.0, "nothing orders {} and {}", first.1, second.1);
            }
            let best = matching.first().map(|(_, place)| *place);
            let bytes = || offered.iter().map(|protocol| protocol.as_bytes());
            prop_assert_eq!(table.lookup(name, bytes()), best, "{:?} {:?}", name, &offered);
            let mirrored = backwards_table.lookup(name, bytes()).map(|place| routes.len() - 1 - place);
            prop_assert_eq!(mirrored, best, "the order in the file is of no meaning");
        }
    }

    #[test]
    fn two_routes_that_tie_can_both_match_one_hello(routes in some_routes()) {
        for problem in problems(&routes) {
            let RouteProblem::Tie { first, second } = problem else { continue };
            let names = NAMES.iter().map(|name| Some(name.trim_start_matches("*.")));
            let deeper = NAMES.iter().map(|name| name.replace('*', "w"));
            let deeper: Vec<String> = deeper.collect();
            let names: Vec<Option<&str>> = names.chain(deeper.iter().map(|name| Some(&name[..]))).chain([None]).collect();
            let is_tied = names.iter().any(|&name| {
                [vec![], vec!["h2"], vec!["http/1.1"], vec!["x"], vec!["y"]].iter().any(|offered| {
                    let [a, b] = [first, second].map(|place| rank(&routes[place], name, offered));
                    a.is_some() && a == b
                })
            });
            prop_assert!(is_tied, "{:?} and {:?}", routes[first], routes[second]);
        }
    }
}
