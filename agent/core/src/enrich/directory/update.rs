//! Applies updates of sources to the directory, and removes what has expired.

use super::Directory;
use super::address::{AddressBytes, to_bytes};
use super::backends::Reached;
use super::effects::Effects;
use super::holdings::{DELAY, Ending, HolderId, Moment};
use super::pods::moment;
use super::slices::SliceLimits;
use crate::enrich::name::Name;
use crate::enrich::objects::{Change, EndpointSlice, Kind, Node, Owner, Seconds, Service, Source, Update};

impl Directory {
    /// Applies an update of a source at this time, and returns whose names it changed. Objects beyond [`super::Limits`] are
    /// counted as dropped.
    pub fn apply(&mut self, update: &Update, now: Seconds) -> Effects {
        self.expire(now);
        let (source, now) = (update.source, self.now);
        let mut effects = Effects::default();
        self.holdings.report();
        match &update.change {
            Change::Init(kind) => self.begin_list(source, *kind),
            Change::InitDone(kind) => self.end_list(source, *kind, now, &mut effects),
            Change::ApplyPod(pod) => self.upsert_pod(source, pod, now, &mut effects),
            Change::ApplyService(service) => self.upsert_service(source, service, &mut effects),
            Change::ApplyEndpointSlice(slice) => self.upsert_slice(source, slice, now, &mut effects),
            Change::ApplyNode(node) => self.upsert_node(source, node, now, &mut effects),
            Change::Delete(kind, name) => self.delete(source, *kind, name, now, &mut effects),
            Change::Owner { namespace, of, is } => self.set_owner(namespace, of, is, &mut effects),
        }
        effects
    }

    /// Removes deleted pods and ended holdings after [`super::Limits::keep_seconds`]. To be called every few seconds;
    /// [`Directory::apply`] does it too.
    pub fn expire(&mut self, now: Seconds) {
        self.now = self.now.max(moment(now));
        let before = self.now.saturating_sub(self.limits.keep());
        while self.forget_pod(before, false) {}
        while let Some(holding) = self.holdings.expired(before, self.limits.past) {
            self.forget_holding(holding);
        }
        if self.now.saturating_sub(self.names_swept) >= self.limits.keep() {
            self.names_swept = self.now;
            self.names.forget();
        }
    }

    fn begin_list(&mut self, source: Source, kind: Kind) {
        self.lists.begin(source, kind);
        match kind {
            Kind::Pod => self.pods.values_mut().for_each(|pod| pod.provenance.begin_list(source)),
            Kind::Service => self.services.begin_list(source),
            Kind::EndpointSlice => self.slices.begin_list(source),
            Kind::Node => self.nodes.values_mut().for_each(|node| node.provenance.begin_list(source)),
        }
    }

    fn end_list(&mut self, source: Source, kind: Kind, now: Moment, effects: &mut Effects) {
        if !self.lists.end(source, kind) {
            return;
        }
        match kind {
            Kind::Pod => {
                for id in self.stale_pods(source) {
                    self.remove_pod_source(source, id, Ending::Inferred, now, effects);
                }
            }
            Kind::Service => {
                for id in self.services.stale(source) {
                    self.services.remove_source(source, id, effects);
                }
            }
            Kind::EndpointSlice => {
                for id in self.slices.stale(source) {
                    self.remove_slice_source(source, id, effects);
                }
            }
            Kind::Node => {
                for id in self.nodes.stale(source) {
                    self.remove_node_source(source, id, Ending::Inferred, now, effects);
                }
            }
        }
    }

    fn delete(&mut self, source: Source, kind: Kind, name: &str, now: Moment, effects: &mut Effects) {
        let (namespace, rest) = name.split_once('/').unwrap_or(("", name));
        match kind {
            Kind::Pod => {
                if let Some(id) = self.uid(name).and_then(|uid| self.pods.find(&uid)) {
                    self.remove_pod_source(source, id, Ending::Observed, now, effects);
                }
            }
            Kind::Service => {
                if let Some(id) = self.services.find(&self.names.name(namespace, rest)) {
                    self.services.remove_source(source, id, effects);
                }
            }
            Kind::EndpointSlice => {
                if let Some(id) = self.slices.find(namespace, rest) {
                    self.remove_slice_source(source, id, effects);
                }
            }
            Kind::Node => {
                if let Some(id) = self.nodes.find(&name.into()) {
                    self.remove_node_source(source, id, Ending::Observed, now, effects);
                }
            }
        }
    }

