use std::collections::HashMap;

use crate::hash::Fx;
use crate::{PARAMS_MAX, Segment};

/// The segment patterns of one host, one node a segment.
#[derive(Debug)]
pub(crate) struct Trie {
    /// The first is the root.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: Children,
    param: Option<u32>,
    /// Rules whose path ends here, in the order in which they are tried.
    leaf: Vec<u32>,
    /// Rules with `*rest` from here.
    rest: Vec<u32>,
}

/// Literal children by their text: a short list is faster to look through than to hash.
#[derive(Debug)]
enum Children {
    Few(Vec<(Box<[u8]>, u32)>),
    Many(HashMap<Box<[u8]>, u32, Fx>),
}

const FEW_MAX: usize = 4;

impl Default for Children {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Children {
    #[inline]
    fn get(&self, segment: &[u8]) -> Option<u32> {
        match self {
            Self::Few(children) => {
                children.iter().find(|(text, _)| **text == *segment).map(|(_, node)| *node)
            }
            Self::Many(children) => children.get(segment).copied(),
        }
    }

    fn insert(&mut self, segment: &[u8], node: u32) {
        match self {
            Self::Few(children) if children.len() < FEW_MAX => children.push((segment.into(), node)),
            Self::Few(children) => {
                let mut many: HashMap<Box<[u8]>, u32, Fx> = children.drain(..).collect();
                many.insert(segment.into(), node);
                *self = Self::Many(many);
            }
            Self::Many(children) => {
                children.insert(segment.into(), node);
            }
        }
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

/// Chooses of the rules of one pattern, given what its path parameters are.
type Choose<'a> = dyn FnMut(&[u32], &[(u32, u32)]) -> Option<u32> + 'a;

impl Trie {
    /// Adds a rule; of rules with the same pattern the one that was added first is tried first.
    pub(crate) fn insert(&mut self, segments: &[Segment], rule: u32) {
        let mut at = 0;
        for segment in segments {
            at = match segment {
                Segment::Literal(text) => match self.nodes[at].literals.get(text.as_bytes()) {
                    Some(node) => node as usize,
                    None => {
                        let node = self.grow();
                        self.nodes[at].literals.insert(text.as_bytes(), node);
                        node as usize
                    }
                },
                Segment::Param(_) => match self.nodes[at].param {
                    Some(node) => node as usize,
                    None => {
                        let node = self.grow();
                        self.nodes[at].param = Some(node);
                        node as usize
                    }
                },
                Segment::Rest(_) => {
                    self.nodes[at].rest.push(rule);
                    return;
                }
            };
        }
        self.nodes[at].leaf.push(rule);
    }

    fn grow(&mut self) -> u32 {
        self.nodes.push(Node::default());
        (self.nodes.len() - 1) as u32
    }

    /// Lists of rules that only their further matchers tell apart.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[u32]> {
        self.nodes.iter().flat_map(|node| [&node.leaf[..], &node.rest[..]]).filter(|group| !group.is_empty())
    }

    /// The rules of `/*`.
    pub(crate) fn catch_all(&self) -> &[u32] {
        &self.nodes[0].rest
    }

    /// The first rule, segment by segment literal before parameter before rest, that matches and is chosen.
    ///
    /// A node is reached from its parent only, with the segment that its depth says, so no node is visited twice.
    pub(crate) fn find(
        &self,
        path: &[u8],
        spans: &mut [(u32, u32); PARAMS_MAX],
        choose: &mut Choose<'_>,
    ) -> Option<u32> {
        self.walk(0, path, 0, 0, spans, choose)
    }

    /// `at` is where the slash before the next segment stands, or the path's length behind its last segment.
    fn walk(
        &self,
        node: usize,
        path: &[u8],
        at: usize,
        bound: usize,
        spans: &mut [(u32, u32); PARAMS_MAX],
        choose: &mut Choose<'_>,
    ) -> Option<u32> {
        let node = &self.nodes[node];
        if at >= path.len() {
            let leaf = choose(&node.leaf, &spans[..bound]);
            return leaf.or_else(|| self.rest(node, path, at, bound, spans, choose));
        }
        let start = at + 1;
        let end = memchr::memchr(b'/', &path[start..]).map_or(path.len(), |length| start + length);
        if let Some(child) = node.literals.get(&path[start..end])
            && let Some(found) = self.walk(child as usize, path, end, bound, spans, choose)
        {
            return Some(found);
        }
        if let Some(child) = node.param
            && end > start
            && bound < PARAMS_MAX
        {
            spans[bound] = (start as u32, end as u32);
            if let Some(found) = self.walk(child as usize, path, end, bound + 1, spans, choose) {
                return Some(found);
            }
        }
        self.rest(node, path, start, bound, spans, choose)
    }

    fn rest(
        &self,
        node: &Node,
        path: &[u8],
        start: usize,
        bound: usize,
        spans: &mut [(u32, u32); PARAMS_MAX],
        choose: &mut Choose<'_>,
    ) -> Option<u32> {
        if node.rest.is_empty() || bound == PARAMS_MAX {
            return None;
        }
        spans[bound] = (start.min(path.len()) as u32, path.len() as u32);
        choose(&node.rest, &spans[..=bound])
    }
}
