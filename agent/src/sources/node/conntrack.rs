//! How full connection tracking is, and what did not go in: of the agent's network namespace by netlink, which also has the
//! limit; of the others by `/proc/PID/net/stat/nf_conntrack`, since netlink would have to enter them.

use netcause_core::enrich::conntrack;
use netcause_core::node::conntrack::{Table, parse};
use netcause_core::node::{Failure, Found, Namespace, Namespaces, Reason};

use super::files::parsed;
use super::namespaces::All;
use crate::kernel::conntrack::statistics;

/// Reads every namespace. Where others cannot be read, because the kernel was built without the file, they are left out.
pub(super) fn read(all: &Found<All>) -> Found<Namespaces<Table>> {
    let own = statistics().map_err(|failure| because(&failure))?;
    let (pods, mut left_out) = all.as_ref().map_or((&[][..], 0), |all| (&all.pods[..], all.left_out));
    let mut read = Vec::with_capacity(pods.len());
    for namespace in pods {
        match parsed(format!("/proc/{}/net/stat/nf_conntrack", namespace.process), parse) {
            Ok(counters) => {
                read.push(Namespace { id: namespace.id, cgroups: namespace.cgroups.clone(), counters });
            }
            Err(failure) if failure.reason == Reason::Malformed => return Err(failure),
            // It has ended, or its process has.
            Err(_) => {}
        }
    }
    if read.is_empty() {
        left_out += pods.len() as u64;
    }
    Ok(Namespaces { own, pods: read, left_out })
}

fn because(failure: &conntrack::Failure) -> Failure {
    let reason = match failure {
        conntrack::Failure::Forbidden => Reason::NotPermitted,
        conntrack::Failure::Unsupported(_) => Reason::KernelFeatureMissing,
        conntrack::Failure::Malformed => Reason::Malformed,
        conntrack::Failure::Timeout | conntrack::Failure::Other(_) | conntrack::Failure::Lost => {
            Reason::Other
        }
    };
    Failure::new(reason, failure.to_string())
}
