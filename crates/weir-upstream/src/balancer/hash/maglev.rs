use super::hash_bytes;

/// Table sizes, prime: the paper asks for a hundred places an endpoint. The small one, 8 KiB, does for total weights
/// (in lowest terms) up to 40; the large one, 128 KiB, is the size the paper measured.
const SIZES: [usize; 2] = [4_093, 65_537];
const PLACES_PER_UNIT: u64 = 100;
const EMPTY: u16 = u16::MAX;

/// The lookup table of Maglev (Eisenbud et al., NSDI 2016, section 3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maglev {
    /// Member indexes; empty if no member has weight.
    places: Box<[u16]>,
    /// Whom it was made for.
    members: Box<[(Box<str>, u16)]>,
}

impl Maglev {
    /// A table for members with these names and weights. Costs about a millisecond for the large table.
    pub(crate) fn new(members: &[(&str, u16)]) -> Self {
        let made_for = members.iter().map(|&(name, weight)| (name.into(), weight)).collect();
        let heaviest = members.iter().map(|&(_, weight)| weight).max().unwrap_or(0);
        if heaviest == 0 {
            return Self { places: Box::default(), members: made_for };
        }
        let total: u64 = members.iter().map(|&(_, weight)| u64::from(weight)).sum();
        let size = if total * PLACES_PER_UNIT <= SIZES[0] as u64 { SIZES[0] } else { SIZES[1] };
        Self { places: fill(members, f64::from(heaviest), size), members: made_for }
    }

    /// Whether these members, in this order, would give the same table.
    pub(crate) fn is_for(&self, members: &[(&str, u16)]) -> bool {
        let made_for = self.members.iter().map(|(name, weight)| (&**name, *weight));
        made_for.eq(members.iter().copied())
    }

    /// The members in the order in which this hash prefers them, each many times.
    pub(crate) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = (hash % self.places.len().max(1) as u64) as usize;
        let (before, from) = self.places.split_at(start.min(self.places.len()));
        from.iter().chain(before).map(|&index| usize::from(index))
    }
}

/// Members take turns, as often as their weight says, at claiming the next free place of their own permutation.
fn fill(members: &[(&str, u16)], heaviest: f64, size: usize) -> Box<[u16]> {
    struct Claim {
        next: usize,
        skip: usize,
        credit: f64,
        share: f64,
    }
    let mut claims: Vec<Claim> = members
        .iter()
        .map(|(name, weight)| {
            let (first, second) = (hash_bytes(name.as_bytes()), hash_bytes(format!("{name}#").as_bytes()));
            Claim {
                next: (first % size as u64) as usize,
                skip: (second % (size as u64 - 1)) as usize + 1,
                credit: 0.0,
                share: f64::from(*weight) / heaviest,
            }
        })
        .collect();
    let mut places = vec![EMPTY; size];
    let mut left = size;
    loop {
        for (index, claim) in claims.iter_mut().enumerate() {
            claim.credit += claim.share;
            if claim.credit < 1.0 {
                continue;
            }
            claim.credit -= 1.0;
            while places[claim.next] != EMPTY {
                claim.next = (claim.next + claim.skip) % size;
            }
            places[claim.next] = u16::try_from(index).expect("an upstream has fewer than 65,535 endpoints");
            left -= 1;
            if left == 0 {
                return places.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("10.0.0.{i}:80")).collect()
    }

    fn table(names: &[String], weight: u16) -> Maglev {
        Maglev::new(&names.iter().map(|name| (name.as_str(), weight)).collect::<Vec<_>>())
    }

    #[test]
    fn places_are_shared_evenly() {
        for count in [1, 3, 40, 41, 200] {
            let table = table(&names(count), 1);
            let fair = table.places.len() as f64 / count as f64;
            for index in 0..count {
                let places = table.places.iter().filter(|&&i| usize::from(i) == index).count() as f64;
                assert!(
                    (places / fair - 1.0).abs() < 0.05,
                    "{count} endpoints, {index}: {places} for {fair}"
                );
            }
        }
    }

    #[test]
    fn places_are_shared_by_weight() {
        let table = Maglev::new(&[("a", 1), ("b", 3), ("c", 0)]);
        let count = |index| table.places.iter().filter(|&&i| i == index).count();
        assert!((1_000..=1_050).contains(&count(0)), "{}", count(0));
        assert_eq!(count(2), 0);
    }

    #[test]
    fn a_new_endpoint_takes_little_more_than_its_share() {
        let (before, after) = (table(&names(50), 1), table(&names(51), 1));
        let moved = before.places.iter().zip(&after.places).filter(|(a, b)| a != b).count();
        assert!(moved < before.places.len() * 6 / 100, "{moved} of {} keys moved", before.places.len());
    }

    #[test]
    fn a_table_of_nothing_leads_nowhere() {
        assert_eq!(Maglev::new(&[]).walk(7).count(), 0);
        assert_eq!(Maglev::new(&[("a", 0)]).walk(7).count(), 0);
    }
}
