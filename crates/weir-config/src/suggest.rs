/// The candidate that `name` was probably meant to be, by edits (insert, drop, change, swap neighbours).
///
/// At most a third of the longer name's characters may differ, and at least one may. The first of equals wins.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LENGTH_MAX: usize = 64;
    let name: Vec<char> = name.to_lowercase().replace('-', "_").chars().collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.to_lowercase().replace('-', "_").chars().collect();
        let longer = name.len().max(other.len());
        if longer > LENGTH_MAX || name.is_empty() || other.is_empty() {
            continue;
        }
        let edits = distance(&name, &other);
        let allowed = (longer / 3).max(1);
        // One letter in place of another single letter is no likeness.
        if edits <= allowed && edits < longer && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Damerau-Levenshtein distance in its optimal-string-alignment form; three rows.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, to) in b.iter().enumerate() {
            let change = last[j] + usize::from(from != to);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let keys = ["connect_timeout", "response_timeout", "balance", "api"];
        assert_eq!(suggest("conect_timeout", keys), Some("connect_timeout"));
        assert_eq!(suggest("connect-timeout", keys), Some("connect_timeout"));
        assert_eq!(suggest("ap1", keys), Some("api"));
        assert_eq!(suggest("balacne", keys), Some("balance"));
        assert_eq!(suggest("zebra", keys), None);
        assert_eq!(suggest("x", ["y"]), None);
        assert_eq!(suggest("", keys), None);
    }
}
