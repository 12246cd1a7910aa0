//! The workloads behind services.

use super::Directory;
use super::address::AddressBytes;
use super::effects::Effects;
use super::holdings::HolderId;
use super::slices::EndpointRecord;
use crate::enrich::name::Name;
use crate::enrich::objects::Seconds;

/// What the edges of a service's clients are named after.
#[derive(Debug, PartialEq)]
pub(super) enum Reached {
    /// No workload, or not all are known.
    Unknown,
    One(Name),
    Several,
}

impl Directory {
    /// The different workloads behind a service that are known, sorted. Allocates.
    #[must_use]
    pub fn backends(&self, service: &Name) -> Vec<&Name> {
        let mut names: Vec<_> =
            self.slices.behind(service).filter_map(|endpoint| self.behind(endpoint)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The workload behind a service, if all its endpoints are known to belong to the same one.
    #[must_use]
    pub fn only_backend(&self, service: &Name) -> Option<&Name> {
        let mut names = self.slices.behind(service).map(|endpoint| self.behind(endpoint));
        let first = names.next()??;
        names.all(|name| name == Some(first)).then_some(first)
    }

    /// When the endpoints of a service changed last; `None` if they are as when they were first reported.
    #[must_use]
    pub fn leads_since(&self, service: &Name) -> Option<Seconds> {
        self.slices.changed(service).map(Seconds::from)
    }

    /// What the clients of a service reach.
    pub(super) fn reached(&self, service: &Name) -> Reached {
        let mut all = self.slices.behind(service).map(|endpoint| self.behind(endpoint));
        let mut known = all.by_ref().flatten();
        let Some(first) = known.next() else { return Reached::Unknown };
        if known.any(|name| name != first) {
            return Reached::Several;
        }
        self.only_backend(service).map_or(Reached::Unknown, |only| Reached::One(only.clone()))
    }

    /// Adds the addresses of a service to the effects: its clients reach another workload.
    pub(super) fn mark_service(&self, service: &Name, effects: &mut Effects) {
        let Some(service) = self.services.find(service).and_then(|id| self.services.get(id)) else { return };
        service.addresses().iter().for_each(|address| effects.address(address));
        // Its node port is at the address of every node.
        effects.are_many |= service.has_node_ports();
    }

    /// The same for the services that have this address among their endpoints.
    pub(super) fn mark_services_of(&self, address: &AddressBytes, effects: &mut Effects) {
        for service in self.slices.services_of(address) {
            self.mark_service(service, effects);
        }
    }

    /// The workload of an endpoint: that of its pod, or of the pod that holds its address.
    pub(super) fn behind(&self, endpoint: &EndpointRecord) -> Option<&Name> {
        let id = match &endpoint.pod {
            Some(uid) => self.pods.find(uid)?,
            None => match self.holdings.at(&endpoint.address, self.now, self.now)?.holder() {
                HolderId::Pod(id) => id,
                HolderId::Node(_) => return None,
            },
        };
        Some(&self.workloads.get(self.pods.get(id)?.workload)?.name)
    }
}
