//! Which connections a sidecar took, by the counts of both ends.
//!
//! A flow's address does not say whether packet filters redirected it to the sidecar, nor where the sidecar sent it on. But
//! every connection between a workload and its sidecar is counted at both ends, so what the sidecar's end has opened is the sum
//! of those flows that lead to it, and of no other. Where all flows together opened as many, all of them do; where it opened
//! none, none does; and where only one choice of flows adds up, it is that.
//!
//! The kernel's tables are not read at one instant. So sums that differ are compared after a reading in which nothing was
//! opened, or when they are so large that connections in between do not matter.

use std::collections::HashMap;
use std::net::IpAddr;

/// The most flows of one sidecar; what further ones open is only summed.
const MAX_ENDS: usize = 1024;
/// From so many connections on, sums are compared though more are being opened: all but one in [`SKEW`] are in both.
const BUSY: u64 = 32;
const SKEW: u64 = 16;
/// The most flows whose choices are tried: 2^12 sums.
const MAX_CHOICES: usize = 12;

/// The workload's end of connections that may lead to its sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct End {
    /// The local end: [`netcause_common::flow::FlowKey::local`].
    pub local: u64,
    /// The remote address.
    pub address: IpAddr,
    /// The server's port.
    pub port: u16,
}

/// What both ends have opened.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ends: HashMap<End, Entry>,
    /// Opened at the sidecar's end since the sums were last compared.
    by_sidecar: i64,
    /// Opened since then by flows beyond [`MAX_ENDS`].
    unlisted: u64,
    /// Whether anything was opened in this reading, and since the sums were last compared.
    is_active: bool,
    is_pending: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Opened since the sums were last compared.
    opened: u64,
    /// Of those before, how many led to the sidecar and how many did not.
    legs: u64,
    direct: u64,
}

impl Entry {
    fn is_leg(&self) -> Option<bool> {
        (self.legs != self.direct).then_some(self.legs > self.direct)
    }
}

impl Ledger {
    /// A flow of the workload has opened connections.
    pub fn opened(&mut self, end: End, connections: u64) {
        (self.is_active, self.is_pending) = (true, true);
        if self.ends.len() >= MAX_ENDS && !self.ends.contains_key(&end) {
            self.unlisted = self.unlisted.saturating_add(connections);
            return;
        }
        let opened = &mut self.ends.entry(end).or_default().opened;
        *opened = opened.saturating_add(connections);
    }

    /// Connections were opened at the sidecar's end; below zero, those of them that certainly are of no flow here.
    pub fn opened_by_sidecar(&mut self, connections: i64) {
        (self.is_active, self.is_pending) = (true, true);
        self.by_sidecar = self.by_sidecar.saturating_add(connections);
    }

    /// Ends a reading: compares the sums. Returns the local ends of flows of which something else is known now.
    pub fn settle(&mut self) -> Vec<u64> {
        let is_quiet = !std::mem::take(&mut self.is_active);
        if !self.is_pending {
            return Vec::new();
        }
        let active: Vec<(End, u64)> = self.ends.iter().map(|(end, entry)| (*end, entry.opened)).collect();
        let active: Vec<_> = active.into_iter().filter(|(_, opened)| *opened > 0).collect();
        let opened = |sum: u64, (_, opened): &(End, u64)| sum.saturating_add(*opened);
        let total = active.iter().fold(self.unlisted, opened);
        let by_sidecar = u64::try_from(self.by_sidecar).unwrap_or_default();
        if !(is_quiet || by_sidecar == total || total >= BUSY) {
            return Vec::new();
        }
        let skew = if is_quiet || by_sidecar == total { 0 } else { total / SKEW };
        let legs = if by_sidecar.abs_diff(total) <= skew {
            Some(active.iter().map(|_| true).collect())
        } else if by_sidecar <= skew {
            Some(active.iter().map(|_| false).collect())
        } else if is_quiet && self.unlisted == 0 {
            only_choice(&active, by_sidecar)
        } else {
            None
        };
        let mut changed = Vec::new();
        for (number, (end, opened)) in active.iter().enumerate() {
            let Some(entry) = self.ends.get_mut(end) else { continue };
            let before = entry.is_leg();
            // What is within the error of the sums says nothing.
            match legs.as_ref().and_then(|legs: &Vec<bool>| legs.get(number)) {
                Some(true) if *opened > skew => entry.legs = entry.legs.saturating_add(*opened),
                Some(false) if *opened > skew => entry.direct = entry.direct.saturating_add(*opened),
                _ => {}
            }
            if entry.is_leg() != before {
                changed.push(end.local);
            }
        }
        self.skip();
        changed
    }

    /// Compares nothing of what was opened since the last time.
    pub fn skip(&mut self) {
        (self.by_sidecar, self.unlisted, self.is_pending) = (0, 0, false);
        self.ends.values_mut().for_each(|entry| entry.opened = 0);
    }

    /// Whether a flow leads to the sidecar; `None` if its counts do not say.
    pub fn is_leg(&self, end: &End) -> Option<bool> {
        self.ends.get(end)?.is_leg()
    }

