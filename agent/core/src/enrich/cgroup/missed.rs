//! Cgroups with flows whose directory was not found yet.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

/// Limit on cgroups that are looked up again.
const MAX_MISSED: usize = 4096;
/// Delay before the second lookup; it doubles with each further one.
const FIRST_GAP: Duration = Duration::from_millis(500);
/// The longest delay. The directory existed when the kernel reported the id: one that is not found is removed by now, or
/// hidden from this process.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// Ids of cgroups without a known path, with the time of each one's next lookup.
#[derive(Debug, Default)]
pub struct Missed {
    by_id: HashMap<u64, Miss>,
    refused: u64,
}

#[derive(Debug)]
struct Miss {
    /// Time of the next lookup; `None` while one is under way.
    due: Option<Duration>,
    /// Delay after that lookup, if it fails.
    gap: Duration,
    is_new: bool,
}

impl Missed {
    /// Adds an id, due now, unless it is present.
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

    /// Ids that are due; each is under way until [`Self::found`] or [`Self::not_found`].
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

    /// Removes an id that was found.
    pub fn found(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// Schedules the next lookup of an id, with exponential backoff.
    pub fn not_found(&mut self, id: u64, now: Duration) {
        if let Some(miss) = self.by_id.get_mut(&id) {
            miss.due = Some(now + miss.gap);
            miss.gap = (miss.gap * 2).min(LONGEST_GAP);
        }
    }

    /// Drops ids that are not in use, except those added since the last call.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.by_id.retain(|id, miss| mem::take(&mut miss.is_new) || in_use(*id));
    }

    /// The number of ids.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Requests refused at the limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_of_a_missing_cgroup_back_off() {
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
        assert_eq!(missed.count(), 0);
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
        assert_eq!((missed.count(), missed.refused()), (4096, 904));
        missed.retain(|_| false);
        assert_eq!(missed.count(), 4096, "they may be of flows that the last reading did not see");
        missed.retain(|id| id < 10);
        assert_eq!(missed.count(), 10);
    }
}
