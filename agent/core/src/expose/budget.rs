//! The series budget: which edges have series of their own, and which of those have histograms.
//!
//! The model keeps every edge; Prometheus has to store what is shown. When the budget is used up, the smallest edges give
//! their histograms to `other`, five sixths of their series, and then everything. Small is by [`Totals::weight`].
//!
//! Prometheus adds up what series grow by, so every count is growth of one row once, and no series goes backwards:
//!
//! - an edge shows its totals less its *offset*, which other rows show;
//! - an edge that is folded is *frozen*: its row is shown on without counting (`held.rs`) until every scraper has its last value, and
//!   `other` shows what the edge counts from then on;
//! - an edge that gets its series back goes on where it was frozen while it is still shown, and else begins at zero. What it
//!   counted meanwhile is its offset from then on, and `other` keeps it;
//! - a past that belongs to an edge of another name now stays in the row that showed it, which is frozen when its edge ends;
//! - what no scraper has got by value ([`crate::seen`]) moves: to `other`, or to the name that was right all the time.
//!
//! Frozen rows have their place in the budget. An edge that is new or folded waits for it; series that an edge has more of than
//! before end the oldest.
//!
//! Open connections are a gauge, and no offset has any.

mod held;
mod round;
mod share;

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::held::Held;
use self::round::Round;
use self::share::{Fold, Share, without_open};
use crate::aggregate::model::{Change, EdgeId, Model};
use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, Reporter};
use crate::seen::Moment;

/// Both ends.
const REPORTERS: [Reporter; 2] = [Reporter::Source, Reporter::Destination];

/// The budget, and what was decided last.
#[derive(Debug)]
pub struct Budget {
    max_series: usize,
    edges: HashMap<EdgeId, Share>,
    held: Held,
    /// What `other` shows for good, by reporter.
    kept: [Totals; 2],
    others: [Arc<Edge>; 2],
    series: usize,
    folded: u64,
}

/// An edge as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The edge; [`Edge::other`] takes all that have no series of their own.
    pub edge: Arc<Edge>,
    /// Its totals. All but the open connections only grow.
    pub totals: Totals,
    /// Whether it counts: `other` counts for one that is frozen.
    pub counts: bool,
}

/// How much of the budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Series that the edges have, `other` included.
    pub series: usize,
    /// Series that they may have.
    pub max_series: usize,
    /// Times an edge was folded into `other`.
    pub folded: u64,
    /// Rows that counted no more and gave up their place before every scraper had their last value.
    pub cut_short: u64,
}

