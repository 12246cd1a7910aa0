//! Domains that were seen in one search list.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;

/// A generation is full with so many pairs; a list of six domains, all that glibc reads before 2.26, makes fifteen.
const MAX_PAIRS: usize = 1024;
/// Domains of one lookup that are learned from: more make too many pairs, and no list is so long.
const MAX_DOMAINS: usize = 16;

/// Pairs of domains, as numbers that stand for them; at most two generations of [`MAX_PAIRS`], 64 KiB. The younger one takes
/// what is learned, also what was known already, so that only what was not seen for long is forgotten.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    hasher: RandomState,
    younger: HashSet<(Number, Number)>,
    older: HashSet<(Number, Number)>,
}

/// Stands for a domain. The key is the agent's own, so nobody can choose two domains with one number.
pub(super) type Number = u64;

impl Pairs {
    /// The number of a domain.
    pub fn number(&self, domain: &str) -> Number {
        self.hasher.hash_one(domain)
    }

    /// These were appended to one name, one after the other.
    pub fn learn(&mut self, domains: &[Number]) {
        let domains = &domains[..domains.len().min(MAX_DOMAINS)];
        for (place, one) in domains.iter().enumerate() {
            for other in &domains[place + 1..] {
                if self.younger.len() >= MAX_PAIRS {
                    self.older = mem::take(&mut self.younger);
                }
                self.younger.insert(ordered(*one, *other));
            }
        }
    }

    /// Whether the two were seen in one list.
    pub fn has(&self, one: &str, other: &str) -> bool {
        let pair = ordered(self.number(one), self.number(other));
        self.younger.contains(&pair) || self.older.contains(&pair)
    }
}

fn ordered(one: Number, other: Number) -> (Number, Number) {
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_known_until_many_others_are_learned() {
        let mut pairs = Pairs::default();
        let numbers = ["a", "b", "c"].map(|domain| pairs.number(domain));
        pairs.learn(&numbers);
        assert!(pairs.has("a", "c") && pairs.has("c", "a") && !pairs.has("a", "d"));
        for number in 0..10 * MAX_PAIRS {
            let others = [format!("x{number}"), format!("y{number}")].map(|domain| pairs.number(&domain));
            pairs.learn(&others);
            if number % 500 == 0 {
                pairs.learn(&numbers[..2]);
            }
            assert!(pairs.younger.len() <= MAX_PAIRS && pairs.older.len() <= MAX_PAIRS);
        }
        assert!(pairs.has("a", "b") && !pairs.has("a", "c"));
    }
}
