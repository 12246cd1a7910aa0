//! Diagnosis: what was counted lately in, findings out.
//!
//! At the end of each window every pair of workloads is judged by what it counted in the last seconds ([`Case`]), by what it did
//! before ([`past`]) and by what the rest of the node shows ([`symptoms::Around`]). Rules ([`rules`]) name at most one cause of a
//! family; the [`arbiter`] lets the widest explanation take in narrower ones; the [`tracker`] lets findings begin and end.
//!
//! Nothing here has a clock, asks the kernel, or remembers more than what is usual of each pair: the same windows give the same
//! findings, on another machine and from a recording.

mod arbiter;
pub mod cause;
mod draft;
pub mod finding;
mod past;
mod rules;
mod statistics;
mod symptoms;
#[cfg(test)]
mod tests;
mod tracker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Zeroable as _;

use crate::aggregate::places::{Counted, Place};
use crate::aggregate::totals::{self, Totals};
use crate::aggregate::windows::{Recent, Span};
use crate::aggregate::{Edge, Packed, Reporter};
use crate::enrich::Workload;
use crate::enrich::objects::Seconds;
use cause::Cause;
use draft::Draft;
use finding::{Finding, Insufficient, Told, Watched};
use past::Pasts;
use rules::Places;
use symptoms::{Around, Case};
use tracker::Tracker;

pub use tracker::Turn;

/// The span that is judged.
pub const LATELY: Duration = Duration::from_secs(20);
/// Its last part, in which the evidence has to go on.
const RECENTLY: Duration = Duration::from_secs(10);

/// What is judged: windows that have ended.
pub struct Windows<'a> {
    /// Pairs of workloads.
    pub edges: &'a Recent<Edge, Totals>,
    /// Listening ports.
    pub listeners: &'a Recent<Place, Counted>,
    /// What the readers of the node find.
    pub node: &'a Recent<Place, Counted>,
    /// When the last one ended.
    pub now: Duration,
    /// The same, in seconds since 1970.
    pub wall: Seconds,
}

/// All that is known of what is wrong.
#[derive(Debug, Default)]
pub struct Diagnosis {
    pasts: Pasts,
    tracker: Tracker,
    insufficient: Vec<Insufficient>,
    watched: Watched,
    missing: HashMap<&'static str, String>,
    began: Option<Duration>,
}

impl Diagnosis {
    /// Evidence that cannot be had on this node: its signal, and why.
    pub fn set_missing(&mut self, missing: HashMap<&'static str, String>) {
        self.missing = missing;
    }

    /// Judges the windows up to one that has just ended.
    pub fn judge(&mut self, windows: &Windows<'_>) -> Vec<Turn> {
        let (lately, span) = sums(windows.edges, LATELY);
        let (recent, recent_span) = sums(windows.edges, RECENTLY);
        let began = *self.began.get_or_insert(windows.now.saturating_sub(span.covered));
        let places = places(windows);
        let around = self.around(&lately, &recent, &places);
        let mut drafts = rules::judge_places(&places);
        let active = self.causes();
        let mut bad = Vec::new();
        for (edge, packed) in &lately {
            let Some(totals) = interesting(edge, packed) else { continue };
            let recent = recent.get(edge).map_or(Totals::ZERO, Packed::unpack);
            let case = Case {
                edge,
                lately: &totals,
                recent: &recent,
                seconds: span.covered.as_secs_f64(),
                recent_seconds: recent_span.covered.as_secs_f64(),
                past: self.pasts.of(edge),
                around: &around,
                active: active.get(edge).map_or(&[], Vec::as_slice),
            };
            let found = rules::judge(&case);
            let found: Vec<Draft> = found.into_iter().map(|draft| draft.on(&around)).collect();
            if !found.is_empty() {
                bad.push(Arc::clone(edge));
            }
            drafts.extend(found);
        }
        let edges: Vec<Arc<Edge>> = lately.keys().cloned().collect();
        let drafts = arbiter::settle(drafts, &edges, &around);
        self.learn(windows, &bad);
        self.watched = Watched {
            edges: edges.len(),
            judgements: self.watched.judgements + 1,
            for_time: windows.now.saturating_sub(began),
        };
        let window = recent_span.covered.min(RECENTLY);
        self.tracker.judge(drafts, windows.now, windows.wall, window)
    }

