//! IPv4 neighbours of network namespaces.

use netcause_core::node::neighbours::arp::{Neighbour, parse};
use netcause_core::node::{Failure, Found, Namespace, Namespaces, Reason};

use super::files::parsed;
use super::namespaces::All;

/// Reads the namespace of the agent and those of pods. One of a pod may end meanwhile.
pub(super) fn read(all: &Found<All>) -> Found<Namespaces<Vec<Neighbour>>> {
    let all = all.as_ref().map_err(Clone::clone)?;
    let neighbours = |process: &str| parsed(format!("/proc/{process}/net/arp"), parse);
    let own = neighbours("self")?;
    let mut namespaces = Namespaces { own, pods: Vec::with_capacity(all.pods.len()), left_out: all.left_out };
    for namespace in &all.pods {
        match neighbours(&namespace.process.to_string()) {
            Ok(counters) => namespaces.pods.push(Namespace {
                id: namespace.id,
                cgroups: namespace.cgroups.clone(),
                counters,
            }),
            Err(failure @ Failure { reason: Reason::Malformed, .. }) => return Err(failure),
            Err(Failure { reason: Reason::NotPermitted, .. }) => namespaces.left_out += 1,
            // It has ended, or its process has: then the next pass finds another one.
            Err(_) => {}
        }
    }
    Ok(namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::node::namespaces;

    #[test]
    fn this_kernel_has_the_file() {
        let own = namespaces::Namespace { id: 1, process: std::process::id(), cgroups: vec![7] };
        let gone = namespaces::Namespace { id: 2, process: u32::MAX, cgroups: vec![8] };
        let read = read(&Ok(All { pods: vec![own, gone], left_out: 3 })).unwrap();
        assert_eq!((read.pods.len(), read.left_out, &read.pods[0].cgroups), (1, 3, &vec![7]));
        assert_eq!(read.pods[0].counters.len(), read.own.len());
    }
}
