//! Remembers which domains followed each other behind one name, until it happens again: then they are in one search list.

use std::time::Duration;

use super::evidence::{Step, is_domain};
use super::failed::Failed;
use super::learned::{Number, Pairs};
use super::{MAX_PENDING, WINDOW};
use crate::ingest::dns::Name;

/// Sightings of one client, at most [`MAX_PENDING`], each for [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Sightings {
    seen: Vec<Sighting>,
}

#[derive(Debug)]
struct Sighting {
    domains: [Number; 2],
    /// The name that failed, and how often it had by then.
    earlier: Name,
    lookups: u32,
    at: Duration,
}

impl Sightings {
    /// Records a step of a lookup. True when an earlier lookup made it too: then its domains are learned, and the name that
    /// failed in that lookup is added to `others`.
    pub fn is_again(
        &mut self,
        step: Step<'_>,
        earlier: &Failed,
        at: Duration,
        lists: &mut Pairs,
        others: &mut Vec<Name>,
    ) -> bool {
        if !is_domain(step.earlier) || !is_domain(step.later) {
            return false;
        }
        self.seen.retain(|sighting| at.saturating_sub(sighting.at) <= WINDOW);
        let domains = [step.earlier, step.later].map(|domain| lists.number(domain));
        let known = self.seen.iter().position(|sighting| sighting.domains == domains);
        let Some(known) = known else {
            if self.seen.len() >= MAX_PENDING {
                self.seen.remove(0);
            }
            let (earlier, lookups) = (earlier.name.clone(), earlier.lookups());
            self.seen.push(Sighting { domains, earlier, lookups, at });
            return false;
        };
        let sighting = &self.seen[known];
        // The other type of address, in the same lookup.
        if sighting.earlier == earlier.name && sighting.lookups >= earlier.lookups() {
            return false;
        }
        lists.learn(&domains);
        others.push(self.seen.swap_remove(known).earlier);
        true
    }
}
