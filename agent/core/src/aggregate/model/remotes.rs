//! What the edges of flows call the holders of addresses.

use std::collections::{HashMap, HashSet};

use netcause_common::endpoint::Address;

use super::{Edge, Model, Reporter};
use crate::enrich::Workload;

/// Names of remote ends by address: as one local end has them, and as all local ends have them.
#[derive(Debug, Default)]
pub struct Remotes {
    /// `None` where flows have several names for one address.
    names: HashMap<(Option<u64>, Address), Option<Workload>>,
}

impl Remotes {
    /// What flows of a local end call the holder of an address, else what all flows of this node call it. `None` where there is
    /// no such flow, or several names.
    #[must_use]
    pub fn of(&self, local: u64, remote: Address) -> Option<&Workload> {
        let of = |local| self.names.get(&(local, remote));
        of(Some(local)).or_else(|| of(None))?.as_ref()
    }
}

impl Model {
    /// The names of the holders of these addresses, where flows have one.
    #[must_use]
    pub fn remote_names(&self, addresses: &HashSet<Address>) -> Remotes {
        let mut names = HashMap::new();
        for (key, flow) in self.flows.iter().filter(|(key, _)| addresses.contains(&key.remote)) {
            let Some(entry) = flow.edge.and_then(|id| self.edges.get(id)) else { continue };
            let name = remote(entry.edge());
            if name.is_nameless() {
                continue;
            }
            for local in [Some(key.local), None] {
                let known = names.entry((local, key.remote)).or_insert_with(|| Some(name.clone()));
                if known.as_ref().is_some_and(|known| known != name) {
                    *known = None;
                }
            }
        }
        Remotes { names }
    }
}

const fn remote(edge: &Edge) -> &Workload {
    match edge.reporter {
        Reporter::Source => &edge.destination,
        Reporter::Destination => &edge.source,
    }
}
