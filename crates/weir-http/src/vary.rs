//! `Vary`: which fields of a request an answer depends on, so that caches keep answers apart.

use weir_wire::http1::{Head, list_items};

/// Adds a field's name to `Vary`, unless it or `*` is there.
pub(crate) fn add(fields: &mut Head, name: &str) {
    let is_there = fields
        .named(b"vary")
        .flat_map(list_items)
        .any(|item| item == b"*" || item.eq_ignore_ascii_case(name.as_bytes()));
    if !is_there {
        fields.append(b"vary", name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_added_once_and_not_beside_a_star() {
        for (there, lines) in [
            (&[][..], 1),
            (&["Accept"], 2),
            (&["accept, ORIGIN"], 1),
            (&["Accept", "origin"], 2),
            (&["*"], 1),
        ] {
            let mut fields = Head::default();
            there.iter().for_each(|value| fields.append(b"Vary", value.as_bytes()));
            add(&mut fields, "Origin");
            assert_eq!(fields.len(), lines, "{there:?}");
        }
    }
}
