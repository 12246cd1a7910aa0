//! Diagnosis: what was counted lately in, findings out.
//!
//! At the end of each window every pair of workloads is judged by what it counted in the last seconds ([`Case`]), by what it did
//! before ([`past`]) and by what the rest of the node shows ([`around`]). Rules ([`rules`]) name at most one cause of a
//! family; the [`arbiter`] lets the widest explanation take in narrower ones; the [`tracker`] lets findings begin and end.
//!
//! Nothing here has a clock, asks the kernel, or remembers more than what is usual of each pair: the same windows give the same
//! findings, on another machine and from a recording.

mod arbiter;
mod around;
pub mod cause;
mod draft;
pub mod finding;
mod node_pairs;
mod past;
mod rules;
pub(crate) mod state;
mod statistics;
mod symptoms;
#[cfg(test)]
mod tests;
mod tracker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Zeroable as _;
use netcause_common::flow::TcpCounters;

use crate::aggregate::Edge;
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::places::{Counted, Place};
use crate::aggregate::totals::{self, Totals};
use crate::aggregate::windows::{Entries, Recent, Sums};
use crate::enrich::Workload;
use crate::enrich::objects::Seconds;
use around::Around;
use cause::{Cause, Confidence, Family};
use draft::Draft;
use finding::{Dated, Finding, Insufficient, Subject, Watched};
use past::{Past, Pasts};
use rules::Places;
use symptoms::Case;
use tracker::Tracker;

pub(crate) use symptoms::local;
pub use tracker::Turn;

/// The span that is judged.
pub const LATELY: Duration = Duration::from_secs(20);
/// Its last part, in which the evidence has to go on.
const RECENTLY: Duration = Duration::from_secs(10);

/// The last window: any time that is shorter.
const LAST: Duration = Duration::from_secs(1);

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
    /// Other nodes.
    pub peer_nodes: &'a Recent<Row, TcpCounters>,
    /// When the last one ended.
    pub now: Duration,
    /// The same, in seconds since 1970.
    pub wall: Seconds,
}

/// The same, to be kept: all that one judgement looks at. Whoever has the same [`Diagnosis`] and this says the same.
#[derive(Debug, Default)]
pub struct Judged {
    /// Pairs of workloads.
    pub edges: Recent<Edge, Totals>,
    /// Listening ports.
    pub listeners: Recent<Place, Counted>,
    /// What the readers of the node find.
    pub node: Recent<Place, Counted>,
    /// Other nodes.
    pub peer_nodes: Recent<Row, TcpCounters>,
    /// When the last window ended.
    pub now: Duration,
    /// The same, in seconds since 1970.
    pub wall: Seconds,
    /// What [`Diagnosis::set_missing`] was given since the judgement before.
    pub missing: Option<HashMap<&'static str, String>>,
}

impl Judged {
    /// What is judged.
    #[must_use]
    pub fn windows(&self) -> Windows<'_> {
        let Self { edges, listeners, node, peer_nodes, now, wall, missing: _ } = self;
        Windows { edges, listeners, node, peer_nodes, now: *now, wall: *wall }
    }
}

/// All that is known of what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// The families of causes that are judged.
    families: Vec<Family>,
    /// Ports that sidecars listen on.
    sidecar_ports: Vec<u16>,
    pasts: Pasts,
    tracker: Tracker,
    insufficient: Vec<Insufficient>,
    watched: Watched,
    missing: HashMap<&'static str, String>,
    began: Option<Duration>,
    judged: Option<Seconds>,
}

impl Diagnosis {
    /// Nothing judged yet; causes of these families will be.
    #[must_use]
    pub fn new(families: Vec<Family>) -> Self {
        Self { families, ..Self::default() }
    }

    /// Ports that sidecars listen on: a listener there is the sidecar of its workload.
    pub fn set_sidecar_ports(&mut self, ports: Vec<u16>) {
        self.sidecar_ports = ports;
    }

    /// Evidence that cannot be had on this node: its signal, and why.
    pub fn set_missing(&mut self, missing: HashMap<&'static str, String>) {
        self.missing = missing;
        let is_off = |(_, family): &(&str, Family)| !self.families.contains(family);
        let off: Vec<_> = Family::ALL.into_iter().filter(is_off).map(|(name, _)| name).collect();
        if !off.is_empty() {
            let why = format!("causes of {} are not looked for (setting findings)", off.join(", "));
            self.missing.insert("findings", why);
        }
    }

