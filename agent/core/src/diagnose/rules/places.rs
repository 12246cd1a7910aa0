//! Places: listening ports and what the node counts. Each is judged by the rule of its kind.

use std::collections::BTreeMap;

use super::{dns, listener, node};
use crate::aggregate::places::{Counted, Place};
use crate::diagnose::cause::Cause;
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::Subject;

/// Fewer of anything say nothing.
pub(super) const LEAST: u64 = 3;

/// What places have counted: in the span that is judged, and in the last part of it.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Counted in the span, and in its last part.
    pub rows: BTreeMap<Place, (Counted, Option<Counted>)>,
    /// The time of the span, in seconds.
    pub seconds: f64,
}

/// One place.
pub(super) struct Seen<'a> {
    place: &'a Place,
    lately: &'a Counted,
    pub(super) recent: Option<&'a Counted>,
    pub(super) seconds: f64,
    /// Whether this was found of it already.
    pub(super) has: &'a dyn Fn(Cause, &Subject) -> bool,
}

/// What is wrong. `has` says what was found already and goes on as far as is known.
pub fn judge(places: &Places, has: &dyn Fn(Cause, &Subject) -> bool) -> Vec<Draft> {
    let seen = places.rows.iter().map(|(place, (lately, recent))| Seen {
        place,
        lately,
        recent: recent.as_ref(),
        seconds: places.seconds,
        has,
    });
    seen.filter_map(|seen| match seen.place {
        Place::Listener(workload, port) => listener::judge(&seen, workload, *port),
        Place::Softnet => node::softnet(&seen),
        Place::Conntrack(owner) => node::conntrack(&seen, owner.as_ref(), tracking_limit(places)),
        Place::NeighbourTable(table) => node::neighbour_table(&seen, table),
        Place::Neighbours => node::duplicate_address(&seen),
        Place::Protocols(owner) => node::protocols(&seen, owner.as_ref()),
        Place::Search(workload) => dns::search(&seen, workload),
        Place::Qdisc(device, kind) => node::queue(&seen, device, kind),
        Place::Device(_) | Place::Cpu | Place::Configuration | Place::Drops(..) => None,
    })
    .collect()
}

impl Seen<'_> {
    pub(super) fn count(&self, name: &str) -> u64 {
        of(self.place, self.lately, name)
    }

    /// The same in the last part of the span.
    pub(super) fn recently(&self, name: &str) -> u64 {
        self.recent.map_or(0, |recent| of(self.place, recent, name))
    }

    pub(super) fn level(&self, name: &str) -> Option<f64> {
        level(self.place, self.lately, name)
    }

    /// The same in the last part of the span, where it was read there.
    pub(super) fn recent_level(&self, name: &str) -> Option<f64> {
        level(self.place, self.recent.unwrap_or(self.lately), name)
    }

    pub(super) fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.count(name)).sum()
    }

    pub(super) fn recent_sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.recently(name)).sum()
    }
}

/// How many connections each network namespace may track: the kernel has one limit for all.
fn tracking_limit(places: &Places) -> Option<f64> {
    let place = Place::Conntrack(None);
    let (lately, recent) = places.rows.get(&place)?;
    level(&place, recent.as_ref().unwrap_or(lately), "entries_limit").filter(|limit| *limit > 0.0)
}

/// What was found of a level, on average.
#[must_use]
pub fn level(place: &Place, counted: &Counted, name: &str) -> Option<f64> {
    let index = place.levels().iter().position(|level| *level == name)?;
    let sum = *counted.levels.get(index)?;
    (counted.readings > 0).then(|| sum as f64 / counted.readings as f64)
}

fn of(place: &Place, counted: &Counted, name: &str) -> u64 {
    let index = place.counters().iter().position(|counter| *counter == name);
    index.and_then(|index| counted.counters.get(index)).copied().unwrap_or(0)
}
