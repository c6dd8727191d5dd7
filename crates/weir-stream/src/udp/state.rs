use std::sync::Arc;

use weir_telemetry::{Shard, Shards};

use super::places::Places;
use super::stats::UdpTallies;

/// A UDP listener while it runs: what its workers share, across reloads.
#[derive(Debug)]
pub struct UdpState {
    pub(super) places: Arc<Places>,
    tallies: Shards<Arc<UdpTallies>>,
}

impl UdpState {
    /// No session yet; `workers` have a shard each.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Places::new(0)), tallies: Shards::new(workers, Arc::default) })
    }

    /// Sessions that there are, over all workers.
    pub fn sessions(&self) -> u32 {
        self.places.taken()
    }

    /// Most sessions that there may be.
    pub fn sessions_max(&self) -> u32 {
        self.places.max()
    }

    /// What each worker counted.
    pub fn tallies(&self) -> impl Iterator<Item = &UdpTallies> {
        self.tallies.iter().map(|tallies| &**tallies)
    }

    pub(super) fn tallies_of(&self, shard: Shard) -> Arc<UdpTallies> {
        Arc::clone(self.tallies.at(shard))
    }
}
