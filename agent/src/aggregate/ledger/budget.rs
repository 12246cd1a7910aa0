//! Which edges have series of their own.

use super::super::totals::Totals;
use super::Ledger;
use super::account::{Other, Standing};

/// An edge that has series already weighs so much more than one that has none: two of about the same weight do not take
/// turns.
const HYSTERESIS: u64 = 2;

impl Ledger {
    /// Folds the smallest edges until the others have room, and gives series of their own to those that were folded and
    /// have room now.
    pub(super) fn share_out(&mut self, cost: &impl Fn(&Totals) -> usize) {
        let cost_of = |other: &Other| if other.is_empty() { 0 } else { cost(&other.totals) };
        let mut wanted = 0;
        let mut by_weight = Vec::new();
        for (number, account) in self.accounts.iter_mut() {
            account.series = cost(&account.totals);
            account.room = account.room.max(account.series);
            wanted += account.room;
            if account.standing == Standing::Folded {
                self.others[account.reporter as usize].totals.add(&account.totals);
            }
            let factor = if account.standing == Standing::Shown { HYSTERESIS } else { 1 };
            by_weight.push((account.weight.saturating_mul(factor), number));
        }
        let mut of_others = self.others.each_ref().map(cost_of);
        let has_room = |wanted: usize, others: [usize; 2]| {
            wanted + others.iter().sum::<usize>() <= self.limits.max_series
        };
        if !has_room(wanted, of_others) {
            by_weight.sort_unstable();
        }
        let mut smallest_first = by_weight.into_iter();
        while !has_room(wanted, of_others) {
            let Some((_, number)) = smallest_first.next() else { break };
            let Some(account) = self.accounts.get_mut(number) else { continue };
            wanted -= account.room;
            if account.standing != Standing::Folded {
                let reporter = account.reporter as usize;
                account.fold(&mut self.others[reporter]);
                of_others[reporter] = cost_of(&self.others[reporter]);
                self.folded += 1;
            }
        }
        self.series = 0;
        for (_, number) in smallest_first {
            let Some(account) = self.accounts.get_mut(number) else { continue };
            if account.standing == Standing::Folded {
                account.unfold(&mut self.others[account.reporter as usize]);
                account.series = cost(&account.totals);
            }
            account.standing = Standing::Shown;
            self.series += account.series;
        }
        self.series += self.others.iter().map(cost_of).sum::<usize>();
    }
}
