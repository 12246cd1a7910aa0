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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Zeroable as _;

use crate::aggregate::places::{Counted, Place};
use crate::aggregate::totals::{self, Totals};
use crate::aggregate::windows::{Recent, Span};
use crate::aggregate::{Edge, Packed};
use crate::enrich::Workload;
use crate::enrich::objects::Seconds;
use cause::Cause;
use finding::{Dated, Finding, Insufficient, Watched};
use past::Pasts;
use rules::Places;
use symptoms::{Around, Case};
use tracker::Tracker;

pub use tracker::Turn;

/// The span that is judged.
pub const LATELY: Duration = Duration::from_secs(20);
/// Its last part, in which the evidence has to go on.
const RECENTLY: Duration = Duration::from_secs(10);

/// Symptoms without a cause that are kept of a judgement.
const MAX_INSUFFICIENT: usize = 32;

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
        let places = places(windows);
        let mut around = self.around(&places);
        let (edges, suspects, span) = look(windows.edges, &mut around);
        let began = *self.began.get_or_insert(windows.now.saturating_sub(span.covered));
        let mut drafts = rules::judge_places(&places);
        let active = self.causes();
        let (mut bad, mut insufficient) = (HashSet::new(), Vec::new());
        for suspect in &suspects.all {
            let Suspect { edge, lately, recent } = suspect;
            let case = Case {
                edge,
                lately: &lately.unpack(),
                recent: &recent.unpack(),
                seconds: span.covered.as_secs_f64(),
                recent_seconds: suspects.recent_seconds,
                past: self.pasts.of(edge),
                around: &around,
                active: active.get(&identity(edge)).map_or(&[], Vec::as_slice),
            };
            let found = rules::judge(&case);
            if found.is_empty() {
                insufficient
                    .extend(rules::unexplained(&case).filter(|_| insufficient.len() < MAX_INSUFFICIENT));
            } else {
                bad.insert(identity(edge));
            }
            drafts.extend(found.into_iter().map(|draft| draft.on(&around)));
        }
        let drafts = arbiter::settle(drafts, &edges, self.tracker.active());
        self.insufficient = insufficient;
        self.pasts.learn(windows.edges, windows.now, &bad);
        self.watched = Watched {
            edges: edges.len(),
            judgements: self.watched.judgements + 1,
            for_time: windows.now.saturating_sub(began),
        };
        let window = Duration::from_secs_f64(suspects.recent_seconds).min(RECENTLY);
        self.tracker.judge(drafts, windows.now, windows.wall, window)
    }

    /// What is found, the active ones first.
    #[must_use]
    pub fn findings(&self) -> Vec<Dated> {
        self.tracker.findings()
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

    /// The causes that are found of each edge, by its identity.
    fn causes(&self) -> HashMap<usize, Vec<Cause>> {
        let mut causes: HashMap<usize, Vec<Cause>> = HashMap::new();
        for finding in self.tracker.active() {
            for edge in &finding.affected {
                causes.entry(identity(edge)).or_default().push(finding.cause);
            }
        }
        causes
    }

    /// What places show of the servers here, and of the node.
    fn around(&self, places: &Places) -> Around {
        let mut around = Around { missing: self.missing.clone(), ..Around::default() };
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

/// What stands for an edge while it is held: the model has one `Arc` of each, and a comparison of names costs more.
fn identity(edge: &Arc<Edge>) -> usize {
    Arc::as_ptr(edge).addr()
}

/// An edge with something to be judged.
struct Suspect {
    edge: Arc<Edge>,
    lately: Packed<Totals>,
    recent: Packed<Totals>,
}

/// Edges with something to be judged.
#[derive(Default)]
struct Suspects {
    all: Vec<Suspect>,
    recent_seconds: f64,
}

/// Looks at every edge once for each span: all edges, those to be judged, and the span. Adds what they show to the rest.
fn look(recent: &Recent<Edge, Totals>, around: &mut Around) -> (Vec<Arc<Edge>>, Suspects, Span) {
    let (mut edges, mut suspects) = (Vec::new(), Suspects::default());
    let mut places = HashMap::new();
    let span = recent.each(LATELY, |edge, totals| {
        edges.push(Arc::clone(edge));
        around.add(edge, totals);
        let has_names = edge.source != Workload::Other && edge.destination != Workload::Other;
        if has_names && symptoms::is_suspect(totals) {
            places.insert(identity(edge), suspects.all.len());
            let lately = Packed::new(totals);
            suspects.all.push(Suspect { edge: Arc::clone(edge), lately, recent: Packed::default() });
        }
    });
    let recent_span = recent.each(RECENTLY, |edge, totals| {
        around.add_recent(edge, &totals.tcp);
        if let Some(suspect) = places.get(&identity(edge)).and_then(|place| suspects.all.get_mut(*place)) {
            suspect.recent.add(totals);
        }
    });
    suspects.recent_seconds = recent_span.covered.as_secs_f64();
    (edges, suspects, span)
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
