//! The series budget: which edges have series of their own, and which of those have histograms.
//!
//! The model keeps every edge; Prometheus has to store what is shown. When the budget is used up, the smallest edges give
//! their histograms to `other`, five sixths of their series, and then everything. Small is by [`Totals::weight`].
//!
//! No series goes backwards, and all of them together are what was counted, less what edges showed that have ended:
//!
//! - an edge shows its totals less its *offset*, which `other` shows for good;
//! - `other` shows what the full tables had no room for, the totals less the offset of all edges that are folded, and what it
//!   keeps for good;
//! - an edge that gets its series back begins at zero: its past is its offset from then on, and `other` keeps it.
//!
//! Open connections are a gauge, and no offset has any.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aggregate::model::{Change, EdgeId, Model};
use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, Packed, Reporter};
use netcause_common::flow::TcpCounters;

/// An edge that has series already weighs so much more than one that has none: two of about the same weight do not take
/// turns.
const HYSTERESIS: u64 = 2;
/// Both ends.
const REPORTERS: [Reporter; 2] = [Reporter::Source, Reporter::Destination];

/// The budget, and what was decided last.
#[derive(Debug)]
pub struct Budget {
    max_series: usize,
    edges: HashMap<EdgeId, Share>,
    /// What `other` shows for good, by reporter.
    kept: [Totals; 2],
    others: [Arc<Edge>; 2],
    series: usize,
    folded: u64,
}

/// Whether `other` shows an edge's share: all of it, its histograms, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    #[default]
    Nothing,
    Histograms,
    All,
}

impl Fold {
    /// The part of these totals that `other` shows.
    fn of(self, totals: &Totals) -> Totals {
        match self {
            Self::Nothing => Totals::ZERO,
            Self::Histograms => totals.histograms(),
            Self::All => *totals,
        }
    }

    /// The part that the edge shows itself.
    fn rest(self, totals: &Totals) -> Totals {
        match self {
            Self::Nothing => *totals,
            Self::Histograms => totals.plain(),
            Self::All => Totals::ZERO,
        }
    }
}

/// What was decided on an edge.
#[derive(Debug, Default)]
struct Share {
    reporter: usize,
    /// `None` until it is decided for the first time.
    fold: Option<Fold>,
    /// The part of its totals that `other` keeps for good.
    offset: Packed<Totals>,
    /// The most series that it ever made: that many are held free, so that edges do not come and go with each other's
    /// growth.
    room: usize,
    /// How many of those are without histograms.
    plain_room: usize,
    /// Which counters were not zero when that was worked out: what an edge costs depends on nothing else.
    present: [u64; 3],
}

impl Share {
    /// What is counted and not kept by `other`.
    fn own(&self, totals: &Totals) -> Totals {
        let mut own = *totals;
        self.offset.subtract_from(&mut own);
        own
    }
}

/// An edge as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The edge; [`Edge::other`] takes all that have no series of their own.
    pub edge: Arc<Edge>,
    /// Its totals. All but the open connections only grow.
    pub totals: Totals,
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
}

