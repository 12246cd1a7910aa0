//! Pods: what is kept of each, and how what a source tells changes it.

use super::Directory;
use super::address::{Octets, octets};
use super::effects::Effects;
use super::holdings::{DELAY, Ending, HolderId, Holding, Moment, SKEW};
use super::table::{Keyed, NONE};
use super::told::{Sources, Told};
use crate::enrich::objects::{Pod, Source};
use crate::enrich::uid::PodUid;

/// What is kept of a pod.
#[derive(Debug)]
pub struct Record {
    /// Its uid.
    pub uid: PodUid,
    /// Whether it is found by another uid too.
    has_static_uid: bool,
    /// Whether its addresses are its node's.
    pub is_host_network: bool,
    /// Who tells of it.
    pub told: Told,
    /// Who tells that it has ended.
    ended: Sources,
    /// When it was told last; 0: never.
    last_told: Moment,
    /// Its workload, and its neighbours among the pods of it.
    pub workload: u32,
    before: u32,
    /// Likewise.
    pub after: u32,
    /// Its node, or [`NONE`].
    pub node: u32,
    /// The first of its holdings.
    pub holdings: u32,
    /// Since when nobody tells of it; 0: somebody does.
    pub gone: Moment,
}

impl Keyed for Record {
    type Key = PodUid;

    fn key(&self) -> &PodUid {
        &self.uid
    }
}

impl Directory {
    pub(super) fn uid(&self, text: &str) -> Option<PodUid> {
        self.fingerprints.uid(text)
    }

    pub(super) fn pod_told(&mut self, source: Source, pod: &Pod, now: Moment, effects: &mut Effects) {
        let Some(uid) = self.uid(&pod.uid) else { return };
        let Some(id) = self.pods.find(&uid).or_else(|| self.new_pod(uid)) else {
            self.dropped.pods += 1;
            return;
        };
        self.belong(id, pod, effects);
        self.stand_on(id, pod.node.as_deref());
        self.also_found_by(id, pod.static_uid.as_deref());
        let Some(record) = self.pods.get_mut(id) else { return };
        if record.gone != 0 {
            record.gone = 0;
            self.gone_pods -= 1;
        }
        record.told.tell(source);
        record.is_host_network = pod.is_host_network;
        record.ended.set(source, pod.has_ended || pod.until.is_some());
        let has_ended = !record.ended.is_empty();
        let last = std::mem::replace(&mut record.last_told, now);
        let since = begins(pod, last);
        match pod.until.map(|until| moment(until).saturating_add(SKEW).min(now)) {
            // Its only word on it may be its last.
            Some(until) if last == 0 && until.saturating_add(self.limits.keep()) > now => {
                self.hold(source, id, pod, since, now, effects);
                self.release(id, until, Ending::Noted, now, effects);
            }
            Some(until) => self.release(id, until, Ending::Noted, now, effects),
            None if has_ended => self.release(id, now, Ending::Told, now, effects),
            None => self.hold(source, id, pod, since, now, effects),
        }
    }

    /// A source tells of it no more; `ending` says how well the time is known.
    pub(super) fn pod_gone(
        &mut self,
        source: Source,
        id: u32,
        ending: Ending,
        now: Moment,
        effects: &mut Effects,
    ) {
        let Some(record) = self.pods.get_mut(id) else { return };
        if !record.told.by.has(source) {
            return;
        }
        record.ended.set(source, false);
        let is_gone = record.told.gone(source);
        if is_gone {
            record.gone = now.max(1);
            self.gone_pods += 1;
            self.gone.push_back((record.gone, id));
        }
        let first = record.holdings;
        self.let_go(source, first, &[], ending, now, effects);
    }

    pub(super) fn missed_pods(&self, source: Source) -> Vec<u32> {
        self.pods.iter().filter(|(_, pod)| pod.told.is_missed(source)).map(|(id, _)| id).collect()
    }

