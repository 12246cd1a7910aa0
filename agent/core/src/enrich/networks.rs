//! Names networks outside the cluster by longest prefix match.
//!
//! Networks are nested or disjoint, so n of them divide the addresses into at most 2 n + 1 ranges with one name each, and a
//! lookup is one binary search. Memory: 8 bytes a range for IPv4, 20 for IPv6; at the bound 2.5 MiB, and the names.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use super::name::Name;

/// The most networks that can be named.
pub const MAX_NETWORKS: usize = 65_536;

/// The name index of addresses that are in no network.
const NO_NAME: u32 = u32::MAX;

/// Names of networks, found by address.
#[derive(Debug, Default)]
pub struct Networks {
    names: Box<[Name]>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Why a set of named networks is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworksError {
    /// There are more than [`MAX_NETWORKS`].
    #[error("there are more than {MAX_NETWORKS} networks")]
    TooMany,
    /// The same network is named twice.
    #[error("the network {0} was named before")]
    Twice(IpNet),
}

impl Networks {
    /// Indexes these networks. Their addresses may have host bits set.
    ///
    /// # Errors
    ///
    /// When there are too many networks, or one is named twice. The number is the index of the network in question.
    pub fn new(named: &[(IpNet, Name)]) -> Result<Self, (usize, NetworksError)> {
        if named.len() > MAX_NETWORKS {
            return Err((MAX_NETWORKS, NetworksError::TooMany));
        }
        let mut indexes: HashMap<&Name, u32> = HashMap::new();
        let mut names = Vec::new();
        let (mut v4, mut v6, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
        for (index, (network, name)) in named.iter().enumerate() {
            let network = canonical(*network);
            if seen.insert(network, index).is_some() {
                return Err((index, NetworksError::Twice(network)));
            }
            let next = u32::try_from(names.len()).unwrap_or(NO_NAME);
            let name = *indexes.entry(name).or_insert_with(|| {
                names.push(name.clone());
                next
            });
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits(), name)),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits(), name)),
            }
        }
        Ok(Self { names: names.into(), v4: Ranges::new(v4), v6: Ranges::new(v6) })
    }

    /// The name of the smallest network that contains this address. An IPv4-mapped IPv6 address (`::ffff:0:0/96`) counts as
    /// IPv4.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> Option<&Name> {
        let name = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        };
        self.names.get(name as usize)
    }
}

/// The canonical form of a network: without host bits, and as IPv4 if it is within `::ffff:0:0/96`.
#[must_use]
pub fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let (Some(v4), Some(length)) = (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) else {
        return network;
    };
    IpNet::new(v4.into(), length).unwrap_or(network)
}

/// Ranges of addresses: those from `starts[i]` up to the next start have the name of index `names[i]`.
#[derive(Debug, Default)]
struct Ranges<A> {
    starts: Box<[A]>,
    names: Box<[u32]>,
}

/// An address as an integer.
trait Number: Copy + Ord {
    /// The next address; `None` after the last one.
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
    /// Builds the ranges from the first and last address of each network and the index of its name.
    fn new(mut networks: Vec<(A, A, u32)>) -> Self {
        // An outer network comes before the inner ones that begin at the same address.
        networks.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut ranges: Vec<(A, u32)> = Vec::new();
        let mut from = |start: A, name: u32| match ranges.last_mut() {
            Some(last) if last.0 == start => last.1 = name,
            _ => ranges.push((start, name)),
        };
        // The networks that contain the present one, the outermost first: at most one for each prefix length.
        let mut around: Vec<(A, u32)> = Vec::new();
        for (first, last, name) in networks {
            while let Some((end, _)) = around.pop_if(|(end, _)| *end < first) {
                leave(end, &around, &mut from);
            }
            from(first, name);
            around.push((last, name));
        }
        while let Some((end, _)) = around.pop() {
            leave(end, &around, &mut from);
        }
        let (starts, names): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Self { starts: starts.into(), names: names.into() }
    }

    fn find(&self, address: A) -> u32 {
        let after = self.starts.partition_point(|start| *start <= address);
        after.checked_sub(1).and_then(|index| self.names.get(index)).copied().unwrap_or(NO_NAME)
    }
}

/// Behind the end of a network, the network around it continues.
fn leave<A: Number>(end: A, around: &[(A, u32)], from: &mut impl FnMut(A, u32)) {
    if let Some(next) = end.next() {
        from(next, around.last().map_or(NO_NAME, |(_, name)| *name));
    }
}

#[cfg(test)]
mod tests;
