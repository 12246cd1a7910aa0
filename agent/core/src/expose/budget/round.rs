//! One round of decisions: who has series, and who has room for more.

use std::collections::HashSet;

use super::share::{Fold, Share, without_open};
use super::{Budget, REPORTERS};
use crate::aggregate::model::{EdgeId, Model};
use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, Reporter};
use crate::seen::Moment;

/// An edge that has series already weighs so much more than one that has none: two of about the same weight do not take
/// turns.
const HYSTERESIS: u64 = 2;

/// One round of decisions.
pub(super) struct Round<'a, C> {
    model: &'a Model,
    moment: &'a Moment,
    cost: &'a C,
    /// Edges by weight, the smallest first when not all have room.
    by_weight: Vec<(u64, EdgeId)>,
    /// Edges that are decided on for the first time.
    new: HashSet<EdgeId>,
    /// The room of all edges that are not folded in this round.
    wanted: usize,
    /// What `other` shows, by reporter.
    pub others: [Totals; 2],
    max_series: usize,
}

impl<'a, C: Fn(&Edge, &Totals) -> usize> Round<'a, C> {
    pub fn begin(budget: &mut Budget, model: &'a Model, moment: &'a Moment, cost: &'a C) -> Self {
        let max_series = budget.max_series;
        let (by_weight, new, wanted, others) = (Vec::new(), HashSet::new(), 0, [Totals::ZERO; 2]);
        let mut round = Self { model, moment, cost, by_weight, new, wanted, others, max_series };
        for (id, entry) in model.edges() {
            let edge = entry.edge();
            let totals = entry.totals().unpack();
            let frozen = if budget.held.is_empty() { None } else { budget.held.of(edge) };
            let share = budget.share(id, edge, &totals, moment);
            let own = share.own(&totals);
            let present = entry.totals().present();
            if share.present != present || !share.offset.is_zero() || frozen.is_some() {
                // If its row is still shown, it goes on there.
                let mut row = own;
                frozen.iter().for_each(|frozen| row.add(frozen));
                share.present = present;
                share.room = share.room.max(cost(edge, &row));
                share.plain_room = share.plain_room.max(cost(edge, &row.plain()));
            }
            round.wanted += share.room;
            if share.fold.is_none() {
                round.new.insert(id);
            }
            let fold = share.fold.unwrap_or_default();
            if fold != Fold::Nothing {
                round.others[share.reporter].add(&fold.of(&own));
            }
            let has_series = share.fold.is_some_and(|fold| fold < Fold::All);
            let factor = if has_series { HYSTERESIS } else { 1 };
            round.by_weight.push((totals.weight().saturating_mul(factor), id));
        }
        for (to, more) in round.others.iter_mut().zip(budget.others(model)) {
            to.add(&more);
        }
        if !round.has_room() || !budget.held.is_empty() {
            round.by_weight.sort_unstable();
        }
        round
    }

    /// Decides on every edge.
    pub fn decide(&mut self, budget: &mut Budget) {
        let plain = self.fold_smallest(budget, Fold::Histograms);
        let folded = self.fold_smallest(budget, Fold::All);
        let mut room = self.spare_room(budget);
        for rank in (folded..self.by_weight.len()).rev() {
            let Some((_, id)) = self.by_weight.get(rank).copied() else { continue };
            let wanted = if rank < plain { Fold::Histograms } else { Fold::Nothing };
            let fold = match (&mut room, budget.edges.get(&id)) {
                (Some(room), Some(share)) => {
                    let before = share.fold.filter(|_| !self.new.contains(&id)).unwrap_or(Fold::All);
                    // Its own row that is still shown has room already.
                    let held = share.name.as_ref().and_then(|name| Some((name, budget.held.of(name)?)));
                    let held = held.map_or(0, |(name, totals)| (self.cost)(name, &totals));
                    within(share, before, wanted, held, room)
                }
                _ => wanted,
            };
            self.fold(budget, id, fold);
            self.unfold(budget, id, fold);
        }
        self.new.clear();
        budget.resume();
        budget.held.end(self.moment);
        // What edges with series have more of by now is not kept waiting.
        if budget.held.is_empty() {
            return;
        }
        let mut used = self.used(budget);
        while used > self.max_series
            && let Some((edge, totals)) = budget.held.end_oldest(self.moment.now)
        {
            used = used.saturating_sub((self.cost)(&edge, &totals));
        }
    }

