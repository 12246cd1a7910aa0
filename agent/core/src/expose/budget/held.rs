//! Rows that count no more and are still shown, so that every scraper gets their last growth.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, Packed};
use crate::seen::Moment;

/// What is shown in rows beyond what their edges show: all of it where there is no such edge, or its histograms.
#[derive(Debug, Default)]
pub(super) struct Held {
    rows: HashMap<Arc<Edge>, Row>,
    ended: HashMap<Arc<Edge>, Ended>,
    cut_short: u64,
}

/// A row that is not shown any more. To a scraper that has got no view without it yet, one that begins under its name now is
/// the same series, so that it gets that one by value at once.
#[derive(Debug)]
struct Ended {
    /// When the row began.
    began: Duration,
    /// When it ended.
    at: Duration,
}

#[derive(Debug)]
struct Row {
    totals: Packed<Totals>,
    /// When the row began.
    began: Duration,
    /// When it counted last.
    since: Duration,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Shows a part of a row on, without counting; open connections are not in it.
    pub fn hold(&mut self, edge: &Arc<Edge>, totals: &Totals, began: Duration, now: Duration) {
        if *totals == Totals::ZERO {
            return;
        }
        let new = || Row { totals: Packed::default(), began, since: now };
        let row = self.rows.entry(Arc::clone(edge)).or_insert_with(new);
        row.totals.add(totals);
        (row.began, row.since) = (row.began.min(began), now);
    }

    /// A row counts again: takes the part that its edge shows itself from now on, and when the row began.
    pub fn take(&mut self, edge: &Edge, part: impl Fn(&Totals) -> Totals) -> Option<(Totals, Duration)> {
        let row = self.rows.get_mut(edge)?;
        let (taken, began) = (part(&row.totals.unpack()), row.began);
        if taken == Totals::ZERO {
            return None;
        }
        row.totals.add(&taken.negative());
        if row.totals.is_zero() {
            self.rows.remove(edge);
        }
        Some((taken, began))
    }

    /// What a row shows beyond what its edge does.
    pub fn of(&self, edge: &Edge) -> Option<Totals> {
        Some(self.rows.get(edge)?.totals.unpack())
    }

    /// Ends rows that all scrapers have got, or that were shown long enough.
    pub fn end(&mut self, moment: &Moment) {
        self.ended.retain(|_, ended| !moment.is_over(ended.at));
        for (edge, row) in self.rows.extract_if(|_, row| moment.is_over(row.since)) {
            self.ended.insert(edge, Ended { began: row.began, at: moment.now });
        }
    }

    /// When a row began as scrapers see it that is first shown with a count now.
    pub fn began(&self, edge: &Edge, now: Duration) -> Duration {
        self.ended.get(edge).map_or(now, |ended| ended.began)
    }

    /// Ends the row that was held longest, and returns what it showed.
    pub fn end_oldest(&mut self, now: Duration) -> Option<(Arc<Edge>, Totals)> {
        let oldest = self.rows.iter().min_by_key(|(edge, row)| (row.since, *edge));
        let edge = oldest.map(|(edge, _)| Arc::clone(edge))?;
        let row = self.rows.remove(&edge)?;
        self.cut_short += 1;
        self.ended.insert(Arc::clone(&edge), Ended { began: row.began, at: now });
        Some((edge, row.totals.unpack()))
    }

    /// Rows that ended before their time.
    pub fn cut_short(&self) -> u64 {
        self.cut_short
    }

    pub fn all(&self) -> impl Iterator<Item = (&Arc<Edge>, Totals)> {
        self.rows.iter().map(|(edge, row)| (edge, row.totals.unpack()))
    }
}