impl Budget {
    /// So many series at most, but for those of `other`.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            edges: HashMap::new(),
            kept: [Totals::ZERO; 2],
            others: REPORTERS.map(|reporter| Arc::new(Edge::other(reporter))),
            series: 0,
            folded: 0,
        }
    }

    /// How much is used.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { series: self.series, max_series: self.max_series, folded: self.folded }
    }

    /// Takes what has happened to edges. To be called after each reading of the kernel's tables, in order.
    pub fn follow(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Moved { from, to, past } => self.moved(from, to, &past),
                Change::Merged { from, into, past, own } => self.merged(from, into, &past, &own.unpack()),
                Change::Ended { edge, totals } => self.ended(edge, &totals.unpack()),
            }
        }
    }

    /// A past goes from one edge to another, and what `other` shows of it stays there.
    fn moved(&mut self, from: EdgeId, to: EdgeId, past: &Totals) {
        let Some(old) = self.edges.get_mut(&from) else { return };
        let (fold, reporter) = (old.fold.unwrap_or_default(), old.reporter);
        let kept = least(past, &old.offset.unpack());
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
    fn merged(&mut self, from: EdgeId, into: EdgeId, past: &Totals, own: &Totals) {
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
        self.moved(from, into, past);
        if let Some(old) = self.edges.remove(&from)
            && let Some(share) = self.edges.get_mut(&into)
        {
            share.room = share.room.max(old.room);
            share.plain_room = share.plain_room.max(old.plain_room);
            share.fold = share.fold.or(old.fold);
        }
    }

    fn ended(&mut self, edge: EdgeId, totals: &Totals) {
        let Some(share) = self.edges.remove(&edge) else { return };
        let own = without_open(&share.own(totals));
        self.kept[share.reporter].add(&share.fold.unwrap_or_default().of(&own));
    }

    /// Decides on every edge and returns what is shown: edges in order, then `other` of each end that has any.
    ///
    /// `cost` says how many series an edge's totals make; never fewer when a counter has grown.
    pub fn share_out(&mut self, model: &Model, cost: impl Fn(&Edge, &Totals) -> usize) -> Vec<Shown> {
        let mut round = Round::begin(self, model, &cost);
        let plain = round.fold_smallest(self, Fold::Histograms);
        let folded = round.fold_smallest(self, Fold::All);
        for (rank, (_, id)) in round.by_weight.iter().enumerate().skip(folded) {
            let fold = if rank < plain { Fold::Histograms } else { Fold::Nothing };
            round.others = self.unfold(*id, model, fold, round.others);
        }
        let mut shown = Vec::new();
        for (id, entry) in model.edges() {
            let Some(share) = self.edges.get(&id) else { continue };
            let fold = share.fold.unwrap_or_default();
            if fold < Fold::All {
                let totals = fold.rest(&share.own(&entry.totals().unpack()));
                shown.push(Shown { edge: Arc::clone(entry.edge()), totals });
            }
        }
        let others = self.others.iter().zip(round.others).filter(|(_, totals)| *totals != Totals::ZERO);
        shown.extend(others.map(|(edge, totals)| Shown { edge: Arc::clone(edge), totals }));
        self.series = shown.iter().map(|shown| cost(&shown.edge, &shown.totals)).sum();
        shown
    }

    /// Ends that `other` shows an edge's share, down to `fold`. What it has counted so far stays in `other`, whose totals
    /// have it already; its connections that are open now do not.
    fn unfold(&mut self, id: EdgeId, model: &Model, fold: Fold, mut others: [Totals; 2]) -> [Totals; 2] {
        let (Some(share), Some(entry)) = (self.edges.get_mut(&id), model.entry(id)) else { return others };
        let before = share.fold.unwrap_or_default();
        if before > fold {
            let own = share.own(&entry.totals().unpack());
            // What `other` has shown until now and shows for good.
            let stays = without_open(&fold.rest(&before.of(&own)));
            self.kept[share.reporter].add(&stays);
            share.offset.add(&stays);
            if before == Fold::All {
                others[share.reporter].tcp.open -= own.tcp.open;
            }
        }
        share.fold = Some(before.min(fold));
        others
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

/// One round of decisions.
struct Round<'a, C> {
    model: &'a Model,
    cost: &'a C,
    /// Edges by weight, the smallest first when not all have room.
    by_weight: Vec<(u64, EdgeId)>,
    /// The room of all edges that are not folded in this round.
    wanted: usize,
    others: [Totals; 2],
    max_series: usize,
}

impl<'a, C: Fn(&Edge, &Totals) -> usize> Round<'a, C> {
    fn begin(budget: &mut Budget, model: &'a Model, cost: &'a C) -> Self {
        let others = budget.others(model);
        let max_series = budget.max_series;
        let mut round = Self { model, cost, by_weight: Vec::new(), wanted: 0, others, max_series };
        for (id, entry) in model.edges() {
            let edge = entry.edge();
            let reporter = edge.reporter as usize;
            let share = budget.edges.entry(id).or_insert_with(|| Share { reporter, ..Share::default() });
            let totals = entry.totals().unpack();
            let own = share.own(&totals);
            let present = entry.totals().present();
            if share.present != present || !share.offset.is_zero() {
                share.present = present;
                share.room = share.room.max(cost(edge, &own));
                share.plain_room = share.plain_room.max(cost(edge, &own.plain()));
            }
            round.wanted += share.room;
            let fold = share.fold.unwrap_or_default();
            if fold != Fold::Nothing {
                round.others[reporter].add(&fold.of(&own));
            }
            let has_series = share.fold.is_some_and(|fold| fold < Fold::All);
            let factor = if has_series { HYSTERESIS } else { 1 };
            round.by_weight.push((totals.weight().saturating_mul(factor), id));
        }
        if !round.has_room() {
            round.by_weight.sort_unstable();
        }
        round
    }

    fn has_room(&self) -> bool {
        let cost_of = |(reporter, totals): (Reporter, &Totals)| {
            if *totals == Totals::ZERO { 0 } else { (self.cost)(&Edge::other(reporter), totals) }
        };
        let of_others: usize = REPORTERS.into_iter().zip(&self.others).map(cost_of).sum();
        self.wanted + of_others <= self.max_series
    }

    /// Folds the smallest edges until the others have room; returns how many.
    fn fold_smallest(&mut self, budget: &mut Budget, fold: Fold) -> usize {
        let mut count = 0;
        while !self.has_room()
            && let Some((_, id)) = self.by_weight.get(count)
        {
            count += 1;
            let (Some(share), Some(entry)) = (budget.edges.get_mut(id), self.model.entry(*id)) else {
                continue;
            };
            self.wanted -= match fold {
                Fold::All => share.plain_room,
                _ => share.room - share.plain_room,
            };
            let before = share.fold.unwrap_or_default();
            if before < fold {
                let own = share.own(&entry.totals().unpack());
                // The part that the edge has shown until now.
                self.others[share.reporter].add(&fold.of(&before.rest(&own)));
                share.fold = Some(fold);
                budget.folded += u64::from(fold == Fold::All);
            }
        }
        count
    }
}

/// The smaller of each two counters.
fn least(a: &Totals, b: &Totals) -> Totals {
    let mut least = *a;
    let words = bytemuck::cast_slice_mut::<_, u64>(std::slice::from_mut(&mut least));
    for (word, other) in words.iter_mut().zip(bytemuck::cast_slice::<_, u64>(std::slice::from_ref(b))) {
        *word = (*word).min(*other);
    }
    least
}

fn without_open(totals: &Totals) -> Totals {
    Totals { tcp: TcpCounters { open: 0, ..totals.tcp }, ..*totals }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
