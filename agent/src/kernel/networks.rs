//! Networks whose clients the kernel side tells apart.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use ipnet::IpNet;
use netcause_common::limits;

use super::load::table;
use super::tables::Kernel;
use netcause_core::enrich::networks::{MAX_NETWORKS, canonical};

/// Room for the configured and the named ones. The kernel takes memory for those that are there alone
/// (`BPF_F_NO_PREALLOC`).
#[expect(clippy::cast_possible_truncation, reason = "a constant, far below")]
pub(super) const ROOM: u32 = limits::NETWORKS + MAX_NETWORKS as u32;

impl Kernel {
    /// Has the clients in these networks told apart from now on, beside the configured ones, and those in networks that
    /// have no name any more no longer. What a connection counts for does not change while it lives.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; the others are told apart all the same.
    pub fn set_named_networks(&mut self, named: &[IpNet]) -> Result<()> {
        let (ebpf, options) = self.networks();
        let set = |networks: &[IpNet]| networks.iter().copied().map(canonical).collect::<HashSet<_>>();
        let (known, before, now) = (set(&options.known_networks), set(&options.named_networks), set(named));
        named.clone_into(&mut options.named_networks);
        let mut result = Ok(());
        for gone in before.difference(&now).filter(|network| !known.contains(network)) {
            // One that is not there is gone.
            let _ = remove(ebpf, gone);
        }
        for new in now.difference(&before).filter(|network| !known.contains(network)) {
            let inserted = insert(ebpf, new).with_context(|| format!("telling clients in {new} apart"));
            result = result.and(inserted);
        }
        result
    }
}

/// Has the clients in a network told apart.
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
