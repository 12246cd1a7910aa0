//! Lists which lookups of the directory return something else after an update.

use std::net::IpAddr;

use super::address::{AddressBytes, to_ip};
use crate::enrich::uid::PodUid;

/// The most addresses, and the most pods, that are listed one by one.
const MAX_EFFECTS: usize = 64;

/// What an update changed. Flows of these addresses and pods should be read once more under their old names first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Addresses with another holder, workload or service; may contain duplicates. At most 64.
    pub addresses: Vec<IpAddr>,
    /// Pods that are new or whose workload has another name. At most 64.
    pub pods: Vec<PodUid>,
    /// More addresses or pods changed than are listed: anything may have.
    pub are_many: bool,
}

impl Effects {
    pub(super) fn address(&mut self, address: &AddressBytes) {
        if self.addresses.len() < MAX_EFFECTS {
            self.addresses.push(to_ip(address));
        } else {
            self.are_many = true;
        }
    }

    pub(super) fn pod(&mut self, uid: PodUid) {
        if self.pods.len() < MAX_EFFECTS {
            self.pods.push(uid);
        } else {
            self.are_many = true;
        }
    }
}
