use weir_config::{Code, Key, Node, Object, Problem, Problems, Shape};

/// An item of a route's `forward` when it is a list.
pub static SHARE: Object = Object::new(
    "share",
    "One of several upstreams that share a route's requests, such as a canary.",
    &[
        Key::new("upstream", Shape::Text, "The upstream's name.").required(),
        Key::new(
            "weight",
            Shape::Integer { min: 0, max: 1_000_000 },
            "The share of the requests relative to the others; 0 gets none.",
        )
        .default("1"),
    ],
);

/// An upstream that a route forwards to, by name, as written.
#[derive(Debug, Clone)]
pub struct Share<'n> {
    /// The upstream's name; whether it exists is for the caller to see.
    pub upstream: &'n str,
    /// The share relative to the others.
    pub weight: u32,
    /// Where the name was written.
    pub node: &'n Node,
}

/// Reads a route's `forward`: a name, or a list of names with weights. Empty only when the problems say why.
pub fn decode_forward<'n>(node: &'n Node, problems: &Problems) -> Vec<Share<'n>> {
    if let Some(text) = node.text() {
        return vec![Share { upstream: text, weight: 1, node }];
    }
    let mut shares: Vec<Share> = Vec::new();
    let items = node.items().unwrap_or_default();
    for item in items {
        let section = SHARE.open(item, problems);
        let Some(node) = section.node("upstream") else { continue };
        let upstream = node.text().unwrap_or_default();
        if let Some(first) = shares.iter().find(|share| share.upstream == upstream) {
            let message = format!("the upstream `{upstream}` is listed twice");
            let problem =
                Problem::error(Code::NAME_TAKEN, node, message).also(first.node, "first listed here");
            problems.push(problem.help("add their weights"));
            continue;
        }
        shares.push(Share { upstream, weight: section.integer("weight"), node });
    }
    if items.is_empty() {
        problems.push(Problem::error(Code::MISSING_KEY, node, "`forward` lists no upstream"));
    } else if shares.len() == items.len() && shares.iter().all(|share| share.weight == 0) {
        let problem = Problem::error(Code::OUT_OF_RANGE, node, "the weights of `forward` sum to 0");
        problems.push(problem.help("give at least one upstream a weight of 1 or more"));
    }
    shares
}