    fn has_room(&self) -> bool {
        self.wanted + self.of_others() <= self.max_series
    }

    fn of_others(&self) -> usize {
        let cost_of = |(reporter, totals): (Reporter, &Totals)| {
            if *totals == Totals::ZERO { 0 } else { (self.cost)(&Edge::other(reporter), totals) }
        };
        REPORTERS.into_iter().zip(&self.others).map(cost_of).sum()
    }

    /// The series that are in use or held free, but for those of new edges.
    fn used(&self, budget: &Budget) -> usize {
        let is_old = |id: &EdgeId| !self.new.contains(id);
        let room = |(_, share): (_, &Share)| share.fold.map_or(0, |fold| share.room_of(fold));
        let shown: usize = budget.edges.iter().filter(|(id, _)| is_old(id)).map(room).sum();
        let held: usize = budget.held.all().map(|(edge, totals)| (self.cost)(edge, &totals)).sum();
        shown + held + self.of_others()
    }

    /// The room that is left beside rows that count no more; `None` when there are none: then all that is wanted has room.
    fn spare_room(&self, budget: &Budget) -> Option<usize> {
        (!budget.held.is_empty()).then(|| self.max_series.saturating_sub(self.used(budget)))
    }

    /// Folds the smallest edges until the others have room; returns how many.
    fn fold_smallest(&mut self, budget: &mut Budget, fold: Fold) -> usize {
        let mut count = 0;
        while !self.has_room()
            && let Some((_, id)) = self.by_weight.get(count).copied()
        {
            count += 1;
            let Some(share) = budget.edges.get(&id) else { continue };
            self.wanted -= match fold {
                Fold::All => share.plain_room,
                _ => share.room - share.plain_room,
            };
            self.fold(budget, id, fold);
        }
        count
    }

    /// Lets `other` show what an edge counts, at least up to `fold`. What a scraper has got of its row stays there.
    fn fold(&mut self, budget: &mut Budget, id: EdgeId, fold: Fold) {
        let (Some(share), Some(entry)) = (budget.edges.get_mut(&id), self.model.entry(id)) else { return };
        let before = share.fold.unwrap_or_default();
        if before >= fold {
            return;
        }
        let totals = entry.totals().unpack();
        // The part that the edge has shown until now.
        let mut moves = fold.of(&before.rest(&share.own(&totals)));
        if let Some((name, began)) = share.seen(&totals, self.moment) {
            let stays = without_open(&moves);
            budget.held.hold(name, &stays, began, self.moment.now);
            share.offset.add(&stays);
            moves.add(&stays.negative());
        }
        self.others[share.reporter].add(&moves);
        share.fold = Some(fold);
        if fold == Fold::All {
            share.began = None;
            budget.folded += 1;
        }
    }

    /// Ends that `other` shows what an edge counts, down to `fold`. What it has counted so far stays in `other`, whose totals
    /// have it already; its connections that are open now do not.
    fn unfold(&mut self, budget: &mut Budget, id: EdgeId, fold: Fold) {
        let (Some(share), Some(entry)) = (budget.edges.get_mut(&id), self.model.entry(id)) else { return };
        let before = share.fold.unwrap_or_default();
        if before > fold {
            let own = share.own(&entry.totals().unpack());
            // What `other` has shown until now and shows for good.
            let stays = without_open(&fold.rest(&before.of(&own)));
            budget.kept[share.reporter].add(&stays);
            share.offset.add(&stays);
            if before == Fold::All {
                self.others[share.reporter].tcp.open -= own.tcp.open;
            }
        }
        share.fold = Some(before.min(fold));
    }
}

/// How far an edge is folded that has so many series in a frozen row. Takes what it needs of the room that is left.
fn within(share: &Share, before: Fold, wanted: Fold, held: usize, room: &mut usize) -> Fold {
    let has = share.room_of(before) + held;
    for fold in [Fold::Nothing, Fold::Histograms] {
        let needs = share.room_of(fold).saturating_sub(has);
        if fold >= wanted && fold < before && needs <= *room {
            *room -= needs;
            return fold;
        }
    }
    before.max(wanted)
}
