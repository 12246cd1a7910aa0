//! What an update changes of what was answered before.

use std::net::IpAddr;

use super::address::{Octets, address};
use crate::enrich::uid::PodUid;

/// Addresses, and pods, that are told one by one.
const MAX_EFFECTS: usize = 64;

/// Whose names are others now: flows of these are better read once more before names are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Addresses with another holder, name or service; some may stand here twice.
    pub addresses: Vec<IpAddr>,
    /// Pods that are called otherwise or are known now.
    pub pods: Vec<PodUid>,
    /// There are more of either than are told one by one.
    pub are_many: bool,
}

impl Effects {
    pub(super) fn address(&mut self, octets: &Octets) {
        if self.addresses.len() < MAX_EFFECTS {
            self.addresses.push(address(octets));
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
