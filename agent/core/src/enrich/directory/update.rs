//! What sources tell, taken in.

use super::Directory;
use super::address::{Octets, octets};
use super::effects::Effects;
use super::holdings::{DELAY, Ending, HolderId, Moment};
use super::pods::moment;
use super::slices::Room;
use crate::enrich::objects::{Change, EndpointSlice, Kind, Node, Owner, Seconds, Service, Source, Update};

impl Directory {
    /// Takes in what a source tells, and says whose names are others now.
    pub fn apply(&mut self, update: &Update, now: Seconds) -> Effects {
        self.expire(now);
        let (source, now) = (update.source, self.now);
        let mut effects = Effects::default();
        match &update.change {
            Change::ListBegins(kind) => self.list_begins(source, *kind),
            Change::ListEnds(kind) => self.list_ends(source, *kind, now, &mut effects),
            Change::Pod(pod) => self.pod_told(source, pod, now, &mut effects),
            Change::Service(service) => self.service_told(source, service, &mut effects),
            Change::EndpointSlice(slice) => self.slice_told(source, slice, &mut effects),
            Change::Node(node) => self.node_told(source, node, now, &mut effects),
            Change::Gone(kind, name) => self.gone(source, *kind, name, now, &mut effects),
            Change::Owner { namespace, of, is } => self.owned(namespace, of, is, &mut effects),
        }
        effects
    }

    /// Forgets what is over for long enough. To be called every few seconds; [`Directory::apply`] does it too.
    pub fn expire(&mut self, now: Seconds) {
        self.now = self.now.max(moment(now));
        let before = self.now.saturating_sub(self.limits.keep());
        while self.forget_pod(before, false) {}
        while let Some(holding) = self.holdings.expired(before, self.limits.past) {
            self.forget_holding(holding);
        }
        if self.now.saturating_sub(self.names_forgotten) >= self.limits.keep() {
            self.names_forgotten = self.now;
            self.names.forget();
        }
    }

    fn list_begins(&mut self, source: Source, kind: Kind) {
        self.lists.begin(source, kind);
        match kind {
            Kind::Pod => self.pods.values_mut().for_each(|pod| pod.told.list_begins(source)),
            Kind::Service => self.services.list_begins(source),
            Kind::EndpointSlice => self.slices.list_begins(source),
            Kind::Node => self.nodes.values_mut().for_each(|node| node.told.list_begins(source)),
        }
    }

    fn list_ends(&mut self, source: Source, kind: Kind, now: Moment, effects: &mut Effects) {
        if !self.lists.end(source, kind) {
            return;
        }
        match kind {
            Kind::Pod => {
                for id in self.missed_pods(source) {
                    self.pod_gone(source, id, Ending::Found, now, effects);
                }
            }
            Kind::Service => {
                for id in self.services.missed(source) {
                    self.services.gone(source, id, effects);
                }
            }
            Kind::EndpointSlice => {
                for id in self.slices.missed(source) {
                    self.slices.gone(source, id, effects);
                }
            }
            Kind::Node => {
                for id in self.nodes.missed(source) {
                    self.node_gone(source, id, Ending::Found, now, effects);
                }
            }
        }
    }

    fn gone(&mut self, source: Source, kind: Kind, name: &str, now: Moment, effects: &mut Effects) {
        let (namespace, rest) = name.split_once('/').unwrap_or(("", name));
        match kind {
            Kind::Pod => {
                if let Some(id) = self.uid(name).and_then(|uid| self.pods.find(&uid)) {
                    self.pod_gone(source, id, Ending::Told, now, effects);
                }
            }
            Kind::Service => {
                if let Some(id) = self.services.find(&self.names.name(namespace, rest)) {
                    self.services.gone(source, id, effects);
                }
            }
            Kind::EndpointSlice => {
                if let Some(id) = self.slices.find(namespace, rest) {
                    self.slices.gone(source, id, effects);
                }
            }
            Kind::Node => {
                if let Some(id) = self.nodes.find(&name.into()) {
                    self.node_gone(source, id, Ending::Told, now, effects);
                }
            }
        }
    }

    fn owned(&mut self, namespace: &str, of: &Owner, is: &Owner, effects: &mut Effects) {
        if let Some(workload) = self.workloads.owned(namespace, of, is, &mut self.names, self.limits.owners) {
            self.renamed(workload, effects);
        }
    }

    fn service_told(&mut self, source: Source, service: &Service, effects: &mut Effects) {
        let name = self.names.name(&service.namespace, &service.name);
        if !self.services.tell(source, name, service, self.limits.services, effects) {
            self.dropped.services += 1;
        }
    }

    fn slice_told(&mut self, source: Source, slice: &EndpointSlice, effects: &mut Effects) {
        let service = self.names.name(&slice.namespace, &slice.service);
        let room = Room { slices: self.limits.slices, endpoints: self.limits.endpoints };
        let fingerprints = &self.fingerprints;
        let uid = |text: &str| fingerprints.uid(text);
        let refused = self.slices.tell(source, slice, service, uid, room, effects);
        self.dropped.slices += u64::try_from(refused.slices).unwrap_or_default();
        self.dropped.endpoints += u64::try_from(refused.endpoints).unwrap_or_default();
    }

    fn node_told(&mut self, source: Source, node: &Node, now: Moment, effects: &mut Effects) {
        let known = self.nodes.find(&(&*node.name).into()).and_then(|id| self.nodes.get(id));
        if known.is_none_or(|known| known.told.by.is_empty()) {
            if self.nodes_told >= self.limits.nodes {
                self.dropped.nodes += 1;
                return;
            }
            self.nodes_told += 1;
        }
        let id = self.nodes.named(&node.name);
        let addresses: Vec<Octets> = node.addresses.iter().map(|address| octets(*address)).collect();
        let Some(known) = self.nodes.get_mut(id) else { return };
        known.told.tell(source);
        let is_moved = known.zone.as_deref() != node.zone.as_deref();
        if is_moved {
            known.zone = node.zone.as_deref().map(Into::into);
        }
        let first = known.holdings;
        if is_moved {
            addresses.iter().for_each(|address| effects.address(address));
        }
        self.let_go(source, first, &addresses, Ending::Told, now, effects);
        for address in &addresses {
            // Nobody notes since when; if it was another's, then since a moment ago.
            let since = if self.holdings.is_known(address) { now.saturating_sub(DELAY) } else { 0 };
            self.holds(source, HolderId::Node(id), address, since, now, effects);
        }
    }

    fn node_gone(&mut self, source: Source, id: u32, ending: Ending, now: Moment, effects: &mut Effects) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if !node.told.by.has(source) {
            return;
        }
        if node.told.gone(source) {
            self.nodes_told -= 1;
        }
        let first = node.holdings;
        self.let_go(source, first, &[], ending, now, effects);
        self.nodes.tidy(id);
    }
}
