//! Remembers which domains were seen in the same search list.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;

/// The most pairs of a generation. A list of six domains, the most that glibc reads before 2.26, makes fifteen.
const MAX_PAIRS: usize = 1024;
/// The most domains of one lookup that are paired. No real list is so long.
const MAX_DOMAINS: usize = 16;

/// Pairs of domains, as hashes; at most two generations of [`MAX_PAIRS`], 64 KiB. Every pair that is seen goes to the younger
/// generation, even if it is known, so that only pairs that were not seen for long are dropped with the older one.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    hasher: RandomState,
    younger: HashSet<(Number, Number)>,
    older: HashSet<(Number, Number)>,
}

/// The hash of a domain. Its key is random, so peers cannot construct two domains with one hash.
pub(super) type Number = u64;

impl Pairs {
    /// The hash of a domain.
    pub fn number(&self, domain: &str) -> Number {
        self.hasher.hash_one(domain)
    }

    /// Learns that these domains were appended to the same name.
    pub fn learn(&mut self, domains: &[Number]) {
        let domains = &domains[..domains.len().min(MAX_DOMAINS)];
        for (index, one) in domains.iter().enumerate() {
            for other in &domains[index + 1..] {
                if self.younger.len() >= MAX_PAIRS {
                    self.older = mem::take(&mut self.younger);
                }
                self.younger.insert(ordered(*one, *other));
            }
        }
    }

    /// Whether both domains were seen in the same list.
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
