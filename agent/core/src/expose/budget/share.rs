//! What was decided on one edge.

use std::sync::Arc;
use std::time::Duration;

use netcause_common::dns::DnsCounters;
use netcause_common::flow::TcpCounters;

use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, MASKS, Packed, Reporter, Via};
use crate::seen::Moment;

/// Whether `other` shows what an edge counts: all of it, its histograms, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fold {
    #[default]
    Nothing,
    Histograms,
    All,
}

impl Fold {
    /// The part of these totals that `other` shows.
    pub fn of(self, totals: &Totals) -> Totals {
        match self {
            Self::Nothing => Totals::ZERO,
            Self::Histograms => totals.histograms(),
            Self::All => *totals,
        }
    }

    /// The part that the edge shows itself.
    pub fn rest(self, totals: &Totals) -> Totals {
        match self {
            Self::Nothing => *totals,
            Self::Histograms => totals.plain(),
            Self::All => Totals::ZERO,
        }
    }
}

/// What was decided on an edge.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub reporter: usize,
    /// `None` until it is decided for the first time.
    pub fold: Option<Fold>,
    /// The part of its totals that other rows show; below zero where its row shows what is another edge's now.
    pub offset: Packed<Totals>,
    /// The most series that it ever made: that many are held free, so that edges do not come and go with each other's
    /// growth.
    pub room: usize,
    /// How many of those are without histograms.
    pub plain_room: usize,
    /// Which counters were not zero when that was worked out: what an edge costs depends on nothing else.
    pub present: [u64; MASKS],
    /// The edge that its row is named after; `None` until it is decided on.
    pub name: Option<Arc<Edge>>,
    /// When its row was first shown with a count; `None` while it has none.
    pub began: Option<Duration>,
}

impl Share {
    /// What is counted and not shown by other rows.
    pub fn own(&self, totals: &Totals) -> Totals {
        let mut own = *totals;
        self.offset.subtract_from(&mut own);
        own
    }

    /// The name of its row and when that began, if a scraper may have got it by value.
    pub fn seen(&self, totals: &Totals, moment: &Moment) -> Option<(&Arc<Edge>, Duration)> {
        let (name, began) = (self.name.as_ref()?, self.began?);
        // What is shown in one row with other edges has been seen with them.
        let is_shared = || matches!(name.via, Via::OwnSidecar(_)) || is_dns_server(name, totals);
        (moment.has_seen(began) || moment.is_scraped() && is_shared()).then_some((name, began))
    }

    /// The series that are held free for it.
    pub fn room_of(&self, fold: Fold) -> usize {
        match fold {
            Fold::Nothing => self.room,
            Fold::Histograms => self.plain_room,
            Fold::All => 0,
        }
    }
}

fn is_dns_server(edge: &Edge, totals: &Totals) -> bool {
    edge.reporter == Reporter::Destination && totals.dns != DnsCounters::ZERO
}

pub(super) fn without_open(totals: &Totals) -> Totals {
    Totals { tcp: TcpCounters { open: 0, ..totals.tcp }, ..*totals }
}
