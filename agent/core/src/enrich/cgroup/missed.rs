//! Cgroups that were asked for and not found.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

/// Cgroups that are looked for again.
const MAX_MISSED: usize = 4096;
/// After a walk without it, a cgroup causes the next one after this, and then after twice as long each time.
const FIRST_GAP: Duration = Duration::from_millis(500);
/// At most. When the kernel tells an id its directory is there: one that walks do not find is gone, or is hidden from
/// this process.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// Who was missed, and when it is worth another walk.
#[derive(Debug, Default)]
pub struct Missed {
    by_id: HashMap<u64, Miss>,
    refused: u64,
}

#[derive(Debug)]
struct Miss {
    /// When it is worth a walk.
    due: Instant,
    /// How long it waits after that.
    gap: Duration,
    is_new: bool,
}

impl Missed {
    /// Somebody asks for it: whether a walk is worth it by now.
    pub fn ask(&mut self, id: u64, now: Instant) -> bool {
        if let Some(miss) = self.by_id.get(&id) {
            return miss.due <= now;
        }
        if self.by_id.len() >= MAX_MISSED {
            self.refused += 1;
            return false;
        }
        self.by_id.insert(id, Miss { due: now, gap: FIRST_GAP, is_new: true });
        true
    }

    /// Whether anybody is worth a walk by now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.by_id.values().any(|miss| miss.due <= now)
    }

    /// There was a walk: takes those out that it found, and lets the others wait longer.
    pub fn walked(&mut self, now: Instant, is_there: impl Fn(u64) -> bool) -> Vec<u64> {
        for miss in self.by_id.values_mut().filter(|miss| miss.due <= now) {
            miss.due = now + miss.gap;
            miss.gap = (miss.gap * 2).min(LONGEST_GAP);
        }
        self.by_id.extract_if(|id, _| is_there(*id)).map(|(id, _)| id).collect()
    }

    /// Drops those that are not used, unless they came since this was last done.
    pub fn retain(&mut self, in_use: impl Fn(u64) -> bool) {
        self.by_id.retain(|id, miss| mem::take(&mut miss.is_new) || in_use(*id));
    }

    /// How many are missed now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How often there was no room for one.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_looked_for_ever_more_rarely() {
        let start = Instant::now();
        let mut missed = Missed::default();
        let mut walks = 0;
        // An hour of asking four times in a second.
        for quarter in 0..4 * 3600 {
            let now = start + Duration::from_millis(250) * quarter;
            if missed.ask(7, now) {
                assert!(missed.is_due(now));
                walks += 1;
                assert!(missed.walked(now, |_| false).is_empty());
                assert!(!missed.is_due(now));
            }
        }
        // Eleven until the gap is five minutes, which is after nine minutes, and one in each gap then.
        assert_eq!(walks, 21);
        assert_eq!(missed.walked(start, |id| id == 7), [7]);
        assert_eq!(missed.len(), 0);
    }

    #[test]
    fn somebody_new_does_not_wait_for_who_is_gone() {
        let now = Instant::now();
        let mut missed = Missed::default();
        assert!(missed.ask(1, now));
        missed.walked(now, |_| false);
        assert!(!missed.ask(1, now));
        assert!(missed.ask(2, now) && missed.is_due(now));
        assert_eq!(missed.walked(now, |id| id == 1), [1], "any walk may find it");
    }

    #[test]
    fn the_missed_are_bounded_and_counted() {
        let now = Instant::now();
        let mut missed = Missed::default();
        for id in 0..5000 {
            assert_eq!(missed.ask(id, now), id < 4096);
        }
        assert_eq!((missed.len(), missed.refused()), (4096, 904));
        missed.retain(|_| false);
        assert_eq!(missed.len(), 4096, "they may be of flows that the last reading did not see");
        missed.retain(|id| id < 10);
        assert_eq!(missed.len(), 10);
    }
}
