//! Applies updates of pods: their workload, node and addresses.

use super::Directory;
use super::address::{AddressBytes, to_bytes};
use super::effects::Effects;
use super::holdings::{DELAY, Ending, HolderId, Holding, Moment, SKEW};
use super::provenance::{Provenance, SourceSet};
use super::table::{Keyed, NONE};
use crate::enrich::objects::{Pod, Source};
use crate::enrich::uid::PodUid;

/// A pod as the directory stores it.
#[derive(Debug)]
pub struct PodRecord {
    /// `metadata.uid`.
    pub uid: PodUid,
    /// Whether it is also found by the uid that a static pod has at its kubelet.
    has_static_uid: bool,
    /// Whether it uses its node's network and addresses.
    pub is_host_network: bool,
    /// The sources that list it.
    pub provenance: Provenance,
    /// The sources that say that all its containers have ended.
    ended: SourceSet,
    /// When a source sent it last; 0 before that.
    last_update: Moment,
    /// Its workload, and its neighbours in the list of that workload's pods; each an id or [`NONE`].
    pub workload: u32,
    before: u32,
    /// The next pod of the workload.
    pub after: u32,
    /// The id of its node, or [`NONE`].
    pub node: u32,
    /// The first of its holdings, or [`NONE`].
    pub holdings: u32,
    /// When the last source stopped listing it; 0 while one does.
    pub gone: Moment,
}

impl Keyed for PodRecord {
    type Key = PodUid;

    fn key(&self) -> &PodUid {
        &self.uid
    }
}

impl Directory {
    /// Parses a uid. A text that is neither a UUID nor a hash is replaced by its fingerprint.
    pub(super) fn uid(&self, text: &str) -> Option<PodUid> {
        self.fingerprints.uid(text)
    }

    /// Adds a pod or changes it.
    pub(super) fn upsert_pod(&mut self, source: Source, pod: &Pod, now: Moment, effects: &mut Effects) {
        let Some(uid) = self.uid(&pod.uid) else { return };
        let Some(id) = self.pods.find(&uid).or_else(|| self.new_pod(uid)) else {
            self.dropped.pods += 1;
            return;
        };
        self.set_workload(id, pod, effects);
        self.set_node(id, pod.node.as_deref());
        self.set_static_uid(id, pod.static_uid.as_deref());
        let Some(record) = self.pods.get_mut(id) else { return };
        if record.gone != 0 {
            record.gone = 0;
            self.gone_pods -= 1;
        }
        record.provenance.add(source);
        record.is_host_network = pod.is_host_network;
        record.ended.set(source, pod.has_ended || pod.until.is_some());
        let has_ended = !record.ended.is_empty();
        let last = std::mem::replace(&mut record.last_update, now);
        let since = earliest_start(pod, last);
        let had_none = record.holdings == NONE;
        let (until, ending) = match pod.until {
            Some(until) => (moment(until).saturating_add(SKEW).min(now), Ending::Recorded),
            None => (now, Ending::Observed),
        };
        // A pod that had ended before its addresses were reported held them for a while all the same.
        let is_recent = until.saturating_add(self.limits.keep()) > now && (pod.until.is_some() || last != 0);
        if !has_ended || (had_none && is_recent) {
            self.set_addresses(source, id, pod, since, now, effects);
        }
        if has_ended {
            self.end_holdings(id, until, ending, now, effects);
        }
    }

    /// A source no longer lists the pod; `ending` says how that became known.
    pub(super) fn remove_pod_source(
        &mut self,
        source: Source,
        id: u32,
        ending: Ending,
        now: Moment,
        effects: &mut Effects,
    ) {
        let Some(record) = self.pods.get_mut(id) else { return };
        if !record.provenance.sources.has(source) {
            return;
        }
        record.ended.set(source, false);
        if record.provenance.remove(source) {
            record.gone = now.max(1);
            self.gone_pods += 1;
            self.gone.push_back((record.gone, id));
        }
        let first = record.holdings;
        self.release_addresses(source, first, &[], ending, now, effects);
    }

    /// The pods that are missing from the list that this source has completed now.
    pub(super) fn stale_pods(&self, source: Source) -> Vec<u32> {
        self.pods.iter().filter(|(_, pod)| pod.provenance.is_stale(source)).map(|(id, _)| id).collect()
    }

