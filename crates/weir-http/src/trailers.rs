use std::sync::Arc;

use weir_wire::http1::Head;

/// What the policies of a route do to the trailers of one direction, in the order in which they see heads.
///
/// Trailers come when both phases of the policies are over, and many readers merge them into the head: without
/// these rules a trailer would bring back what a policy has taken away. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrailerRules(Option<Arc<[TrailerRule]>>);

/// One step of what a policy does to trailers. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailerRule {
    /// A message with one of these is refused.
    Deny(Vec<String>),
    /// Only these stay.
    Keep(Vec<String>),
    /// These go.
    Drop(Vec<String>),
    /// These go, and those that a CGI server could not tell from them.
    DropWithTwins(Vec<String>),
}

/// What a policy does to the trailers of both directions.
#[derive(Debug, Default)]
pub struct Trailers {
    /// To those of requests, in this order.
    pub request: Vec<TrailerRule>,
    /// To those of answers, in this order.
    pub response: Vec<TrailerRule>,
}

/// The trailer section holds a field that is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied;

impl TrailerRules {
    pub(crate) fn new(rules: impl IntoIterator<Item = TrailerRule>) -> Self {
        let rules: Arc<[TrailerRule]> = rules.into_iter().filter(|rule| !rule.changes_nothing()).collect();
        Self((!rules.is_empty()).then_some(rules))
    }

    /// Takes out of `trailers` what may not pass.
    ///
    /// # Errors
    ///
    /// [`Denied`]: the message must not be completed.
    pub(crate) fn apply(&self, trailers: &mut Head) -> Result<(), Denied> {
        for rule in self.0.iter().flat_map(|rules| rules.iter()) {
            match rule {
                TrailerRule::Deny(names) => {
                    if trailers.iter().any(|(_, name, _)| is_one_of(name, names)) {
                        return Err(Denied);
                    }
                }
                TrailerRule::Keep(names) => trailers.retain(|_, name, _| is_one_of(name, names)),
                TrailerRule::Drop(names) => trailers.retain(|_, name, _| !is_one_of(name, names)),
                TrailerRule::DropWithTwins(names) => {
                    trailers.retain(|_, name, _| !names.iter().any(|own| is_twin(name, own)));
                }
            }
        }
        Ok(())
    }

    /// Whether all trailers pass.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl TrailerRule {
    fn changes_nothing(&self) -> bool {
        match self {
            Self::Deny(names) | Self::Drop(names) | Self::DropWithTwins(names) => names.is_empty(),
            Self::Keep(_) => false,
        }
    }
}

fn is_one_of(name: &[u8], names: &[String]) -> bool {
    names.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// Whether a CGI server could not tell the two names apart (`x_team` and `x-team`).
pub(crate) fn is_twin(one: &[u8], other: &str) -> bool {
    let fold = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other.as_bytes()).all(|(a, b)| fold(*a) == fold(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rules: &[TrailerRule], names: &[&str]) -> Result<Vec<String>, Denied> {
        let mut head = Head::default();
        for name in names {
            head.append(name.as_bytes(), b"1");
        }
        TrailerRules::new(rules.to_vec()).apply(&mut head)?;
        Ok(head.iter().map(|(_, name, _)| String::from_utf8_lossy(name).into_owned()).collect())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn rules_are_applied_in_their_order() {
        let drop = TrailerRule::Drop(names(&["x-a"]));
        let deny = TrailerRule::Deny(names(&["x-a"]));
        assert_eq!(judged(&[drop.clone(), deny.clone()], &["X-A", "X-B"]), Ok(names(&["X-B"])));
        assert_eq!(judged(&[deny, drop], &["X-A", "X-B"]), Err(Denied));
    }

    #[test]
    fn twins_of_what_a_policy_sets_go_and_others_stay() {
        let rule = TrailerRule::DropWithTwins(names(&["x-team"]));
        assert_eq!(judged(&[rule], &["x_TEAM", "X-Team", "x.team", "x-teams"]), Ok(names(&["x-teams"])));
    }

    #[test]
    fn an_empty_list_keeps_nothing_and_no_rule_keeps_all() {
        assert_eq!(judged(&[TrailerRule::Keep(Vec::new())], &["x-a"]), Ok(Vec::new()));
        assert!(TrailerRules::new([TrailerRule::Drop(Vec::new())]).is_empty());
    }
}
