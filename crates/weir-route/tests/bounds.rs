//! What the nastiest patterns may cost.

mod build;

use std::cell::Cell;

use build::{request, rule};
use weir_route::{FieldLookup, Params, RequestView, RouteTable, SEGMENTS_MAX};

/// Fields that hold nothing and count how often they were asked.
#[derive(Default)]
struct Counting(Cell<usize>);

impl FieldLookup for Counting {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.set(self.0.get() + 1);
        false
    }
}

/// Every choice of literal or parameter for each of ten segments, each refused by a header at its end.
#[test]
fn every_rule_is_asked_once_at_most_whatever_the_patterns() {
    const DEPTH: usize = 10;
    let rules = (0..1u32 << DEPTH)
        .map(|bits| {
            let path: String = (0..DEPTH)
                .map(|at| if bits >> at & 1 == 1 { "/a".to_owned() } else { format!("/:p{at}") })
                .collect();
            rule(bits, &format!("path={path} h:x=?"))
        })
        .collect();
    let table = RouteTable::compile(rules).unwrap();
    let fields = Counting::default();
    let request = request(&format!("GET {}", "/a".repeat(DEPTH)));
    let view = RequestView { fields: &fields, ..request.view() };
    assert_eq!(table.lookup(&view, &mut Params::default()), None);
    assert_eq!(fields.0.get(), 1 << DEPTH);
}

#[test]
fn a_path_far_deeper_than_any_pattern_costs_no_depth() {
    let deepest = "/a".repeat(SEGMENTS_MAX);
    let table = build::table(&[&format!("path={deepest}"), "path=/*"]);
    assert_eq!(build::winner(&table, &format!("GET {deepest}")), Some(0));
    assert_eq!(build::winner(&table, &format!("GET {}", "/a".repeat(30_000))), Some(1));
}

#[test]
fn an_expression_that_backtracks_elsewhere_is_linear_here() {
    let table = build::table(&["re=^/(a+)+$ prio=1", "re=^/(a|aa)*b(a|a?)+c$"]);
    let path = format!("/{}!", "a".repeat(60_000));
    assert_eq!(build::winner(&table, &format!("GET {path}")), None);
}

#[test]
fn an_asterisk_or_an_empty_path_is_no_danger() {
    let table = build::table(&["path=/a", "path=/b/*", "m=OPTIONS"]);
    for path in ["", "*", "a", "//", "/a//"] {
        let request =
            build::Request { method: "OPTIONS".into(), path: path.into(), ..build::Request::default() };
        assert_eq!(table.lookup(&request.view(), &mut Params::default()), Some(2), "{path:?}");
        assert_eq!(table.explain(&request.view()).winner.map(|winner| winner.id), Some(2), "{path:?}");
    }
}
