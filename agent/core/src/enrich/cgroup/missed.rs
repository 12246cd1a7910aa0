//! Cgroups that are in use and were not found yet.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

/// Cgroups that are looked for again.
const MAX_MISSED: usize = 4096;
/// A cgroup that was not found is due again after this, and then after twice as long each time.
const FIRST_GAP: Duration = Duration::from_millis(500);
/// The longest gap. When the kernel shows an id its directory exists: one that is not found is gone, or is hidden from
/// this process.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// The ids that are missed, and when each is worth another look.
#[derive(Debug, Default)]
pub struct Missed {
    by_id: HashMap<u64, Miss>,
    refused: u64,
}

#[derive(Debug)]
struct Miss {
    /// When it is worth a look; `None` while one is under way.
    due: Option<Duration>,
    /// How long it waits after that.
    gap: Duration,
    is_new: bool,
}

impl Missed {
    /// Adds an id, due now, unless it is missed already.
    pub fn request(&mut self, id: u64, now: Duration) {
        if self.by_id.contains_key(&id) {
            return;
        }
        if self.by_id.len() >= MAX_MISSED {
            self.refused += 1;
            return;
        }
        self.by_id.insert(id, Miss { due: Some(now), gap: FIRST_GAP, is_new: true });
    }

    /// Those that are due; each is under way until it is found or not found.
    pub fn due(&mut self, now: Duration) -> Vec<u64> {
        let mut due = Vec::new();
        for (id, miss) in &mut self.by_id {
            if miss.due.is_some_and(|due| due <= now) {
                miss.due = None;
                due.push(*id);
            }
        }
        due
    }

    /// It is missed no longer.
    pub fn found(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// It is to be looked for again, ever more rarely.
    pub fn not_found(&mut self, id: u64, now: Duration) {
        if let Some(miss) = self.by_id.get_mut(&id) {
            miss.due = Some(now + miss.gap);
            miss.gap = (miss.gap * 2).min(LONGEST_GAP);
        }
    }

    /// Drops those that are not in use, unless they came since this was last called.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.by_id.retain(|id, miss| mem::take(&mut miss.is_new) || in_use(*id));
    }

    /// How many are missed now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How often an id was refused because too many were missed.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_is_gone_is_looked_for_ever_more_rarely() {
        let mut missed = Missed::default();
        let mut looks = 0;
        // An hour of requests four times a second.
        for quarter in 0..4 * 3600 {
            let now = Duration::from_millis(250) * quarter;
            missed.request(7, now);
            for id in missed.due(now) {
                looks += 1;
                assert_eq!(missed.due(now), [0; 0], "it is under way");
                missed.not_found(id, now);
            }
        }
        // Eleven until the gap is five minutes, which is after nine minutes, and one in each gap then.
        assert_eq!(looks, 21);
        missed.found(7);
        assert_eq!(missed.len(), 0);
    }

    #[test]
    fn a_new_one_does_not_wait_for_one_that_is_gone() {
        let now = Duration::ZERO;
        let mut missed = Missed::default();
        missed.request(1, now);
        assert_eq!(missed.due(now), [1]);
        missed.not_found(1, now);
        missed.request(1, now);
        missed.request(2, now);
        assert_eq!(missed.due(now), [2]);
    }

    #[test]
    fn the_missed_are_bounded_and_counted() {
        let mut missed = Missed::default();
        for id in 0..5000 {
            missed.request(id, Duration::ZERO);
        }
        assert_eq!((missed.len(), missed.refused()), (4096, 904));
        missed.retain(|_| false);
        assert_eq!(missed.len(), 4096, "they may be of flows that the last reading did not see");
        missed.retain(|id| id < 10);
        assert_eq!(missed.len(), 10);
    }
}