    /// What is found, the active ones first.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.tracker.told()
    }

    /// The findings that are active.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Finding>> {
        self.tracker.active()
    }

    /// Symptoms without a cause.
    #[must_use]
    pub fn insufficient(&self) -> &[Insufficient] {
        &self.insufficient
    }

    /// What was looked at.
    #[must_use]
    pub fn watched(&self) -> Watched {
        self.watched
    }

    /// How often each cause was found: by the numbers of the cause and of the side.
    pub fn found(&self) -> impl Iterator<Item = (Cause, cause::Side, u64)> {
        self.tracker.found().iter().filter_map(|((cause, side), count)| {
            Some((Cause::from_number(*cause)?, cause::Side::from_number(*side)?, *count))
        })
    }

    /// Evidence that cannot be had on this node.
    #[must_use]
    pub fn missing(&self) -> &HashMap<&'static str, String> {
        &self.missing
    }

    /// The causes that are found of each edge.
    fn causes(&self) -> HashMap<Arc<Edge>, Vec<Cause>> {
        let mut active: HashMap<Arc<Edge>, Vec<Cause>> = HashMap::new();
        for finding in self.tracker.active() {
            for edge in &finding.affected {
                active.entry(Arc::clone(edge)).or_default().push(finding.cause);
            }
        }
        active
    }

    /// Learns what is usual, from the last window.
    fn learn(&mut self, windows: &Windows<'_>, bad: &[Arc<Edge>]) {
        let (last, span) = sums(windows.edges, Duration::from_secs(1));
        for (edge, packed) in &last {
            self.pasts.learn(
                edge,
                &packed.unpack(),
                span.covered.as_secs_f64(),
                windows.now,
                bad.contains(edge),
            );
        }
        self.pasts.forget(windows.now);
    }

    fn around(&self, lately: &Sums, recent: &Sums, places: &Places) -> Around {
        let mut around = Around { missing: self.missing.clone(), ..Around::default() };
        for (edge, packed) in lately {
            let totals = packed.unpack();
            let recently = recent.get(edge).map(|packed| packed.unpack().tcp);
            around.all.add(&totals.tcp, recently.as_ref());
            let peer = around.peers.entry(symptoms::peer(edge).clone()).or_default();
            peer.add(&totals.tcp, recently.as_ref());
            if edge.reporter == Reporter::Destination {
                let end = around.servers.entry((edge.destination.clone(), edge.port)).or_default();
                end.opened += totals.tcp.opened;
                end.no_socket +=
                    totals.tcp.resets_sent[netcause_common::flow::ResetReason::NoSocket as usize];
            }
        }
        let waiting = places.rows.get(&Place::Cpu).map(|(counted, _)| counted.counters[0] as f64 / 1e9);
        around.cpu_waiting = waiting.filter(|_| places.seconds > 0.0).map(|waiting| waiting / places.seconds);
        for (place, (counted, _)) in &places.rows {
            if let Place::Listener(workload, port) = place {
                let end = around.servers.entry((workload.clone(), *port)).or_default();
                let full = place.counters().iter().position(|name| *name == "accept_queue_full");
                end.accept_queue_full += full.map_or(0, |index| counted.counters[index]);
                end.listens |= counted.readings > 0;
            }
        }
        around
    }
}

/// What each edge has counted in a time.
type Sums = HashMap<Arc<Edge>, Packed<Totals>>;

fn sums(recent: &Recent<Edge, Totals>, time: Duration) -> (Sums, Span) {
    let mut sums = Sums::new();
    let span = recent.each(time, |edge, counted| {
        sums.entry(Arc::clone(edge)).or_default().add(counted);
    });
    (sums, span)
}

/// The totals of an edge that may have something wrong, and of which something can be said.
fn interesting(edge: &Edge, packed: &Packed<Totals>) -> Option<Totals> {
    if edge.source == Workload::Other || edge.destination == Workload::Other {
        return None;
    }
    Some(packed.unpack())
}

/// What listening ports and the node have counted.
fn places(windows: &Windows<'_>) -> Places {
    let mut places = Places::default();
    for recent in [windows.listeners, windows.node] {
        let span = recent.each(LATELY, |place, counted| {
            let row = places.rows.entry((**place).clone()).or_insert_with(|| (Counted::zeroed(), None));
            totals::add(&mut row.0, counted);
        });
        places.seconds = places.seconds.max(span.covered.as_secs_f64());
        recent.each(RECENTLY, |place, counted| {
            if let Some(row) = places.rows.get_mut(&**place) {
                totals::add(row.1.get_or_insert_with(Counted::zeroed), counted);
            }
        });
    }
    places
}
