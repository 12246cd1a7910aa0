//! What is kept of a flow, of an edge, and of `other`.

use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::TcpCounters;

use super::super::totals::{Counters, Glance, Totals};
use super::super::{Edge, Reporter};
use crate::enrich::objects::Seconds;

/// A flow between readings. Its counters are in the kernel's table only.
#[derive(Debug)]
pub(super) struct Flow {
    /// The number of its edge's account.
    pub account: usize,
    /// The last reading that found it.
    pub reading: u64,
    /// When it was last seen to have counted anything.
    pub quiet_since: Duration,
    /// What the reading under way has found, and what the one before it had.
    now: Glance,
    last: Glance,
}

impl Flow {
    /// New in the kernel's table.
    pub fn new(account: usize, now: Duration) -> Self {
        Self { account, reading: 0, quiet_since: now, now: Glance::default(), last: Glance::default() }
    }

    /// Takes a part of it.
    pub fn count(&mut self, reading: u64, counters: &impl Counters) {
        if self.reading != reading {
            (self.reading, self.now) = (reading, Glance::default());
        }
        self.now.add(counters.glance());
    }

    /// All parts were taken.
    pub fn close(&mut self, now: Duration) {
        if self.now != self.last {
            (self.last, self.quiet_since) = (self.now, now);
        }
    }

    /// A part was removed: what comes back under this key is new.
    pub fn retire(&mut self, counters: &impl Counters) {
        self.last.subtract(counters.glance());
    }

    /// Its open connections. Less than none when the table had no room for the flow while they were opened: `other` has
    /// them.
    pub fn open(&self) -> i64 {
        self.last.open
    }

    /// True when this is what the last reading found.
    pub fn is_as_read(&self, counters: &impl Counters) -> bool {
        self.last == counters.glance()
    }
}

/// Whether an edge has series of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// That is yet to be decided.
    New,
    /// It has.
    Shown,
    /// It is folded into `other`.
    Folded,
}

/// An edge's share.
#[derive(Debug)]
pub(super) struct Account {
    /// Whose it is.
    pub edge: Arc<Edge>,
    /// When it began, as [`crate::enrich::Names::now`] has it.
    pub began: Seconds,
    /// When the last flow left it for an edge of another name, by the clock of readings. What it has counted was right,
    /// and stays for a while.
    pub left: Option<Duration>,
    /// What it shows; of a folded edge what its flows have counted.
    pub totals: Totals,
    /// What the totals begin from at each reading, without open connections; none for zero, and when it is folded.
    base: Option<Box<Totals>>,
    /// Whether it has series of its own.
    pub standing: Standing,
    /// True when `other` has its histograms, while it may show the rest itself.
    pub is_plain: bool,
    /// The most series that it ever made: that many are held free, so that edges do not come and go with each other's
    /// growth.
    pub room: usize,
    /// How many of those are without histograms.
    pub plain_room: usize,
    /// The last reading that found it.
    pub reading: u64,
    /// The weight of all its flows.
    pub weight: u64,
    /// That of those removed.
    retired_weight: u64,
}

impl Account {
    /// Of a new edge.
    pub const fn new(edge: Arc<Edge>, began: Seconds) -> Self {
        Self {
            edge,
            began,
            left: None,
            totals: Totals::ZERO,
            base: None,
            standing: Standing::New,
            is_plain: false,
            room: 0,
            plain_room: 0,
            reading: 0,
            weight: 0,
            retired_weight: 0,
        }
    }

    /// Which `other` it is folded into.
    pub fn reporter(&self) -> usize {
        self.edge.reporter as usize
    }

    /// Begins a reading, unless it has begun.
    pub fn begin(&mut self, reading: u64) {
        if self.reading != reading {
            self.reading = reading;
            self.totals = self.base.as_deref().copied().unwrap_or(Totals::ZERO);
            self.weight = self.retired_weight;
        }
    }

    /// Adds a flow's counters in this reading.
    pub fn count(&mut self, reading: u64, counters: &impl Counters) {
        self.begin(reading);
        counters.add_to(&mut self.totals);
        self.weight = self.weight.saturating_add(counters.weight());
    }

    /// What it shows itself.
    pub fn shown(&self) -> Totals {
        if self.is_plain { self.totals.plain() } else { self.totals }
    }

    /// The part of what it has counted that `other` shows.
    pub fn shown_by_other(&self) -> Totals {
        self.part_of_other(&self.totals)
    }

    fn part_of_other(&self, totals: &Totals) -> Totals {
        match self.standing {
            Standing::Folded => *totals,
            _ if self.is_plain => totals.histograms(),
            _ => Totals::ZERO,
        }
    }

    /// Keeps what a flow had counted that will not be read again.
    pub fn retire(&mut self, counters: &impl Counters, other: &mut Other) {
        self.retired_weight = self.retired_weight.saturating_add(counters.weight());
        other.balance = other.balance.saturating_add(counters.glance().open);
        let mut counted = Totals::ZERO;
        counters.add_to(&mut counted);
        counted.tcp.open = 0;
        self.keep(&counted, other);
    }

    /// Adds to the base what was counted once for all, less the share of `other`, which is returned.
    fn keep(&mut self, counted: &Totals, other: &mut Other) -> Totals {
        let of_other = self.part_of_other(counted);
        other.base.add(&of_other);
        let mut own = *counted;
        own.add(&of_other.negative());
        if own != Totals::ZERO {
            self.base_mut().add(&own);
        }
        of_other
    }

