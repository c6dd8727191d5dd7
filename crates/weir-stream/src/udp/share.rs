/// What each listener may have of `total` places: what it wants, or where all of them want more than there is, its part
/// by what it wants; never none.
pub(crate) fn share(wanted: impl Iterator<Item = u32> + Clone, total: u32) -> impl Iterator<Item = u32> {
    let total = u64::from(total);
    let own = move |wanted: u32| u64::from(wanted).min(total);
    let sum: u64 = wanted.clone().map(own).sum();
    wanted.map(move |wanted| {
        let part = if sum > total { own(wanted) * total / sum } else { own(wanted) };
        // No more than `wanted`, which has 32 bits.
        (part as u32).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares<const N: usize>(wanted: [u32; N], total: u32) -> [u32; N] {
        share(wanted.into_iter(), total).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn who_wants_less_than_there_is_gets_it() {
        assert_eq!(shares([500, 500], 1_000), [500, 500]);
        assert_eq!(shares([7], 1_000), [7]);
    }

    #[test]
    fn who_want_more_than_there_is_get_their_parts() {
        assert_eq!(shares([5_000], 1_000), [1_000]);
        assert_eq!(shares([500, 500, 500, 500], 1_000), [250; 4]);
        assert_eq!(shares([u32::MAX, 1_000, 10], 1_000), [497, 497, 4]);
        assert_eq!(shares([1_000, 1], 100), [99, 1], "nobody gets none");
        assert_eq!(shares([3, 3], 1), [1, 1]);
    }
}
