//! Chance: the same draws for the same seed.

use crate::traffic::path::Chance;

/// What cases are drawn with.
pub(super) struct Draw(Chance);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    /// From `least` to `most`, both as likely as any between.
    pub(super) fn number(&mut self, least: u64, most: u64) -> u64 {
        let span = (most - least + 1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to below the span"
        )]
        let above = (self.0.next() * span) as u64;
        least + above
    }

    /// One of several.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let last = all.len().saturating_sub(1) as u64;
        all[usize::try_from(self.number(0, last)).unwrap_or(0)]
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, of_hundred: u64) -> bool {
        self.number(1, 100) <= of_hundred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_drawn_and_nothing_else() {
        let mut draw = Draw::new(3);
        let mut seen = [0; 4];
        for _ in 0..400 {
            seen[usize::try_from(draw.number(2, 5) - 2).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
        let hits = (0..1000).filter(|_| draw.percent(25)).count();
        assert!((200..300).contains(&hits), "{hits}");
    }
}
