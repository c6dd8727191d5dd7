use weir_route::{Params, Reason, Rule, normalize_host, normalize_path};

#[path = "../../crates/weir-route/tests/build/mod.rs"]
mod build;
#[path = "../../crates/weir-route/tests/reference/mod.rs"]
mod reference;

const LINES_MAX: usize = 64;

/// Routes: a lookup agrees with a reference that applies the written order to all rules.
///
/// Each line is a rule in words (`host=*.a path=/:x m=GET`) or, behind `? `, a request (`? GET a/b?q=1 name:value`).
pub fn route_match(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (asked, written): (Vec<&str>, Vec<&str>) =
        text.lines().take(LINES_MAX).partition(|line| line.starts_with("? "));
    let rules = (0..)
        .zip(&written)
        .filter_map(|(id, words)| build::try_rule(id, words))
        .filter(has_its_params)
        .collect();
    let (table, rules) = reference::compile(rules);
    let mut params = Params::default();
    for mut request in asked.iter().filter_map(|line| build::try_request(&line[2..])) {
        let (mut host, mut path) = (Vec::new(), Vec::new());
        let Ok(normal) = normalize_path(request.path.as_bytes(), &mut path) else { continue };
        request.path = String::from_utf8(normal.to_vec()).expect("a normal path is ASCII");
        if !request.host.is_empty() {
            let Ok(normal) = normalize_host(request.host.as_bytes(), &mut host) else { continue };
            request.host = String::from_utf8(normal.name.to_vec()).expect("a normal host is ASCII");
        }
        check(&table, &rules, &request, &mut params);
    }
}

/// The configuration refuses an expression for a parameter that the path does not have.
fn has_its_params(rule: &Rule) -> bool {
    rule.params
        .iter()
        .all(|(name, _)| rule.path.iter().any(|path| path.param_names().any(|known| known == name)))
}

fn check(table: &weir_route::RouteTable, rules: &[Rule], request: &build::Request, params: &mut Params) {
    let mut matching: Vec<&Rule> = rules.iter().filter(|rule| reference::matches(rule, request)).collect();
    matching.sort_by_key(|rule| reference::rank(rule, request));
    let found = table.lookup(&request.view(), params);
    match (found, matching.first()) {
        (None, None) => {}
        (Some(id), Some(best)) => {
            // Several of one rank may be left where no cheap test tells that two matchers can both hold.
            let winner = matching.iter().find(|rule| rule.id == id).expect("the winner matches");
            assert!(
                reference::rank(winner, request) == reference::rank(best, request),
                "{winner:?} is not the best, {best:?} is"
            );
        }
        (found, best) => panic!("found {found:?}, wanted {best:?}"),
    }
    let explained = table.explain(&request.view());
    assert_eq!(explained.winner.as_ref().map(|winner| winner.id), found);
    for miss in &explained.near_misses {
        let outranked = matches!(miss.reason, Reason::Outranked(_));
        assert_eq!(outranked, matching.iter().any(|rule| rule.id == miss.id), "{miss}");
    }
    let _ = explained.to_string();
}
