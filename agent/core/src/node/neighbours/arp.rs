//! IPv4 neighbours of a network namespace: `/proc/PID/net/arp` (net/ipv4/arp.c). Any process in the namespace will do. There is no
//! such file of IPv6: neighbours of both come by rtnetlink, from inside of a namespace alone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::LinkAddresses;
use crate::enrich::Workload;
use crate::node::growth::Width;
use crate::node::namespaces::{ByOwner, Namespaces, owner};
use crate::node::text::{Malformed, lines, number, words};
use crate::node::{Namespace, Owner};

/// Words of [`Entries`], the values of the label `state`.
pub const STATES: [&str; 2] = ["answered", "unanswered"];
/// Neighbours with a link address, and those without: that have not answered, or not yet.
pub type Entries = [u64; 2];

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its link address; `None` when it has not answered.
    pub link_address: Option<Vec<u8>>,
}

/// Parses the file.
///
/// # Errors
///
/// When it is not what the kernel writes.
pub fn parse(text: &[u8]) -> Result<Vec<Neighbour>, Malformed> {
    // The first line says what the columns are.
    lines(text).skip(1).map(|line| neighbour(line).ok_or(Malformed("arp: not a neighbour"))).collect()
}

fn neighbour(line: &[u8]) -> Option<Neighbour> {
    /// `ATF_COM`, include/uapi/linux/if_arp.h.
    const COMPLETE: u64 = 2;
    let mut words = words(line);
    let address = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let _kind = words.next()?;
    let flags = number(words.next()?.strip_prefix(b"0x")?, 16)?;
    let link_address = words.next()?.to_vec();
    Some(Neighbour { address, link_address: (flags & COMPLETE != 0).then_some(link_address) })
}

/// What is kept of them.
#[derive(Debug)]
pub(in crate::node) struct State {
    known: LinkAddresses<u64>,
    /// Changes of link addresses in each namespace that exists, by its number.
    changes: HashMap<u64, u64>,
    pub(in crate::node) changed: ByOwner<1>,
    pub(in crate::node) entries: Vec<(Owner, Entries)>,
    pub(in crate::node) left_out: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            known: LinkAddresses::default(),
            changes: HashMap::new(),
            changed: ByOwner::new(Width::Bits64),
            entries: Vec::new(),
            left_out: 0,
        }
    }
}

impl State {
    /// Takes the neighbours of every namespace. Changes in the node's own one are counted elsewhere.
    pub(in crate::node) fn read(
        &mut self,
        namespaces: &Namespaces<Vec<Neighbour>>,
        name: impl Fn(u64) -> Workload,
    ) {
        let Namespaces { own, pods, left_out } = namespaces;
        let with_any = pods.iter().filter(|namespace| !namespace.counters.is_empty());
        let of_pods =
            with_any.map(|namespace| (Some(owner(&namespace.cgroups, &name)), entries(&namespace.counters)));
        self.entries = [(None, entries(own))].into_iter().chain(of_pods).collect();

        let neighbours = pods.iter().flat_map(|namespace| {
            namespace.counters.iter().filter_map(|neighbour| {
                let link_address = neighbour.link_address.clone()?;
                Some((namespace.id, IpAddr::from(neighbour.address), link_address))
            })
        });
        let (moved, left_out_neighbours) = self.known.read(neighbours);
        self.left_out = left_out_neighbours;
        for moved in moved {
            *self.changes.entry(moved.place).or_default() += 1;
        }
        let pods: Vec<_> = pods
            .iter()
            .map(|Namespace { id, cgroups, .. }| Namespace {
                id: *id,
                cgroups: cgroups.clone(),
                counters: self.changes.get(id).copied().unwrap_or_default(),
            })
            .collect();
        self.changes.retain(|id, _| pods.iter().any(|namespace| namespace.id == *id));
        self.changed.read(&Namespaces { own: 0, pods, left_out: *left_out }, |changes| [*changes], name);
    }
}

fn entries(neighbours: &[Neighbour]) -> Entries {
    let answered = neighbours.iter().filter(|neighbour| neighbour.link_address.is_some()).count() as u64;
    [answered, neighbours.len() as u64 - answered]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
10.77.0.3        0x1         0x2         02:77:00:00:00:03     *        eth0
10.77.0.9        0x1         0x0         00:00:00:00:00:00     *        eth0
";

    #[test]
    fn neighbours_without_an_answer_have_no_link_address() {
        let found = parse(TEXT.as_bytes()).unwrap();
        assert_eq!(found[0].link_address.as_deref(), Some(&b"02:77:00:00:00:03"[..]));
        assert_eq!((found[1].address, &found[1].link_address), ([10, 77, 0, 9].into(), &None));
        assert_eq!(entries(&found), [1, 1]);
        assert_eq!(parse(b"IP address\n"), Ok(Vec::new()));
        for wrong in ["x 0x1 0x2 a * eth0", "10.0.0.1 0x1 2 a * eth0", "10.0.0.1 0x1 0x2"] {
            assert!(parse(format!("IP\n{wrong}\n").as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn changes_count_for_the_workload_that_sees_them() {
        let neighbour = |link: &str| Neighbour {
            address: [10, 0, 0, 1].into(),
            link_address: Some(link.as_bytes().to_vec()),
        };
        let mut state = State::default();
        let mut read = |links: &[&str]| {
            let pod = |(id, link): (u64, &&str)| Namespace {
                id,
                cgroups: vec![id],
                counters: vec![neighbour(link)],
            };
            let pods = (1..).zip(links).map(pod).collect();
            let all = Namespaces { own: Vec::new(), pods, left_out: 0 };
            state.read(&all, |cgroup| Workload::plain(if cgroup == 1 { "shop" } else { "cart" }));
            let rows = state.changed.rows.rows();
            rows.map(|(owner, counts)| (owner.clone(), counts.total[0])).collect::<Vec<_>>()
        };
        let [shop, cart] = ["shop", "cart"].map(|name| Some(Workload::plain(name)));
        read(&["a", "b"]);
        // Each pod has neighbours of its own.
        read(&["c", "b"]);
        assert_eq!(read(&["a", "b"]), [(None, 0), (cart.clone(), 0), (shop.clone(), 2)]);
        // What pods that have ended saw stays.
        read(&[]);
        assert_eq!(read(&["a"]), [(None, 0), (cart, 0), (shop, 2)]);
        assert_eq!(state.entries, [(None, [0, 0]), (Some(Workload::plain("shop")), [1, 0])]);
    }
}