    /// Forgets a pod that is gone since before this time, and all that has to do with it; or one at all, if `is_wanted`.
    pub(super) fn forget_pod(&mut self, before: Moment, is_wanted: bool) -> bool {
        while let Some((gone, id)) = self.gone.front().copied() {
            if gone >= before && !is_wanted {
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
        Some(self.pods.insert(Record {
            uid,
            has_static_uid: false,
            is_host_network: false,
            told: Told::default(),
            ended: Sources::default(),
            last_told: 0,
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

    /// Puts a pod into its workload; by what it tells, its whole workload may be called otherwise.
    fn belong(&mut self, id: u32, pod: &Pod, effects: &mut Effects) {
        let (workload, is_renamed) = self.workloads.of(pod, &mut self.names);
        if is_renamed {
            self.renamed(workload, effects);
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

    /// All pods of a workload are called otherwise.
    pub(super) fn renamed(&self, workload: u32, effects: &mut Effects) {
        let mut id = self.workloads.get(workload).map_or(NONE, |workload| workload.first);
        while let Some(pod) = self.pods.get(id).filter(|_| !effects.are_many) {
            effects.pod(pod.uid);
            for (_, holding) in self.holdings.of(pod.holdings) {
                effects.address(&holding.address);
            }
            id = pod.after;
        }
    }

    fn stand_on(&mut self, id: u32, node: Option<&str>) {
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

    fn also_found_by(&mut self, id: u32, static_uid: Option<&str>) {
        let Some(uid) = static_uid.and_then(|text| self.uid(text)) else { return };
        let Some(record) = self.pods.get_mut(id) else { return };
        record.has_static_uid = true;
        self.static_uids.insert(uid, id);
        if let Some(before) = self.static_uid_of.insert(id, uid).filter(|before| *before != uid) {
            self.static_uids.remove(&before);
        }
    }

    /// It holds these addresses now.
    fn hold(
        &mut self,
        source: Source,
        id: u32,
        pod: &Pod,
        since: Moment,
        now: Moment,
        effects: &mut Effects,
    ) {
        let addresses: &[_] = if pod.is_host_network { &[] } else { &pod.addresses };
        let addresses: Vec<Octets> = addresses.iter().map(|address| octets(*address)).collect();
        let Some(first) = self.pods.get(id).map(|pod| pod.holdings) else { return };
        self.let_go(source, first, &addresses, Ending::Told, now, effects);
        for address in &addresses {
            self.holds(source, HolderId::Pod(id), address, since, now, effects);
        }
    }

    /// It holds no address any more.
    fn release(&mut self, id: u32, until: Moment, ending: Ending, now: Moment, effects: &mut Effects) {
        let first = self.pods.get(id).map_or(NONE, |pod| pod.holdings);
        let open: Vec<u32> =
            self.holdings.of(first).filter(|(_, holding)| holding.is_open()).map(|(id, _)| id).collect();
        for id in open {
            self.holdings.close(id, until, ending, now, effects);
        }
    }

    /// A source tells that a holder, whose first holding this is, has no addresses but these.
    pub(super) fn let_go(
        &mut self,
        source: Source,
        first: u32,
        but: &[Octets],
        ending: Ending,
        now: Moment,
        effects: &mut Effects,
    ) {
        let is_concerned = |holding: &Holding| {
            holding.is_open() && holding.sources.has(source) && !but.contains(&holding.address)
        };
        let concerned: Vec<u32> =
            self.holdings.of(first).filter(|(_, holding)| is_concerned(holding)).map(|(id, _)| id).collect();
        for id in concerned {
            let Some(holding) = self.holdings.get_mut(id) else { continue };
            holding.sources.set(source, false);
            if holding.sources.is_empty() {
                self.holdings.close(id, now, ending, now, effects);
            }
        }
    }

    /// A source tells that a holder has an address.
    pub(super) fn holds(
        &mut self,
        source: Source,
        holder: HolderId,
        address: &Octets,
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
        // What is in excess may have been this holder's.
        holding.next_of_holder = self.first_holding(holder).map_or(NONE, |first| *first);
        let id = self.holdings.insert(holding);
        if let Some(first) = self.first_holding(holder) {
            *first = id;
        }
        effects.address(address);
    }

    /// Takes a holding out of its address's and its holder's.
    pub(super) fn forget_holding(&mut self, id: u32) {
        let Some(holding) = self.holdings.remove(id) else { return };
        let Some(first) = self.first_holding(holding.holder) else { return };
        if *first == id {
            *first = holding.next_of_holder;
        } else {
            let first = *first;
            self.holdings.skip(first, id, holding.next_of_holder);
        }
        if let HolderId::Node(node) = holding.holder {
            self.nodes.tidy(node);
        }
    }

    fn first_holding(&mut self, holder: HolderId) -> Option<&mut u32> {
        match holder {
            HolderId::Pod(id) => self.pods.get_mut(id).map(|pod| &mut pod.holdings),
            HolderId::Node(id) => self.nodes.get_mut(id).map(|node| &mut node.holdings),
        }
    }
}

/// A pod that has an address now got it at this time at the earliest: not before it was made, and not before it was told
/// without it.
fn begins(pod: &Pod, last_told: Moment) -> Moment {
    let made = pod.since.map_or(0, moment).saturating_sub(SKEW);
    made.max(last_told.saturating_sub(DELAY))
}

/// Seconds in 32 bits.
pub fn moment(seconds: u64) -> Moment {
    Moment::try_from(seconds).unwrap_or(Moment::MAX).min(Moment::MAX - 2)
}
