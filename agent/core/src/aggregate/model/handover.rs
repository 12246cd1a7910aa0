//! What is counted at an address that passes from one holder to the next.
//!
//! - A difference belongs to who held the address between the two readings that it lies between; a flow that is new, from its
//!   announcement on. With two holders in that time it has no name.
//! - What has no name is remembered for a while, and gets the name of the holder that is reported later.
//! - What has a name keeps it: a counter that has been shown does not go back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use netcause_common::flow::FlowKey;

use super::super::edge::Named;
use super::super::edge::with_remote;
use super::{Change, Counting, EdgeId, Flow, Model, Packed, Totals};
use crate::enrich::Names;
use crate::enrich::directory::{During, Mark, Span};

/// How long what has no name is remembered, in seconds: the directory forgets holders after the same time.
const REMEMBERED: u32 = 300;
/// The most that is remembered, some 250 bytes each; the oldest goes first, and stays without a name.
const MAX_REMEMBERED: usize = 4096;
/// Announcements that wait for the next reading; further flows began at the reading before.
const MAX_ANNOUNCED: usize = 65_536;

/// The state of [`Model`] for addresses that have several holders.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    /// When new flows began.
    announced: HashMap<FlowKey, Mark>,
    /// What flows of such addresses have counted in this reading.
    counted: HashMap<FlowKey, Packed<Totals>>,
    /// What has no name yet, oldest first.
    nameless: VecDeque<Nameless>,
    /// The end of the last reading.
    last: Option<Mark>,
}

#[derive(Debug)]
struct Nameless {
    key: FlowKey,
    span: Span,
    edge: EdgeId,
    counted: Packed<Totals>,
}

impl Handovers {
    /// Takes what a flow has counted, until the reading ends.
    pub fn count(&mut self, key: &FlowKey, counted: &Totals) {
        if *counted != Totals::ZERO {
            self.counted.entry(*key).or_default().add(counted);
        }
    }

    /// Follows edges that have become a part of another one.
    pub fn merged(&mut self, merged: &HashMap<EdgeId, EdgeId>) {
        for nameless in &mut self.nameless {
            while let Some(to) = merged.get(&nameless.edge) {
                nameless.edge = *to;
            }
        }
    }

    /// Forgets what belonged to edges that are no more.
    pub fn retain(&mut self, lives: impl Fn(EdgeId) -> bool) {
        self.nameless.retain(|nameless| lives(nameless.edge));
    }
}

impl Model {
    /// A flow has begun; its first reading is to come. One to a service has its edge from now on, because the service may lead
    /// elsewhere before that.
    pub fn announce(&mut self, key: &FlowKey, began: Mark, now: Duration, names: &Names) {
        if self.handovers.announced.len() >= MAX_ANNOUNCED || self.flows.contains_key(key) {
            return;
        }
        self.handovers.announced.entry(*key).or_insert(began);
        if names.is_of_service(key) {
            let flow = Flow { edge: None, open: 0, quiet_since: now, counted: Packed::default() };
            self.flows.insert(*key, flow);
            self.name_flow(key, names);
        }
    }

    /// True when a flow that no reading has seen is at an address that has another holder by now.
    pub(super) fn is_announced_renamed(&self, names: &Names) -> bool {
        let changes = names.changes();
        self.handovers.announced.keys().any(|key| changes.concern(key) && names.is_contested(key))
    }

    /// Gives what was counted at contested addresses to who held them.
    pub(super) fn settle(&mut self, now: Duration, names: &Names) {
        self.settle_late(now, names);
        let until = names.mark();
        for (key, counted) in std::mem::take(&mut self.handovers.counted) {
            let from = self.handovers.announced.get(&key).copied().or(self.handovers.last).unwrap_or(until);
            let span = Span { from, until };
            let own = self.flows.get(&key).and_then(|flow| flow.edge);
            // Names are settled for now with the flow's own edge; it is asked again until it has that of the present holder.
            let is_kept_open = !self.unsure.insert(key);
            let (named, is_nameless) = match names.remote_during(&key, &span) {
                During::One(remote) => (with_remote(&key, names, remote), false),
                // What is sent to a peer that is gone was meant for it.
                During::None if is_kept_open && own.is_some() => (None, false),
                During::None | During::Several => {
                    (with_remote(&key, names, names.remote_without_name(&key)), true)
                }
            };
            let to = match (named, own) {
                (Some(Named { edge, .. }), _) => self.edge_id(edge, span.from.at.into()),
                (None, Some(own)) => own,
                (None, None) => continue,
            };
            self.give(to, &counted.unpack(), now);
            if let Some(entry) = self.edges.get(to) {
                self.windows.count(Counting::Edge(to), &entry.edge, &counted.unpack());
            }
            if is_nameless {
                self.remember(Nameless { key, span, edge: to, counted });
            } else if let Some(flow) = self.flows.get_mut(&key).filter(|_| own == Some(to)) {
                flow.counted.add(&counted.unpack());
            }
        }
    }

    /// What is counted from here on came after everything that was reported.
    pub(super) fn begin_reading(&mut self, names: &mut Names) {
        self.handovers.announced.clear();
        self.handovers.last = Some(names.observed(None));
    }

    /// Names what had no name, as far as it was reported meanwhile whose it was.
    fn settle_late(&mut self, now: Duration, names: &Names) {
        let oldest = names.mark().at.saturating_sub(REMEMBERED);
        while self.handovers.nameless.pop_front_if(|nameless| nameless.span.until.at < oldest).is_some() {}
        let changes = names.changes();
        if changes.is_empty() {
            return;
        }
        let mut emptied = HashSet::new();
        for nameless in std::mem::take(&mut self.handovers.nameless) {
            let Nameless { key, span, edge: from, counted } = &nameless;
            let remote = || match names.remote_during(key, span) {
                During::One(remote) => Some(remote),
                During::None | During::Several => None,
            };
            let remote = changes.concern(key).then(remote).flatten();
            let named = remote.and_then(|remote| with_remote(key, names, remote));
            let Some(Named { edge, .. }) = named else {
                self.handovers.nameless.push_back(nameless);
                continue;
            };
            let (from, past) = (*from, Box::new(counted.unpack()));
            let to = self.edge_id(edge, span.from.at.into());
            if let Some(entry) = self.edges.get_mut(from) {
                entry.add(&past.negative());
                emptied.insert(from);
            }
            self.give(to, &past, now);
            self.follow_past(from, to, &past);
            self.changes.push(Change::Moved { from, to, past });
        }
        for id in emptied {
            // Nothing is left of what had no name: it is not shown at zero.
            if let Some(entry) = self.edges.get_mut(id).filter(|entry| entry.totals.is_zero()) {
                entry.left = None;
            }
        }
    }

    fn give(&mut self, to: EdgeId, counted: &Totals, now: Duration) {
        if let Some(entry) = self.edges.get_mut(to) {
            entry.add(counted);
            // It may have no flow of its own by now.
            entry.left = Some(now);
        }
    }

    fn remember(&mut self, nameless: Nameless) {
        self.handovers.nameless.push_back(nameless);
        if self.handovers.nameless.len() > MAX_REMEMBERED {
            self.handovers.nameless.pop_front();
        }
    }
}