    /// Judges the windows up to one that has just ended.
    pub fn judge(&mut self, windows: &Windows<'_>) -> Vec<Turn> {
        let places = places(windows);
        let mut around = self.around(&places);
        let sums = windows.edges.sums(TIMES);
        let Looked { edges, suspects, last } = look(&sums, windows.now, &mut around);
        self.pasts.served().for_each(|edge| around.add_served(edge));
        let [_, recent_span, span] = sums.spans.map(|span| span.covered);
        let began = *self.began.get_or_insert(windows.now.saturating_sub(span));
        let active = self.causes();
        let mut drafts = self.judge_places(&places);
        let is_blocked = |edge: &Arc<Edge>| {
            active
                .get(&identity(edge))
                .is_some_and(|of_it| of_it.iter().any(|(cause, _)| *cause == Cause::PolicyDrop))
        };
        drafts.extend(rules::judge_blocked(&places, &self.pasts, &around, is_blocked, windows.now));
        let (mut bad, mut insufficient) = (HashSet::new(), Vec::new());
        let mut counted = [Totals::ZERO; 3];
        for (edge, entries) in suspects {
            entries.add_up(&mut counted);
            let [now, recent, lately] = &counted;
            let case = Case {
                edge,
                lately,
                recent,
                now,
                seconds: span.as_secs_f64(),
                recent_seconds: recent_span.as_secs_f64(),
                past: self.pasts.of(edge),
                around: &around,
                active: active.get(&identity(edge)).map_or(&[], Vec::as_slice),
            };
            let found = rules::judge(&case);
            let unexplained = found.is_empty().then(|| rules::unexplained(&case)).flatten();
            if !found.is_empty() || unexplained.is_some() {
                bad.insert(identity(edge));
            }
            insufficient.extend(unexplained.filter(|_| insufficient.len() < MAX_INSUFFICIENT));
            drafts.extend(found.into_iter().map(|draft| draft.on(&around)));
        }
        let mut drafts = arbiter::settle(drafts, &edges, self.tracker.active(), windows.peer_nodes);
        drafts.retain(|draft| self.families.contains(&draft.finding.cause.family()));
        self.insufficient = insufficient;
        self.judged = Some(windows.wall);
        self.pasts.learn(last, windows.now, &bad);
        self.watched = Watched {
            edges: edges.len(),
            judgements: self.watched.judgements + 1,
            for_time: windows.now.saturating_sub(began),
        };
        self.tracker.judge(drafts, windows.now, windows.wall, recent_span.min(RECENTLY))
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

    /// When the last window ended that was judged, in seconds since 1970.
    #[must_use]
    pub fn judged(&self) -> Option<Seconds> {
        self.judged
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
    fn causes(&self) -> HashMap<usize, Vec<(Cause, Confidence)>> {
        let mut causes: HashMap<usize, Vec<_>> = HashMap::new();
        for finding in self.tracker.active() {
            for edge in &finding.affected {
                causes.entry(identity(edge)).or_default().push((finding.cause, finding.confidence));
            }
        }
        causes
    }

    /// What is wrong with the node and its listening ports.
    fn judge_places(&self, places: &Places) -> Vec<Draft> {
        let has = |cause: Cause, subject: &Subject| {
            self.tracker.active().any(|finding| finding.cause == cause && finding.subject == *subject)
        };
        rules::judge_places(places, &has)
    }

    /// What places show of the servers here, and of the node.
    fn around(&self, places: &Places) -> Around {
        let mut around = Around::default();
        around.missing.clone_from(&self.missing);
        let waiting = places.rows.get(&Place::Cpu).map(|(counted, _)| counted.counters[0] as f64 / 1e9);
        around.cpu_waiting = waiting.filter(|_| places.seconds > 0.0).map(|waiting| waiting / places.seconds);
        for (place, (counted, recent)) in &places.rows {
            match (place, recent) {
                (Place::Listener(workload, port), _) => {
                    let end = around.servers.entry((workload.clone(), *port)).or_default();
                    let full = place.counters().iter().position(|name| *name == "accept_queue_full");
                    end.accept_queue_full += full.map_or(0, |index| counted.counters[index]);
                    end.listens |= counted.readings > 0;
                    if port.is_some_and(|port| self.sidecar_ports.contains(&port)) {
                        let queued =
                            recent.and_then(|recent| rules::level(place, &recent, "accept_queue_length"));
                        around.legs.entry(workload.clone()).or_default().queued += queued.unwrap_or(0.0);
                    }
                }
                (Place::Drops(workload, peer), Some(recent)) => {
                    let by_cause = std::array::from_fn(|cause| recent.counters[cause]);
                    around.drops.insert((workload.clone(), peer.clone()), by_cause);
                }
                _ => {}
            }
        }
        around
    }
}

/// What stands for an edge while it is held: the model has one `Arc` of each, and a comparison of names costs more.
fn identity(edge: &Arc<Edge>) -> usize {
    Arc::as_ptr(edge).addr()
}

/// The times of which an edge is judged, the shortest first.
const TIMES: [Duration; 3] = [LAST, RECENTLY, LATELY];

/// What every edge shows.
struct Looked<'a> {
    /// All of them.
    edges: Vec<Arc<Edge>>,
    /// Those with something to be judged, and what they have counted in [`TIMES`].
    suspects: Vec<(&'a Arc<Edge>, Entries<'a, 3>)>,
    /// What each did in the last window.
    last: Vec<(Arc<Edge>, Past)>,
}

/// Looks at every edge once. Adds what they show to the rest.
fn look<'a>(sums: &'a Sums<'_, Edge, 3>, now: Duration, around: &mut Around) -> Looked<'a> {
    let mut looked = Looked { edges: Vec::new(), suspects: Vec::new(), last: Vec::new() };
    let [last_seconds, recent_seconds, _] = sums.spans.map(|span| span.covered.as_secs_f64());
    let mut counted = [Totals::ZERO; 3];
    for (edge, entries) in sums.subjects() {
        entries.add_up(&mut counted);
        let [last, recent, lately] = &counted;
        looked.edges.push(Arc::clone(edge));
        around.add(edge, lately);
        if entries.has(1) {
            around.add_recent(edge, recent, recent_seconds);
        }
        if entries.has(0) {
            looked.last.push((Arc::clone(edge), Past::of(last, last_seconds, now)));
        }
        let has_names = edge.source != Workload::Other && edge.destination != Workload::Other;
        if has_names && symptoms::is_suspect(lately) {
            looked.suspects.push((edge, entries));
        }
    }
    looked
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
