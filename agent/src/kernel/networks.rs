//! Networks in which the kernel side distinguishes clients by address.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use ipnet::IpNet;
use netcause_common::limits;

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
    result
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
