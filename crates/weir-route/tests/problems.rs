//! Ties and rules that never win.

mod build;

use std::time::Instant;

use build::{rule, rules};
use weir_route::{RouteTable, Rule, RuleProblem};

fn problems(rules: Vec<Rule>) -> Vec<RuleProblem> {
    RouteTable::compile(rules).err().unwrap_or_default()
}

fn tie(first: u32, second: u32) -> RuleProblem {
    RuleProblem::Tie { first, second }
}

fn unreachable(rule: u32, shadowed_by: u32) -> RuleProblem {
    RuleProblem::Unreachable { rule, shadowed_by }
}

#[test]
fn rules_that_nothing_orders_and_that_can_both_match_tie() {
    let tied: &[&[&str]] = &[
        &["path=/a", "path=/a"],
        &["path=/a/:x", "path=/a/:y"],
        &["path=/a/*x", "path=/a/*"],
        &["path=/a h:x=1", "path=/a h:y=1"],
        &["path=/a h:x=1", "path=/a q:x=1"],
        &["path=/a m=GET", "path=/a m=HEAD,GET"],
        &["path=/a h:x=1", "path=/a h:x=~[0-9]"],
        &["path=/a l=1,2", "path=/a l=2,3"],
        &["re=/a.*", "re=/a.*"],
        &["re=/a.*", "re=/[a-z]+"],
        &["re=/[0-9]+/x", "re=/[a-z]+/x"],
        &["re=/a/.*", "re=/a/b"],
        &["re=/a.* h:x=1", "re=/[a-z]+ h:y=1"],
        &["re=/a.* m=GET", "re=/.* m=GET,POST"],
        &["", ""],
        &["host=EXAMPLE.com.", "host=example.com"],
        &["path=/:a/:b p:a=x", "path=/:b/:a p:a=x"],
        &["path=/a h:X-Env=1", "path=/a h:x-env=1"],
        &["path=/a a=text/html", "path=/a a=application/json"],
        &["path=/a a=text/html", "path=/a m=GET"],
        &["path=/a m=GET preflights=", "path=/a m=OPTIONS"],
    ];
    for words in tied {
        assert_eq!(problems(rules(words)), [tie(0, 1)], "{words:?}");
    }
}

#[test]
fn rules_that_cannot_both_match_or_that_are_ordered_do_not_tie() {
    let fine: &[&[&str]] = &[
        &["path=/a", "path=/a prio=1 m=GET"],
        &["path=/a h:x=1", "path=/a h:x=2"],
        &["path=/a h:X=1", "path=/a h:x=2"],
        &["path=/a q:x=1", "path=/a q:x=~[a-z]"],
        &["path=/a m=GET", "path=/a m=POST"],
        &["path=/a m=GET preflights=", "path=/a m=POST preflights="],
        &["path=/a a=text/html", "path=/a a=application/json prio=1"],
        &["path=/a a=text/html prio=1", "path=/a a=text/*"],
        &["path=/a a=text/html", "path=/a"],
        &["path=/a l=1", "path=/a l=2"],
        &["path=/a", "path=/a/"],
        &["path=/a host=a.example", "path=/a host=*.example"],
        &["path=/u/:id p:id=[0-9]+", "path=/u/:name p:name=[a-z]+"],
        &["re=/a.*", "re=/b.*"],
        &["re=/[0-9]+/x", "re=/[0-9]+/y"],
        &["re=/[0-9]+", "re=/a"],
        &["re=^/(a)$", "re=/b"],
        &["re=/a.*", "re=/[a-z]+ prio=1"],
        &["re=/a.*", "re=/[a-z]+ m=GET"],
        &["re=/a.* m=GET", "re=/[a-z]+ m=POST"],
        &["re=/a.* h:x=1", "re=/[a-z]+ h:x=2"],
        &["re=/a.* host=a.example", "re=/[a-z]+ host=b.example"],
        &["path=/a h:x=1 prio=1", "path=/a h:y=1"],
    ];
    for words in fine {
        assert_eq!(problems(rules(words)), [], "{words:?}");
    }
}

#[test]
fn a_rule_that_another_always_wins_over_is_unreachable() {
    let shadowed: &[&[&str]] = &[
        &["path=/a prio=1", "path=/a"],
        &["path=/a m=GET,POST prio=1", "path=/a m=GET"],
        &["path=/a h:x=? prio=1", "path=/a h:x=1"],
        &["path=/a h:x=~[0-9] prio=1", "path=/a h:x=1"],
        &["path=/*", "re=/a.*"],
        &["path=/*", "m=GET"],
        &["path=/* m=GET", "re=/a m=GET h:x=1"],
        &["path=/u/:a p:a=[0-9]+ prio=1", "path=/u/:b p:b=[0-9]+"],
    ];
    for words in shadowed {
        assert_eq!(problems(rules(words)), [unreachable(1, 0)], "{words:?}");
    }
}

#[test]
fn a_rule_that_sometimes_wins_is_reachable() {
    let fine: &[&[&str]] = &[
        &["path=/* m=GET", "re=/a"],
        &["path=/* l=1", "m=GET"],
        &["path=/* host=a.example", "re=/a"],
        &["path=/a m=GET prio=1", "path=/a m=GET,POST"],
        &["path=/:a/:b p:a=x prio=1", "path=/:b/:a p:a=x"],
        &["path=/*rest p:rest=x", "re=/a"],
    ];
    for words in fine {
        assert_eq!(problems(rules(words)), [], "{words:?}");
    }
}

#[test]
fn a_route_of_several_rules_is_unreachable_only_when_all_of_them_are() {
    let winner = rule(0, "path=/a prio=1");
    let dead = rule(1, "path=/a");
    let living = rule(1, "path=/b");
    assert_eq!(problems(vec![winner.clone(), dead.clone(), living]), []);

    let other_dead = rule(1, "host=x.example path=/a");
    let other_winner = rule(2, "host=x.example path=/a prio=2");
    let found = problems(vec![winner, dead, other_dead, other_winner]);
    assert_eq!(found, [unreachable(1, 0), unreachable(1, 2)]);
}

#[test]
fn rules_of_one_route_neither_tie_nor_shadow_each_other() {
    assert_eq!(
        problems(vec![rule(4, "path=/a"), rule(4, "path=/a"), rule(4, "path=/*"), rule(4, "re=/x")]),
        []
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(rules(&["path=/a", "path=/a", "path=/b prio=1", "path=/b", "path=/c", "path=/c"]));
    assert_eq!(found, [tie(0, 1), tie(4, 5), unreachable(3, 2)]);
}

#[test]
fn the_same_rule_far_apart_in_a_large_group_is_still_found() {
    let mut many: Vec<Rule> = (0..1000).map(|id| rule(id, &format!("path=/a h:x=v{id}"))).collect();
    assert_eq!(problems(many.clone()), []);
    many.push(rule(1000, "path=/a h:X=v3"));
    assert_eq!(problems(many), [tie(3, 1000)]);
}

/// The limit is loose because test builds are not optimised; the release number stands in the bench report.
#[test]
fn ten_thousand_rules_of_one_path_are_not_compared_all_with_all() {
    let many = (0..10_000).map(|id| rule(id, &format!("path=/a/:x h:x=v{id}"))).collect();
    let start = Instant::now();
    assert_eq!(problems(many), []);
    // All pairs would be 50 million comparisons, which take more than a minute here.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