    /// Whether this local end passes the sidecar by, as far as is known of these of its flows.
    pub fn passes_by(&self, local: u64, of: impl Fn(&End) -> bool) -> bool {
        let ends = self.ends.iter().filter(|(end, _)| end.local == local && of(end));
        let mut known = ends.filter_map(|(_, entry)| entry.is_leg()).peekable();
        known.peek().is_some() && known.all(|is_leg| !is_leg)
    }

    /// Forgets all flows but these.
    pub fn retain(&mut self, is_there: impl Fn(&End) -> bool) {
        self.ends.retain(|end, _| is_there(end));
    }
}

/// Which of these flows have opened this sum together, if only one choice has.
fn only_choice(active: &[(End, u64)], sum: u64) -> Option<Vec<bool>> {
    if active.len() > MAX_CHOICES {
        return None;
    }
    let is_in = |choice: u32, number: usize| choice >> number & 1 == 1;
    let sum_of = |choice: u32| {
        let chosen = active.iter().enumerate().filter(|(number, _)| is_in(choice, *number));
        chosen.fold(0_u64, |sum, (_, (_, opened))| sum.saturating_add(*opened))
    };
    let mut right = (0..1_u32 << active.len()).filter(|choice| sum_of(*choice) == sum);
    let (only, None) = (right.next()?, right.next()) else { return None };
    Some((0..active.len()).map(|number| is_in(only, number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(number: u8) -> End {
        End { local: number.into(), address: [10, 0, 0, number].into(), port: 80 }
    }

    /// Opens connections of flows with these numbers, and at the sidecar's end; reads twice. What is known of each flow.
    fn known(ledger: &mut Ledger, opened: &[(u8, u64)], by_sidecar: i64) -> Vec<Option<bool>> {
        for (number, connections) in opened {
            ledger.opened(end(*number), *connections);
        }
        ledger.opened_by_sidecar(by_sidecar);
        drop((ledger.settle(), ledger.settle()));
        opened.iter().map(|(number, _)| ledger.is_leg(&end(*number))).collect()
    }

    #[test]
    fn sums_that_agree_name_the_flows() {
        let (leg, direct) = (Some(true), Some(false));
        for (opened, by_sidecar, expected) in [
            (&[(1, 5), (2, 7)][..], 12, &[leg, leg][..]),
            (&[(1, 5), (2, 7)], 0, &[direct, direct]),
            (&[(1, 5), (2, 7)], 7, &[direct, leg]),
            (&[(1, 5), (2, 5)], 5, &[None, None]),
            (&[(1, 1), (2, 2), (3, 3)], 3, &[None, None, None]),
            (&[(1, 1), (2, 2), (3, 4)], 5, &[leg, direct, leg]),
            // More than its flows opened: some are not seen here.
            (&[(1, 5)], 9, &[None]),
            // Less than is taken away, because the tables are read one after the other.
            (&[(1, 5)], -1, &[direct]),
        ] {
            let mut ledger = Ledger::default();
            assert_eq!(known(&mut ledger, opened, by_sidecar), expected, "{opened:?} {by_sidecar}");
        }
    }

    #[test]
    fn what_is_read_in_between_two_ends_is_compared_later() {
        let mut ledger = Ledger::default();
        ledger.opened(end(1), 1);
        assert!(ledger.settle().is_empty(), "the sidecar's end may come in the next reading");
        ledger.opened_by_sidecar(1);
        assert_eq!(ledger.settle(), [1]);
        assert_eq!(ledger.is_leg(&end(1)), Some(true));
        // One that is excluded, at last.
        ledger.opened(end(2), 1);
        assert!(ledger.settle().is_empty());
        assert_eq!(ledger.settle(), [2]);
        let passes_by = |local| ledger.passes_by(local, |end| end.port == 80);
        assert!(passes_by(2) && !passes_by(1) && !passes_by(3));
        assert!(!ledger.passes_by(2, |end| end.port == 81), "nothing is known of these");
        assert!(ledger.settle().is_empty(), "nothing is new");
    }

    #[test]
    fn a_busy_workload_is_never_quiet() {
        let mut ledger = Ledger::default();
        let mut changed = Vec::new();
        for _ in 0..9 {
            ledger.opened(end(1), 50);
            ledger.opened(end(2), 1);
            ledger.opened_by_sidecar(49);
            changed.extend(ledger.settle());
        }
        assert_eq!(changed, [1]);
        assert_eq!(
            (ledger.is_leg(&end(1)), ledger.is_leg(&end(2))),
            (Some(true), None),
            "one of 51 may be late"
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut ledger = Ledger::default();
        for port in 0..u16::try_from(MAX_ENDS).unwrap() + 9 {
            ledger.opened(End { port, ..end(1) }, 1);
        }
        ledger.opened_by_sidecar(MAX_ENDS as i64 + 9);
        assert_eq!((ledger.ends.len(), ledger.settle().len()), (MAX_ENDS, MAX_ENDS));
        ledger.opened(end(1), 1);
        ledger.opened(end(9), 1);
        ledger.opened_by_sidecar(1);
        drop((ledger.settle(), ledger.settle()));
        assert_eq!(ledger.is_leg(&end(9)), None, "no choice is tried where flows are missing");
        ledger.retain(|end| end.port < 3);
        assert_eq!(ledger.ends.len(), 3);
    }
}
