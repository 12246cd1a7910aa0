//! Which edges have series of their own, and which of those have histograms.

use super::super::Edge;
use super::super::totals::Totals;
use super::Ledger;
use super::account::{Other, Standing};

/// An edge that has series already weighs so much more than one that has none: two of about the same weight do not take
/// turns.
const HYSTERESIS: u64 = 2;

impl Ledger {
    /// Folds histograms, then whole edges, the smallest first, until the others have room; and gives series of their own
    /// to those that were folded and have room now.
    pub(super) fn share_out(&mut self, cost: &impl Fn(&Edge, &Totals) -> usize) {
        let cost_of = |other: &Other| if other.is_empty() { 0 } else { cost(&other.edge, &other.totals) };
        let mut wanted = 0;
        let mut by_weight = Vec::new();
        for (number, account) in self.accounts.iter_mut() {
            account.room = account.room.max(cost(&account.edge, &account.totals));
            account.plain_room = account.plain_room.max(cost(&account.edge, &account.totals.plain()));
            wanted += account.room;
            self.others[account.reporter()].totals.add(&account.shown_by_other());
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
        let mut plain = 0;
        while !has_room(wanted, of_others)
            && let Some((_, number)) = by_weight.get(plain)
        {
            plain += 1;
            let Some(account) = self.accounts.get_mut(*number) else { continue };
            wanted -= account.room - account.plain_room;
            if !account.is_plain {
                let reporter = account.reporter();
                account.fold_histograms(&mut self.others[reporter]);
                of_others[reporter] = cost_of(&self.others[reporter]);
            }
        }
        let mut folded = 0;
        while !has_room(wanted, of_others)
            && let Some((_, number)) = by_weight.get(folded)
        {
            folded += 1;
            let Some(account) = self.accounts.get_mut(*number) else { continue };
            wanted -= account.plain_room;
            if account.standing != Standing::Folded {
                let reporter = account.reporter();
                account.fold(&mut self.others[reporter]);
                of_others[reporter] = cost_of(&self.others[reporter]);
                self.folded += 1;
            }
        }
        self.series = 0;
        for (rank, (_, number)) in by_weight.into_iter().enumerate().skip(folded) {
            let Some(account) = self.accounts.get_mut(number) else { continue };
            let other = &mut self.others[account.reporter()];
            if account.standing == Standing::Folded {
                account.unfold(other);
            }
            if account.is_plain && rank >= plain {
                account.unfold_histograms(other);
            }
            account.standing = Standing::Shown;
            self.series += cost(&account.edge, &account.shown());
        }
        self.series += self.others.iter().map(cost_of).sum::<usize>();
    }
}
