//! Networks in which the kernel side distinguishes clients by address.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie};
use ipnet::IpNet;
use netcause_common::limits;
use netcause_common::networks::{ALL_KNOWN, FIRST_BYTES, IN_TRIE, NONE_KNOWN};

use super::maps::table;
use super::options::Options;
use netcause_core::enrich::networks::{MAX_NETWORKS, canonical};

/// Capacity of each map of networks: configured and named ones. Memory is allocated per entry (`BPF_F_NO_PREALLOC`).
#[expect(clippy::cast_possible_truncation, reason = "a constant far below u32::MAX")]
pub(super) const MAX_ENTRIES: u32 = limits::NETWORKS + MAX_NETWORKS as u32;

/// Replaces the named networks whose clients are distinguished, besides the configured ones.
pub(super) fn replace_named(ebpf: &mut Ebpf, options: &mut Options, named: &[IpNet]) -> Result<()> {
    let set = |networks: &[IpNet]| networks.iter().copied().map(canonical).collect::<HashSet<_>>();
    let (known, before, now) = (set(&options.known_networks), set(&options.named_networks), set(named));
    named.clone_into(&mut options.named_networks);
    let mut result = Ok(());
    for gone in before.difference(&now).filter(|network| !known.contains(network)) {
        // It may be missing, if it could not be inserted.
        let _ = remove(ebpf, gone);
    }
    for new in now.difference(&before).filter(|network| !known.contains(network)) {
        let inserted = insert(ebpf, new).with_context(|| format!("cannot insert the network {new}"));
        result = result.and(inserted);
    }
    result.and(set_first_bytes(ebpf, options))
}

/// Fills the table of first bytes.
pub(super) fn set_first_bytes(ebpf: &mut Ebpf, options: &Options) -> Result<()> {
    let mut table: Array<_, u8> = table(ebpf, "NETWORKS_V4_FIRST")?.try_into()?;
    let bytes = first_bytes(options.known_networks.iter().chain(&options.named_networks));
    for (index, says) in (0..).zip(bytes) {
        table.set(index, says, 0)?;
    }
    Ok(())
}

/// What each first byte of an IPv4 address says of these networks.
fn first_bytes<'a>(networks: impl Iterator<Item = &'a IpNet>) -> [u8; FIRST_BYTES as usize] {
    let mut bytes = [NONE_KNOWN; FIRST_BYTES as usize];
    for network in networks {
        let IpNet::V4(network) = canonical(*network) else { continue };
        let [first, ..] = network.network().octets();
        let [last, ..] = network.broadcast().octets();
        let is_whole = network.prefix_len() <= 8;
        for says in &mut bytes[usize::from(first)..=usize::from(last)] {
            if is_whole {
                *says = ALL_KNOWN;
            } else if *says != ALL_KNOWN {
                *says = IN_TRIE;
            }
        }
    }
    bytes
}

/// Inserts a network into the map of its address family.
pub(super) fn insert(ebpf: &mut Ebpf, network: &IpNet) -> Result<()> {
    let network = canonical(*network);
    let length = network.prefix_len().into();
    match network.network() {
        IpAddr::V4(address) => {
            let mut networks: LpmTrie<_, [u8; 4], u8> = table(ebpf, "NETWORKS_V4")?.try_into()?;
            networks.insert(&Key::new(length, address.octets()), 1, 0)?;
        }
        IpAddr::V6(address) => {
            let mut networks: LpmTrie<_, [u8; 16], u8> = table(ebpf, "NETWORKS_V6")?.try_into()?;
            networks.insert(&Key::new(length, address.octets()), 1, 0)?;
        }
    }
    Ok(())
}

fn remove(ebpf: &mut Ebpf, network: &IpNet) -> Result<()> {
    let length = network.prefix_len().into();
    match network.network() {
        IpAddr::V4(address) => {
            let mut networks: LpmTrie<_, [u8; 4], u8> = table(ebpf, "NETWORKS_V4")?.try_into()?;
            networks.remove(&Key::new(length, address.octets()))?;
        }
        IpAddr::V6(address) => {
            let mut networks: LpmTrie<_, [u8; 16], u8> = table(ebpf, "NETWORKS_V6")?.try_into()?;
            networks.remove(&Key::new(length, address.octets()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn first_bytes_say_what_the_networks_do(
            networks in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..6),
            address in any::<u32>(),
            is_near in any::<bool>(),
        ) {
            let networks: Vec<IpNet> =
                networks.into_iter().map(|(at, length)| IpNet::new(IpAddr::V4(at.into()), length).unwrap()).collect();
            // Addresses of known networks are rare otherwise.
            let address = match networks.first() {
                Some(IpNet::V4(network)) if is_near => network.addr(),
                _ => address.into(),
            };
            let is_known = networks.iter().any(|network| network.contains(&IpAddr::V4(address)));
            match first_bytes(networks.iter())[usize::from(address.octets()[0])] {
                ALL_KNOWN => prop_assert!(is_known),
                NONE_KNOWN => prop_assert!(!is_known),
                says => prop_assert_eq!(says, IN_TRIE),
            }
        }
    }

    #[test]
    fn private_networks_need_no_trie_where_the_first_byte_says_it() {
        let networks: Vec<IpNet> = ["10.0.0.0/8", "172.16.0.0/12", "::ffff:192.168.0.0/112", "fd00::/8"]
            .map(|text| text.parse().unwrap())
            .into();
        let bytes = first_bytes(networks.iter());
        assert_eq!(
            [10, 172, 192, 253, 11].map(|first: usize| bytes[first]),
            [ALL_KNOWN, IN_TRIE, IN_TRIE, NONE_KNOWN, NONE_KNOWN]
        );
        let all = first_bytes(["0.0.0.0/0".parse().unwrap()].iter());
        assert!(all.iter().all(|says| *says == ALL_KNOWN));
    }
}
