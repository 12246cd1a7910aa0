//! What a flow has counted since it was read last.
//!
//! The kernel's tables hold totals. Everything behind them works on differences: a difference belongs to the edge that
//! has the flow's name at that time, whatever the flow is called later.

use std::collections::HashMap;

use netcause_common::flow::FlowKey;

use super::packed::Packed;
use super::totals::{Counters, Totals};

/// The last counters of each flow of one table.
#[derive(Debug)]
pub struct Deltas<C> {
    last: HashMap<FlowKey, Packed<C>>,
}

impl<C> Default for Deltas<C> {
    fn default() -> Self {
        Self { last: HashMap::new() }
    }
}

impl<C: Counters> Deltas<C> {
    /// What the flow has counted since the last call; `None` when that is nothing and the flow is known.
    ///
    /// A flow that the table shows twice in one pass, as a hash map does when an entry is removed meanwhile, counts once.
    pub fn update(&mut self, key: &FlowKey, now: &C) -> Option<Totals> {
        let mut delta = Totals::ZERO;
        if let Some(last) = self.last.get_mut(key) {
            let difference = difference(now, last)?;
            last.set(now);
            difference.add_to(&mut delta);
        } else {
            self.last.insert(*key, Packed::new(now));
            now.add_to(&mut delta);
        }
        Some(delta)
    }

    /// True when these are the counters that the last update had.
    #[must_use]
    pub fn is_current(&self, key: &FlowKey, now: &C) -> bool {
        self.last.get(key).is_some_and(|last| difference(now, last).is_none())
    }

    /// The entry was removed from the table: what comes under this key from now on begins at zero.
    pub fn forget(&mut self, key: &FlowKey) {
        self.last.remove(key);
    }
}

/// `now - before`, wrapping; `None` when they are equal.
fn difference<C: Counters>(now: &C, before: &Packed<C>) -> Option<C> {
    let mut difference = *now;
    before.subtract_from(&mut difference);
    super::totals::words(&difference).iter().any(|word| *word != 0).then_some(difference)
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::TcpCounters;

    use super::*;

    #[test]
    fn differences_add_up_to_what_was_counted() {
        let mut deltas = Deltas::default();
        let key = FlowKey { local: 1, ..FlowKey::default() };
        let counters = |sent_bytes, open| TcpCounters { sent_bytes, open, ..TcpCounters::ZERO };
        let mut sum = Totals::ZERO;
        for (now, is_news) in
            [(counters(0, 0), true), (counters(5, 2), true), (counters(5, 2), false), (counters(9, 1), true)]
        {
            let delta = deltas.update(&key, &now);
            assert_eq!(delta.is_some(), is_news);
            sum.add(&delta.unwrap_or(Totals::ZERO));
            assert_eq!(sum.tcp, now);
            assert!(
                deltas.is_current(&key, &now) && !deltas.is_current(&key, &counters(now.sent_bytes + 1, 0))
            );
        }
        deltas.forget(&key);
        assert_eq!(deltas.update(&key, &counters(3, 0)).map(|delta| delta.tcp.sent_bytes), Some(3));
    }
}