    /// A flow counts for another edge from now on: what it has counted up to this reading, which has it in the totals,
    /// stays; its open connections go.
    pub fn is_left(&mut self, flow: &Totals, now: Duration, other: &mut Other) {
        let mut counted = *flow;
        let open = std::mem::take(&mut counted.tcp.open);
        let of_other = self.keep(&counted, other);
        self.totals.add(&of_other.negative());
        other.totals.add(&of_other);
        self.totals.tcp.open = self.totals.tcp.open.saturating_sub(open);
        self.left = Some(now);
    }

    /// A flow counted for another edge up to this reading: what it has counted is not this one's; its open connections
    /// are.
    pub fn is_joined(&mut self, flow: &Totals, reading: u64, other: &mut Other) {
        self.begin(reading);
        let mut counted = *flow;
        let open = std::mem::take(&mut counted.tcp.open);
        let of_other = self.keep(&counted.negative(), other);
        // Its totals would be the base and what the flow has counted: nothing, but for the share of `other`.
        self.totals.add(&of_other.negative());
        other.totals.add(&of_other);
        self.totals.tcp.open = self.totals.tcp.open.saturating_add(open);
    }

    /// Gives a flow away, with its past, in this reading. Returns what `other` shows of it.
    pub fn gives(&mut self, flow: &Totals) -> Totals {
        self.totals.add(&flow.negative());
        self.part_of_other(&Totals { tcp: TcpCounters { open: 0, ..flow.tcp }, ..*flow })
    }

    /// Takes a flow over, with its past, in this reading. What `other` has shown of it, and would show no more, stays
    /// there: no series goes backwards.
    pub fn takes(&mut self, flow: &Totals, mut of_other: Totals, reading: u64, other: &mut Other) {
        self.begin(reading);
        self.totals.add(flow);
        if self.standing == Standing::Folded || (self.is_plain && of_other == of_other.histograms()) {
            return;
        }
        if self.is_plain {
            of_other = of_other.plain();
        }
        if of_other != Totals::ZERO {
            other.base.add(&of_other);
            other.totals.add(&of_other);
            self.totals.add(&of_other.negative());
            self.base_mut().add(&of_other.negative());
        }
    }

    /// Gives up its histograms: `other` shows what they showed.
    pub fn fold_histograms(&mut self, other: &mut Other) {
        if let Some(base) = &mut self.base {
            let histograms = base.histograms();
            other.base.add(&histograms);
            base.add(&histograms.negative());
        }
        other.totals.add(&self.totals.histograms());
        self.is_plain = true;
    }

    /// Ends that: what they have counted so far stays in `other`, whose totals have it already.
    pub fn unfold_histograms(&mut self, other: &mut Other) {
        let histograms = self.totals.histograms();
        other.base.add(&histograms);
        self.base_mut().add(&histograms.negative());
        self.totals = self.totals.plain();
        self.is_plain = false;
    }

    /// Gives up its series: `other` shows what it showed.
    pub fn fold(&mut self, other: &mut Other) {
        if !self.is_plain {
            self.fold_histograms(other);
        }
        if let Some(base) = self.base.take() {
            other.base.add(&base);
        }
        other.totals.add(&self.totals.plain());
        self.standing = Standing::Folded;
    }

    /// Ends being folded, but for the histograms: what it has counted so far stays in `other`, whose totals have it
    /// already; its connections that are open now do not.
    pub fn unfold(&mut self, other: &mut Other) {
        let open = std::mem::take(&mut self.totals.tcp.open);
        other.totals.tcp.open = other.totals.tcp.open.saturating_sub(open);
        let plain = self.totals.plain();
        other.base.add(&plain);
        self.base = Some(Box::new(plain.negative()));
        self.totals = self.totals.histograms();
        self.totals.tcp.open = open;
        self.standing = Standing::New;
        self.is_plain = true;
    }

    fn base_mut(&mut self) -> &mut Totals {
        self.base.get_or_insert_with(|| Box::new(Totals::ZERO))
    }

    /// Takes over another; both are folded, or neither is, and so are their histograms.
    pub fn merge(&mut self, from: Self) {
        self.totals.add(&from.totals);
        if let Some(from) = from.base {
            match &mut self.base {
                Some(base) => base.add(&from),
                None => self.base = Some(from),
            }
        }
        if from.standing == Standing::Shown {
            self.standing = Standing::Shown;
        }
        self.room = self.room.max(from.room);
        self.plain_room = self.plain_room.max(from.plain_room);
        self.began = self.began.min(from.began);
        self.left = self.left.max(from.left);
        self.weight = self.weight.saturating_add(from.weight);
        self.retired_weight = self.retired_weight.saturating_add(from.retired_weight);
    }
}

/// What has no series of its own at one end: folded edges, edges that were folded, and what the kernel's full table had
/// no room for.
#[derive(Debug)]
pub(super) struct Other {
    /// Its edge.
    pub edge: Edge,
    /// What it shows.
    pub totals: Totals,
    /// What the totals begin from at each reading, without open connections.
    base: Totals,
    /// What flows that are gone had open: less than none when their connections were opened here.
    balance: i64,
}

impl Other {
    /// Of one end.
    pub fn new(reporter: Reporter) -> Self {
        Self { edge: Edge::other(reporter), totals: Totals::ZERO, base: Totals::ZERO, balance: 0 }
    }

    /// Begins a reading.
    pub fn begin(&mut self) {
        self.totals = self.base;
    }

    /// All that the kernel's full table had no room for is in the totals, and what flows have less than none open.
    pub fn close(&mut self) {
        self.totals.tcp.open = self.totals.tcp.open.saturating_add(self.balance).max(0);
    }

    /// True when it has nothing to show.
    pub fn is_empty(&self) -> bool {
        self.totals == Totals::ZERO
    }
}
