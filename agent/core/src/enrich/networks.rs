//! Names of networks outside the cluster: the longest prefix that an address has decides.
//!
//! Networks lie within each other or apart, so that together they cut the addresses into at most 2 n + 1 ranges, each
//! with one name: a lookup is one binary search. 8 octets a range for IPv4, 20 for IPv6: at the bound 2.5 MiB, and the names.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use super::name::Name;

/// Networks that can be named.
pub const MAX_NETWORKS: usize = 65_536;

/// Stands for the addresses of no network.
const NOBODY: u32 = u32::MAX;

/// Names by network.
#[derive(Debug, Default)]
pub struct Networks {
    names: Box<[Name]>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Networks that cannot be named together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworksError {
    /// More than [`MAX_NETWORKS`].
    #[error("there are more than {MAX_NETWORKS} networks")]
    TooMany,
    /// The same network has a name already.
    #[error("the network {0} was named before")]
    Twice(IpNet),
}

impl Networks {
    /// Of these networks, whose addresses may have bits behind the prefix.
    ///
    /// # Errors
    ///
    /// When there are too many, or one has two names; then with its place among them.
    pub fn new(named: &[(IpNet, Name)]) -> Result<Self, (usize, NetworksError)> {
        if named.len() > MAX_NETWORKS {
            return Err((MAX_NETWORKS, NetworksError::TooMany));
        }
        let mut places: HashMap<&Name, u32> = HashMap::new();
        let mut names = Vec::new();
        let (mut v4, mut v6, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
        for (index, (network, name)) in named.iter().enumerate() {
            let network = canonical(*network);
            if seen.insert(network, index).is_some() {
                return Err((index, NetworksError::Twice(network)));
            }
            let next = u32::try_from(names.len()).unwrap_or(NOBODY);
            let place = *places.entry(name).or_insert_with(|| {
                names.push(name.clone());
                next
            });
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits(), place)),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits(), place)),
            }
        }
        Ok(Self { names: names.into(), v4: Ranges::new(v4), v6: Ranges::new(v6) })
    }

    /// The name of the smallest network that this address is in. An IPv4 address is the same in IPv6
    /// (`::ffff:0:0/96`).
    #[must_use]
    pub fn name(&self, address: IpAddr) -> Option<&Name> {
        let place = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        };
        self.names.get(place as usize)
    }
}

/// The same network, written as every other is: without bits behind the prefix, and one within `::ffff:0:0/96` as one of
/// IPv4.
#[must_use]
pub fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let (Some(v4), Some(length)) = (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) else {
        return network;
    };
    IpNet::new(v4.into(), length).unwrap_or(network)
}

/// What belongs to whom: `places[i]` has the addresses from `starts[i]` up to the next start.
#[derive(Debug, Default)]
struct Ranges<A> {
    starts: Box<[A]>,
    places: Box<[u32]>,
}

/// An address as a number.
trait Number: Copy + Ord {
    /// The next one, if there is one.
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl<A: Number> Ranges<A> {
    /// From the first and last address of each network, and its place.
    fn new(mut networks: Vec<(A, A, u32)>) -> Self {
        // An outer network stands before the inner ones that begin with it.
        networks.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut ranges: Vec<(A, u32)> = Vec::new();
        let mut from = |start: A, place: u32| match ranges.last_mut() {
            Some(last) if last.0 == start => last.1 = place,
            _ => ranges.push((start, place)),
        };
        // The networks around the present one, from the outermost in: as many as there are prefix lengths.
        let mut around: Vec<(A, u32)> = Vec::new();
        for (first, last, place) in networks {
            while let Some((end, _)) = around.pop_if(|(end, _)| *end < first) {
                leave(end, &around, &mut from);
            }
            from(first, place);
            around.push((last, place));
        }
        while let Some((end, _)) = around.pop() {
            leave(end, &around, &mut from);
        }
        let (starts, places): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Self { starts: starts.into(), places: places.into() }
    }

    fn find(&self, address: A) -> u32 {
        let after = self.starts.partition_point(|start| *start <= address);
        after.checked_sub(1).and_then(|index| self.places.get(index)).copied().unwrap_or(NOBODY)
    }
}

/// Behind the end of a network the one around it goes on.
fn leave<A: Number>(end: A, around: &[(A, u32)], from: &mut impl FnMut(A, u32)) {
    if let Some(next) = end.next() {
        from(next, around.last().map_or(NOBODY, |(_, place)| *place));
    }
}

#[cfg(test)]
mod tests;
