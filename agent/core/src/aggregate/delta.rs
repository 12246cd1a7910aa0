//! What a flow has counted since it was read last.
//!
//! The kernel's tables hold totals. Everything behind them works on differences: a difference belongs to the edge that
//! has the flow's name at that time, whatever the flow is called later.
//!
//! A total may go back: the programs take a close or a reset back when a later event shows that it was another kind, and a reading
//! can fall between both. It counts nothing then until it is above what was counted: a counter that Prometheus has seen must not
//! go back, and is right again with the next event of its kind.

use std::collections::HashMap;

use netcause_common::flow::FlowKey;

use super::packed::Packed;
use super::totals::{Counters, Totals, words_mut};

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
        let is_new = !self.last.contains_key(key);
        let last = self.last.entry(*key).or_default();
        let counted = match difference(now, last) {
            None if !is_new => return None,
            counted => counted.unwrap_or_else(C::zeroed),
        };
        last.add(&counted);
        let mut delta = Totals::ZERO;
        counted.add_to(&mut delta);
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

/// `now - before`, 0 for a counter that has gone back; `None` when nothing has changed.
fn difference<C: Counters>(now: &C, before: &Packed<C>) -> Option<C> {
    let mut difference = *now;
    before.subtract_from(&mut difference);
    let words = words_mut(&mut difference);
    let all = words.iter().fold(0, |all, word| all | word);
    if all.cast_signed() < 0 {
        // A gauge goes up and down.
        let has_gone_back = |index, word: u64| word.cast_signed() < 0 && C::GAUGE != Some(index);
        for (_, word) in words.iter_mut().enumerate().filter(|(index, word)| has_gone_back(*index, **word)) {
            *word = 0;
        }
    }
    words.iter().any(|word| *word != 0).then_some(difference)
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::{CloseReason, TcpCounters};

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

    #[test]
    fn a_counter_that_goes_back_counts_nothing_until_it_is_above() {
        let mut deltas = Deltas::default();
        let key = FlowKey { local: 1, ..FlowKey::default() };
        let closed = |fin, reset| {
            let mut counters = TcpCounters::ZERO;
            counters.closed[CloseReason::Fin as usize] = fin;
            counters.closed[CloseReason::ResetSent as usize] = reset;
            counters
        };
        let mut sum = Totals::ZERO;
        for (now, shown) in [
            (closed(2, 0), closed(2, 0)),
            // Read between the two additions of a close that was taken for another kind, and after both.
            (closed(1, 0), closed(2, 0)),
            (closed(1, 1), closed(2, 1)),
            (closed(2, 1), closed(2, 1)),
            (closed(3, 1), closed(3, 1)),
        ] {
            sum.add(&deltas.update(&key, &now).unwrap_or(Totals::ZERO));
            assert_eq!(sum.tcp, shown);
            assert!(deltas.is_current(&key, &now));
        }
        // The entry has begun with what is taken back: its close was counted in the overflow map.
        let other = FlowKey { local: 2, ..key };
        assert_eq!(deltas.update(&other, &closed(u64::MAX, 1)).map(|delta| delta.tcp), Some(closed(0, 1)));
        assert_eq!(deltas.update(&other, &closed(0, 1)), None);
    }
}