    /// Removes one deleted pod with its holdings: one that was deleted before this time or, if `any` is set, the one deleted
    /// first. Returns whether there was one.
    pub(super) fn forget_pod(&mut self, before: Moment, any: bool) -> bool {
        while let Some((gone, id)) = self.gone.front().copied() {
            if gone >= before && !any {
                return false;
            }
            self.gone.pop_front();
            if self.gone.capacity() / 8 > self.gone.len().max(1024) {
                self.gone.shrink_to(self.gone.len() * 2);
            }
            if self.pods.get(id).is_some_and(|pod| pod.gone == gone) {
                self.remove_pod(id);
                self.gone_pods -= 1;
                return true;
            }
        }
        false
    }

    fn new_pod(&mut self, uid: PodUid) -> Option<u32> {
        if self.pods.len() >= self.limits.pods && !self.forget_pod(0, true) {
            return None;
        }
        Some(self.pods.insert(PodRecord {
            uid,
            has_static_uid: false,
            is_host_network: false,
            provenance: Provenance::default(),
            ended: SourceSet::default(),
            last_update: 0,
            workload: NONE,
            before: NONE,
            after: NONE,
            node: NONE,
            holdings: NONE,
            gone: 0,
        }))
    }

    fn remove_pod(&mut self, id: u32) {
        while let Some(holding) = self.pods.get(id).map(|pod| pod.holdings).filter(|id| *id != NONE) {
            self.forget_holding(holding);
        }
        self.leave_workload(id);
        let Some(record) = self.pods.remove(id) else { return };
        if record.node != NONE {
            self.nodes.leave(record.node);
        }
        if record.has_static_uid
            && let Some(uid) = self.static_uid_of.remove(&id)
        {
            self.static_uids.remove(&uid);
        }
    }

    /// Moves a pod into the workload of its owner. What the pod says of its owner may rename the whole workload.
    fn set_workload(&mut self, id: u32, pod: &Pod, effects: &mut Effects) {
        let (workload, is_renamed) = self.workloads.of(pod, &mut self.names);
        if is_renamed {
            self.mark_renamed(workload, effects);
        }
        if self.pods.get(id).is_none_or(|record| record.workload == workload) {
            return;
        }
        self.leave_workload(id);
        let first = self.workloads.enter(workload, id);
        if let Some(other) = self.pods.get_mut(first) {
            other.before = id;
        }
        let Some(record) = self.pods.get_mut(id) else { return };
        (record.workload, record.before, record.after) = (workload, NONE, first);
        effects.pod(record.uid);
        for (_, holding) in self.holdings.of(record.holdings) {
            effects.address(&holding.address);
        }
    }

    fn leave_workload(&mut self, id: u32) {
        let Some(record) = self.pods.get_mut(id).filter(|record| record.workload != NONE) else { return };
        let (workload, before, after) = (record.workload, record.before, record.after);
        record.workload = NONE;
        if let Some(other) = self.pods.get_mut(before) {
            other.after = after;
        }
        if let Some(other) = self.pods.get_mut(after) {
            other.before = before;
        }
        self.workloads.leave(workload, (before == NONE).then_some(after), self.limits.owners);
    }

    /// Adds all pods of a renamed workload to the effects, with their addresses.
    pub(super) fn mark_renamed(&self, workload: u32, effects: &mut Effects) {
        let mut id = self.workloads.get(workload).map_or(NONE, |workload| workload.first);
        while let Some(pod) = self.pods.get(id).filter(|_| !effects.are_many) {
            effects.pod(pod.uid);
            for (_, holding) in self.holdings.of(pod.holdings) {
                effects.address(&holding.address);
                self.mark_services_of(&holding.address, effects);
            }
            id = pod.after;
        }
    }

    fn set_node(&mut self, id: u32, node: Option<&str>) {
        let Some(node) = node.filter(|name| !name.is_empty()) else { return };
        let node = self.nodes.named(node);
        let Some(record) = self.pods.get_mut(id) else { return };
        let before = std::mem::replace(&mut record.node, node);
        if before == node {
            return;
        }
        self.nodes.enter(node);
        if before != NONE {
            self.nodes.leave(before);
        }
    }

    fn set_static_uid(&mut self, id: u32, static_uid: Option<&str>) {
        let Some(uid) = static_uid.and_then(|text| self.uid(text)) else { return };
        let Some(record) = self.pods.get_mut(id) else { return };
        record.has_static_uid = true;
        self.static_uids.insert(uid, id);
        if let Some(before) = self.static_uid_of.insert(id, uid).filter(|before| *before != uid) {
            self.static_uids.remove(&before);
        }
    }

