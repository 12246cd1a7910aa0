//! Tracks which flows may have a new name.

use std::collections::HashSet;
use std::net::IpAddr;

use netcause_common::flow::FlowKey;

use crate::ingest;

/// Addresses and local ends tracked individually; beyond this, every flow counts as changed.
const MAX: usize = 4096;

/// The addresses and local ends whose names may have changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Every name may have changed.
    all: bool,
    remotes: HashSet<IpAddr>,
    locals: HashSet<u64>,
}

impl Changes {
    /// True if no name has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.remotes.is_empty() && self.locals.is_empty()
    }

    /// True if the name of either end of this flow may have changed.
    #[must_use]
    pub fn concern(&self, flow: &FlowKey) -> bool {
        self.concern_local(flow) || self.concern_remote(flow)
    }

    /// True if the name of the local end of this flow may have changed.
    #[must_use]
    pub fn concern_local(&self, flow: &FlowKey) -> bool {
        self.all || self.locals.contains(&flow.local)
    }

    /// True if the name of the remote end of this flow may have changed.
    #[must_use]
    pub fn concern_remote(&self, flow: &FlowKey) -> bool {
        self.all || self.remotes.contains(&ingest::ip(flow.remote))
    }

    /// Marks a remote address as changed.
    pub fn remote(&mut self, address: IpAddr) {
        if self.remotes.len() < MAX {
            self.remotes.insert(address);
        } else {
            self.everything();
        }
    }

    /// Marks a local end as changed.
    pub fn local(&mut self, local: u64) {
        if self.locals.len() < MAX {
            self.locals.insert(local);
        } else {
            self.everything();
        }
    }

    /// Marks every flow as changed.
    pub fn everything(&mut self) {
        *self = Self { all: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use netcause_common::endpoint::Address;

    use super::*;

    #[test]
    fn many_changes_concern_everything() {
        let flow = FlowKey {
            local: 7,
            remote: Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 1])),
            ..FlowKey::default()
        };
        let mut changes = Changes::default();
        assert!(changes.is_empty() && !changes.concern(&flow));
        changes.remote([10, 0, 0, 2].into());
        changes.local(8);
        assert!(!changes.is_empty() && !changes.concern(&flow));
        changes.remote([10, 0, 0, 1].into());
        assert!(changes.concern(&flow));
        let mut changes = Changes::default();
        changes.local(7);
        assert!(changes.concern(&flow));
        let mut changes = Changes::default();
        for number in 0..=MAX {
            changes.local(100 + number as u64);
        }
        assert!(changes.concern(&flow));
    }
}
