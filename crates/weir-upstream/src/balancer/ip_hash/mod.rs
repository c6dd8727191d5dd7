//! By the client's full address, the same endpoint as long as it is there.

use std::net::IpAddr;

use crate::PickRequest;
use crate::balancer::hash::{Affinity, hash_bytes};
use crate::balancer::{Balancer, Candidates, Kind};

pub(super) const KIND: Kind = Kind {
    name: "ip_hash",
    aliases: &[],
    doc: "The same endpoint for the same client address, all of its bytes; in turn for clients without one.",
    build: |members, carry| Box::new(IpHash(Affinity::new(members, carry))),
};

struct IpHash(Affinity);

impl Balancer for IpHash {
    fn pick(&self, candidates: &Candidates<'_>, request: &PickRequest) -> Option<usize> {
        self.0.pick(candidates, request, request.client.map(hash_address))
    }
}

/// An IPv4 client is the same client when it comes through an IPv6 socket.
fn hash_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => hash_bytes(&v4.octets()),
        IpAddr::V6(v6) => hash_bytes(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BalancePlan;
    use crate::balancer::contract::Bench;

    #[test]
    fn clients_of_one_network_are_spread_by_their_last_byte() {
        let bench = Bench::new(BalancePlan::IpHash, &[1, 1, 1, 1]);
        let mut seen = std::collections::HashSet::new();
        for last in 0..64 {
            let client = IpAddr::from([192, 0, 2, last]);
            let lease = bench.try_pick(|request| request.client = Some(client)).unwrap();
            let again = bench.try_pick(|request| request.client = Some(client)).unwrap();
            assert_eq!(lease.endpoint().id(), again.endpoint().id());
            seen.insert(lease.endpoint().id());
        }
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_mapped_address_is_the_same_client() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(hash_address(mapped), hash_address(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn a_client_without_an_address_is_served_in_turn() {
        let bench = Bench::new(BalancePlan::IpHash, &[1, 1]);
        assert_eq!(bench.counts_of(20, |request| request.client = None), [10, 10]);
    }
}