    /// Replaces the addresses that this source lists for a pod.
    fn set_addresses(
        &mut self,
        source: Source,
        id: u32,
        pod: &Pod,
        since: Moment,
        now: Moment,
        effects: &mut Effects,
    ) {
        let addresses: &[_] = if pod.is_host_network { &[] } else { &pod.addresses };
        let addresses: Vec<AddressBytes> = addresses.iter().map(|address| to_bytes(*address)).collect();
        let Some(first) = self.pods.get(id).map(|pod| pod.holdings) else { return };
        self.release_addresses(source, first, &addresses, Ending::Observed, now, effects);
        for address in &addresses {
            self.add_address(source, HolderId::Pod(id), address, since, now, effects);
        }
    }

    /// Ends all open holdings of a pod, whatever sources list them.
    fn end_holdings(&mut self, id: u32, until: Moment, ending: Ending, now: Moment, effects: &mut Effects) {
        let first = self.pods.get(id).map_or(NONE, |pod| pod.holdings);
        let open: Vec<u32> =
            self.holdings.of(first).filter(|(_, holding)| holding.is_open()).map(|(id, _)| id).collect();
        for id in open {
            self.holdings.close(id, until, ending, now, effects);
        }
    }

    /// A source no longer lists a holder's addresses but these. Holdings that no other source lists end. `first` is the first
    /// holding of the holder.
    pub(super) fn release_addresses(
        &mut self,
        source: Source,
        first: u32,
        except: &[AddressBytes],
        ending: Ending,
        now: Moment,
        effects: &mut Effects,
    ) {
        let is_released = |holding: &Holding| {
            holding.is_open() && holding.sources.has(source) && !except.contains(&holding.address)
        };
        let released: Vec<u32> =
            self.holdings.of(first).filter(|(_, holding)| is_released(holding)).map(|(id, _)| id).collect();
        for id in released {
            let Some(holding) = self.holdings.get_mut(id) else { continue };
            holding.sources.set(source, false);
            if holding.sources.is_empty() {
                self.holdings.close(id, now, ending, now, effects);
            }
        }
    }

    /// A source lists an address of a holder: opens the holding, or opens it again.
    pub(super) fn add_address(
        &mut self,
        source: Source,
        holder: HolderId,
        address: &AddressBytes,
        since: Moment,
        now: Moment,
        effects: &mut Effects,
    ) {
        let first = self.first_holding(holder).map_or(NONE, |first| *first);
        let held = self.holdings.of(first).find(|(_, holding)| holding.address == *address).map(|(id, _)| id);
        if let Some(holding) = held.and_then(|id| self.holdings.get_mut(id)) {
            holding.sources.set(source, true);
            if !holding.is_open() {
                holding.reopen();
                effects.address(address);
            }
            return;
        }
        if let Some(excess) = self.holdings.excess(address) {
            self.dropped.holdings += 1;
            self.forget_holding(excess);
        }
        let mut holding = Holding::new(*address, holder, since, now);
        holding.sources.set(source, true);
        // The holding in excess may have been this holder's first.
        holding.next_of_holder = self.first_holding(holder).map_or(NONE, |first| *first);
        let id = self.holdings.insert(holding);
        if let Some(first) = self.first_holding(holder) {
            *first = id;
        }
        effects.address(address);
    }

    /// Removes a holding from its address and from its holder.
    pub(super) fn forget_holding(&mut self, id: u32) {
        let Some(holding) = self.holdings.remove(id) else { return };
        let Some(first) = self.first_holding(holding.holder()) else { return };
        if *first == id {
            *first = holding.next_of_holder;
        } else {
            let first = *first;
            self.holdings.skip(first, id, holding.next_of_holder);
        }
        if let HolderId::Node(node) = holding.holder() {
            self.nodes.remove_if_unused(node);
        }
    }

    fn first_holding(&mut self, holder: HolderId) -> Option<&mut u32> {
        match holder {
            HolderId::Pod(id) => self.pods.get_mut(id).map(|pod| &mut pod.holdings),
            HolderId::Node(id) => self.nodes.get_mut(id).map(|node| &mut node.holdings),
        }
    }
}

/// The earliest time at which a pod can have got an address that it has now: not before it was created, and not before it was
/// last reported without that address.
fn earliest_start(pod: &Pod, last_update: Moment) -> Moment {
    let made = pod.since.map_or(0, moment).saturating_sub(SKEW);
    made.max(last_update.saturating_sub(DELAY))
}

/// Converts seconds since 1970 to 32 bits; clamps them to what a holding can store.
pub fn moment(seconds: u64) -> Moment {
    Moment::try_from(seconds).unwrap_or(Moment::MAX).min(Moment::MAX - 2)
}
