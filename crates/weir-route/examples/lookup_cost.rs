//! `lookup_cost ROUTES LOOKUPS`: builds a table as a real configuration has it and looks up, spread over all routes.
//!
//! Twenty paths a host, with parameters, methods and tails among them. The difference of two runs under callgrind
//! is the cost of the lookups alone.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context;
use weir_route::{FieldLookup, HostPattern, Method, Params, PathPattern, RequestView, RouteTable, Rule};

const PATHS_PER_HOST: usize = 20;

/// Knows no field.
struct NoFields;

impl FieldLookup for NoFields {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// A pattern and a path that it matches.
fn path(at: usize) -> (String, String) {
    let name = ["users", "orders", "items", "carts", "teams"][at / 4];
    match at % 4 {
        0 => (format!("/api/v1/{name}"), format!("/api/v1/{name}")),
        1 => (format!("/api/v1/{name}/:id"), format!("/api/v1/{name}/{}", 1000 + at)),
        2 => (format!("/api/v1/{name}/:id/history/:page"), format!("/api/v1/{name}/77/history/{at}")),
        _ => (format!("/static/{name}/*file"), format!("/static/{name}/css/site-{at}.css")),
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || -> anyhow::Result<usize> { Ok(arguments.next().context("ROUTES LOOKUPS")?.parse()?) };
    let (routes, lookups) = (number()?, number()?);

    let mut rules = Vec::with_capacity(routes);
    let mut requests = Vec::with_capacity(routes);
    for route in 0..routes {
        let (host, at) = (format!("shop-{}.example.com", route / PATHS_PER_HOST), route % PATHS_PER_HOST);
        let (pattern, path) = path(at);
        let mut rule = Rule::any(u32::try_from(route)?);
        rule.host = Some(HostPattern::parse(&host)?);
        rule.path = Some(PathPattern::parse(&pattern)?);
        if at % 5 == 0 {
            rule.methods = vec![Method::parse("GET")?, Method::parse("HEAD")?];
        }
        rules.push(rule);
        requests.push((host, path));
    }
    let start = Instant::now();
    let table = RouteTable::compile(rules).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    println!("compiled {routes} routes in {:?}", start.elapsed());

    let mut params = Params::default();
    let start = Instant::now();
    // A stride that shares no factor with the counts, so that neighbours are not in the same cache lines.
    for (turn, at) in (0..lookups).zip((0..).map(|turn| turn * 7919 % routes)) {
        let (host, path) = &requests[at];
        let request = RequestView {
            listener: 0,
            host: host.as_bytes(),
            path: path.as_bytes(),
            query: b"",
            method: b"GET",
            fields: &NoFields,
        };
        let found = table.lookup(black_box(&request), &mut params);
        anyhow::ensure!(found == Some(at as u32), "lookup {turn}: {found:?} instead of {at}");
    }
    println!("{lookups} lookups in {:?}", start.elapsed());
    Ok(())
}