    fn set_owner(&mut self, namespace: &str, of: &Owner, is: &Owner, effects: &mut Effects) {
        if let Some(workload) =
            self.workloads.set_owner(namespace, of, is, &mut self.names, self.limits.owners)
        {
            self.mark_renamed(workload, effects);
        }
    }

    fn upsert_service(&mut self, source: Source, service: &Service, effects: &mut Effects) {
        let name = self.names.name(&service.namespace, &service.name);
        if !self.services.upsert(source, name, service, self.limits.services, effects) {
            self.dropped.services += 1;
        }
    }

    fn upsert_slice(&mut self, source: Source, slice: &EndpointSlice, now: Moment, effects: &mut Effects) {
        let service = self.names.name(&slice.namespace, &slice.service);
        let limits = SliceLimits { slices: self.limits.slices, endpoints: self.limits.endpoints };
        let known = self.slices.find(&slice.namespace, &slice.name);
        let old = known.and_then(|id| self.slices.service(id)).cloned();
        let before = self.reached_by([Some(service.clone()), old.filter(|old| *old != service)]);
        self.slices.now = now;
        let fingerprints = &self.fingerprints;
        let uid = |text: &str| fingerprints.uid(text);
        let rejected = self.slices.upsert(source, slice, service, uid, limits, effects);
        self.dropped.slices += u64::try_from(rejected.slices).unwrap_or_default();
        self.dropped.endpoints += u64::try_from(rejected.endpoints).unwrap_or_default();
        self.mark_moved(before, effects);
    }

    fn remove_slice_source(&mut self, source: Source, id: u32, effects: &mut Effects) {
        let before = self.reached_by([self.slices.service(id).cloned(), None]);
        self.slices.remove_source(source, id, effects);
        self.mark_moved(before, effects);
    }

    /// What the clients of these services reach.
    fn reached_by(&self, services: [Option<Name>; 2]) -> Vec<(Name, Reached)> {
        services.into_iter().flatten().map(|service| (service.clone(), self.reached(&service))).collect()
    }

    /// Adds those of these services to the effects whose clients reached something else before.
    fn mark_moved(&self, before: Vec<(Name, Reached)>, effects: &mut Effects) {
        for (service, reached) in before {
            if self.reached(&service) != reached {
                self.mark_service(&service, effects);
            }
        }
    }

    fn upsert_node(&mut self, source: Source, node: &Node, now: Moment, effects: &mut Effects) {
        let known = self.nodes.find(&(&*node.name).into()).and_then(|id| self.nodes.get(id));
        if known.is_none_or(|known| known.provenance.sources.is_empty()) {
            if self.listed_nodes >= self.limits.nodes {
                self.dropped.nodes += 1;
                return;
            }
            self.listed_nodes += 1;
        }
        let id = self.nodes.named(&node.name);
        let addresses: Vec<AddressBytes> = node.addresses.iter().map(|address| to_bytes(*address)).collect();
        let Some(known) = self.nodes.get_mut(id) else { return };
        known.provenance.add(source);
        let is_moved = known.zone.as_deref() != node.zone.as_deref();
        if is_moved {
            known.zone = node.zone.as_deref().map(Into::into);
        }
        let first = known.holdings;
        if is_moved {
            addresses.iter().for_each(|address| effects.address(address));
        }
        self.release_addresses(source, first, &addresses, Ending::Observed, now, effects);
        for address in &addresses {
            // The API has no start time of it. If the address had another holder, the node got it a moment ago.
            let since = if self.holdings.is_known(address) { now.saturating_sub(DELAY) } else { 0 };
            self.add_address(source, HolderId::Node(id), address, since, now, effects);
        }
    }

    fn remove_node_source(
        &mut self,
        source: Source,
        id: u32,
        ending: Ending,
        now: Moment,
        effects: &mut Effects,
    ) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if !node.provenance.sources.has(source) {
            return;
        }
        if node.provenance.remove(source) {
            self.listed_nodes -= 1;
        }
        let first = node.holdings;
        self.release_addresses(source, first, &[], ending, now, effects);
        self.nodes.remove_if_unused(id);
    }
}