impl Budget {
    /// So many series at most, but for those of `other`.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            edges: HashMap::new(),
            held: Held::default(),
            kept: [Totals::ZERO; 2],
            others: REPORTERS.map(|reporter| Arc::new(Edge::other(reporter))),
            series: 0,
            folded: 0,
        }
    }

    /// How much is used.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            series: self.series,
            max_series: self.max_series,
            folded: self.folded,
            cut_short: self.held.cut_short(),
        }
    }

    /// Takes what has happened to edges. To be called after each reading of the kernel's tables, in order.
    pub fn follow(&mut self, changes: Vec<Change>, moment: &Moment) {
        for change in changes {
            match change {
                Change::Moved { from, to, past } => self.moved(from, to, &past, moment),
                Change::Merged { from, into, past, own } => {
                    self.merged(from, into, &past, &own.unpack(), moment);
                }
                Change::Ended { edge, totals } => self.ended(edge, &totals.unpack(), moment),
            }
        }
    }

    /// A past goes from one edge to another. It stays where it was shown: in the old edge's row if a scraper has got it, and in
    /// `other`.
    fn moved(&mut self, from: EdgeId, to: EdgeId, past: &Totals, moment: &Moment) {
        let Some(old) = self.edges.get_mut(&from) else { return };
        let (fold, reporter) = (old.fold.unwrap_or_default(), old.reporter);
        // The part that other rows show.
        let mut kept = *past;
        if fold != Fold::All && old.seen(past, moment).is_none() {
            kept = least(past, &old.offset.unpack());
        }
        old.offset.add(&kept.negative());
        let new = self.edges.entry(to).or_insert_with(|| Share { reporter, ..Share::default() });
        new.offset.add(&kept);
        let mut rest = *past;
        rest.add(&kept.negative());
        // Of an edge that is not decided on yet, that may be too much: it begins at zero.
        let stays = new.fold.unwrap_or_default().rest(&fold.of(&rest));
        self.kept[reporter].add(&stays);
        new.offset.add(&stays);
    }

    /// An edge becomes a part of another one. When one of both has series, what they are together has.
    fn merged(&mut self, from: EdgeId, into: EdgeId, past: &Totals, own: &Totals, moment: &Moment) {
        let folds = [from, into].map(|edge| self.edges.get(&edge).and_then(|share| share.fold));
        if let [Some(old), Some(new)] = folds
            && old < new
            && let Some(share) = self.edges.get_mut(&into)
        {
            let stays = without_open(&old.rest(&new.of(&share.own(own))));
            self.kept[share.reporter].add(&stays);
            share.offset.add(&stays);
            share.fold = Some(old);
        }
        self.moved(from, into, past, moment);
        let Some(Share { fold, room, plain_room, .. }) = self.edges.get(&from) else { return };
        let (fold, room, plain_room) = (*fold, *room, *plain_room);
        if let Some(share) = self.edges.get_mut(&into) {
            share.room = share.room.max(room);
            share.plain_room = share.plain_room.max(plain_room);
            share.fold = share.fold.or(fold);
        }
        // What is left is what other edges' rows do not show.
        self.ended(from, &Totals::ZERO, moment);
    }

    fn ended(&mut self, edge: EdgeId, totals: &Totals, moment: &Moment) {
        let Some(share) = self.edges.remove(&edge) else { return };
        let own = without_open(&share.own(totals));
        let fold = share.fold.unwrap_or_default();
        self.kept[share.reporter].add(&fold.of(&own));
        // What scrapers have got as 0 only is shown to them, too.
        if let (Some(name), Some(began), true) = (&share.name, share.began, moment.is_scraped()) {
            self.held.hold(name, &fold.rest(&own), began, moment.now);
        }
    }

    /// The share of an edge. If that has another name than before, what a scraper has got stays under the old one.
    fn share(&mut self, id: EdgeId, edge: &Arc<Edge>, totals: &Totals, moment: &Moment) -> &mut Share {
        let reporter = edge.reporter as usize;
        let share = match self.edges.entry(id) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(new) => new.insert(Share { reporter, ..Share::default() }),
        };
        if share.name.as_ref() == Some(edge) {
            return share;
        }
        if let Some((name, began)) = share.seen(totals, moment) {
            let (fold, own) = (share.fold.unwrap_or_default(), without_open(&share.own(totals)));
            self.kept[reporter].add(&fold.of(&own));
            self.held.hold(name, &fold.rest(&own), began, moment.now);
            share.offset.add(&own);
        }
        (share.name, share.began) = (Some(Arc::clone(edge)), None);
        share
    }

    /// Decides on every edge and returns what is shown: edges, then rows that count no more, then `other` of each end that has any.
    ///
    /// `cost` says how many series an edge's totals make; never fewer when a counter has grown.
    pub fn share_out(
        &mut self,
        model: &Model,
        moment: &Moment,
        cost: impl Fn(&Edge, &Totals) -> usize,
    ) -> Vec<Shown> {
        let mut round = Round::begin(self, model, moment, &cost);
        round.decide(self);
        let others = round.others;
        let mut shown = Vec::new();
        for (id, entry) in model.edges() {
            let Some(share) = self.edges.get_mut(&id) else { continue };
            let fold = share.fold.unwrap_or_default();
            if fold < Fold::All {
                let edge = entry.edge();
                let frozen = if self.held.is_empty() { None } else { self.held.of(edge) };
                let mut totals = fold.rest(&share.own(&entry.totals().unpack()));
                if share.began.is_none() && without_open(&totals) != Totals::ZERO {
                    share.began = Some(self.held.began(edge, moment.now));
                }
                frozen.iter().for_each(|frozen| totals.add(frozen));
                shown.push(Shown { edge: Arc::clone(edge), totals, counts: true });
            }
        }
        if !self.held.is_empty() {
            let is_shown: HashSet<_> = shown.iter().map(|shown| Arc::clone(&shown.edge)).collect();
            let frozen = self.held.all().filter(|(edge, _)| !is_shown.contains(*edge));
            shown.extend(frozen.map(|(edge, totals)| Shown {
                edge: Arc::clone(edge),
                totals,
                counts: false,
            }));
        }
        let others = self.others.iter().zip(others).filter(|(_, totals)| *totals != Totals::ZERO);
        shown.extend(others.map(|(edge, totals)| Shown { edge: Arc::clone(edge), totals, counts: true }));
        self.series = shown.iter().map(|shown| cost(&shown.edge, &shown.totals)).sum();
        shown
    }

    /// Edges that have series go on where their row is still shown.
    fn resume(&mut self) {
        if self.held.is_empty() {
            return;
        }
        for share in self.edges.values_mut() {
            let fold = share.fold.unwrap_or(Fold::All);
            if let Some(name) = &share.name
                && let Some((past, began)) = self.held.take(name, |totals| fold.rest(totals))
            {
                share.offset.add(&past.negative());
                share.began = Some(began);
            }
        }
    }

    /// What `other` shows beside folded edges.
    fn others(&self, model: &Model) -> [Totals; 2] {
        REPORTERS.map(|reporter| {
            let mut totals = model.overflow(reporter);
            totals.add(&self.kept[reporter as usize]);
            totals
        })
    }
}

/// The smaller of each two counters; zero where the second is below that.
fn least(a: &Totals, b: &Totals) -> Totals {
    let mut least = *a;
    let words = bytemuck::cast_slice_mut::<_, u64>(std::slice::from_mut(&mut least));
    for (word, other) in words.iter_mut().zip(bytemuck::cast_slice::<_, u64>(std::slice::from_ref(b))) {
        *word = if other.cast_signed() < 0 { 0 } else { (*word).min(*other) };
    }
    least
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scraped;
#[cfg(test)]
mod tests;
