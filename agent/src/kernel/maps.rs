//! The maps of the eBPF object, by name.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::Map;

/// Entries and capacity of a map.
#[derive(Clone, Copy, Debug)]
pub struct Fullness {
    /// The map's name in metrics and settings.
    pub map: &'static str,
    /// Current number of entries.
    pub entries: u64,
    /// Capacity in entries.
    pub limit: u64,
}

/// A map, to use while the object keeps it.
pub(super) fn table<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).with_context(|| format!("the eBPF object has no map {name}"))
}

/// A map, to keep.
pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}"))
}
