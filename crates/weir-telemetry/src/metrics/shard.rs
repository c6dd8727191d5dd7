/// A worker's index; the control side has one of its own, the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard(pub u16);

/// One `T` for each writer, each alone on its cache lines.
#[derive(Debug)]
pub struct Shards<T>(Box<[Alone<T>]>);

/// 128 bytes: x86 fetches lines of 64 in pairs, and some ARM cores have lines of 128.
#[derive(Debug)]
#[repr(align(128))]
struct Alone<T>(T);

impl<T> Shards<T> {
    /// `count` of them, at least one.
    pub fn new(count: usize, mut make: impl FnMut() -> T) -> Self {
        Self((0..count.max(1)).map(|_| Alone(make())).collect())
    }

    /// The one that belongs to `shard`.
    ///
    /// # Panics
    ///
    /// When there is no such shard: they were made for fewer workers than run.
    pub fn at(&self, shard: Shard) -> &T {
        &self.0[usize::from(shard.0)].0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|alone| &alone.0)
    }

    /// How many there are; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_no_cache_line() {
        let shards = Shards::new(3, || 0_u64);
        let places: Vec<usize> = shards.iter().map(|t| std::ptr::from_ref(t).addr()).collect();
        assert!(places.iter().all(|p| p % 128 == 0));
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] == 128));
        assert_eq!(std::ptr::from_ref(shards.at(Shard(2))).addr(), places[2]);
    }
}
