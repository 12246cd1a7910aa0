//! What a histogram holds, and how the formats show it.
//!
//! Bins are those of a native histogram of schema 0: each ends at a power of two of the unit
//! (<https://prometheus.io/docs/specs/native_histograms/#schema>). The buckets of the classic histogram are made of whole
//! bins, so that both kinds have the same observations below each `le`.

/// The bounds of a histogram.
#[derive(Debug, PartialEq, Eq)]
pub struct Scale {
    /// The first bound is 2^`first` of the metric's unit; each further one is twice the one before.
    first: i32,
    /// Which powers of two are bounds of classic buckets, ascending: fewer, because each is a series.
    classic: &'static [i32],
}

impl Scale {
    /// A scale with so many bounds.
    ///
    /// # Panics
    ///
    /// Where a classic bound is none of them; scales are constants.
    pub const fn new(first: i32, bounds: usize, classic: &'static [i32]) -> Self {
        let (mut index, mut least) = (0, first);
        while index < classic.len() {
            assert!(classic[index] >= least && (classic[index].abs_diff(first) as usize) < bounds);
            least = classic[index] + 1;
            index += 1;
        }
        Self { first, classic }
    }
}

/// A histogram's content.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution<'a> {
    /// The bounds of its bins.
    pub scale: &'static Scale,
    /// Observations per bin (not cumulative). The last one holds what exceeds every bound.
    pub counts: &'a [u64],
    /// Sum of all observations, in the metric's unit.
    pub sum: f64,
}

/// A native histogram of schema 0, without observations below zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Native<'a> {
    /// The first bound: what is at most that is in no bin, but in [`Self::zero_count`].
    pub zero_threshold: f64,
    /// Observations up to the threshold.
    pub zero_count: u64,
    /// The index of the first bin with observations: that which ends at 2^index.
    pub offset: i32,
    /// Observations in it and in those behind it, up to the last one that has any.
    pub counts: &'a [u64],
}

impl<'a> Distribution<'a> {
    /// The same before its first observation.
    #[must_use]
    pub fn at_zero(self) -> Self {
        Self { counts: &[], sum: 0.0, ..self }
    }

    /// Observations in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The buckets of the classic histogram: their upper bounds, ascending to infinity, and what is observed in each (not
    /// cumulative).
    pub fn classic(&self) -> impl Iterator<Item = (f64, u64)> + use<'a> {
        let Self { scale: Scale { first, classic }, counts, .. } = *self;
        let ends =
            classic.iter().map(move |power| (power_of_two(*power), power.abs_diff(*first) as usize + 1));
        let mut begin = 0;
        ends.chain([(f64::INFINITY, counts.len())]).map(move |(bound, end)| {
            let bins = counts.get(begin..end).unwrap_or_default();
            begin = end;
            (bound, bins.iter().sum())
        })
    }

    /// The native histogram. What exceeds every bound is in the bin after the last bound, so that its values up to twice that
    /// bound are where they belong, and larger ones, if any, are taken for less than they are. The sum has all of them.
    #[must_use]
    pub fn native(&self) -> Native<'a> {
        let first = self.scale.first;
        let (zero_count, bins) = self.counts.split_first().map_or((0, &[][..]), |(zero, bins)| (*zero, bins));
        let is_used = |count: &u64| *count != 0;
        let begin = bins.iter().position(is_used).unwrap_or(0);
        let end = bins.iter().rposition(is_used).map_or(begin, |last| last + 1);
        Native {
            zero_threshold: power_of_two(first),
            zero_count,
            offset: first.saturating_add_unsigned(1).saturating_add(i32::try_from(begin).unwrap_or(0)),
            counts: bins.get(begin..end).unwrap_or_default(),
        }
    }

    /// Time series of the classic histogram: a bucket per bound, the one without a bound, sum and count.
    pub(super) fn series(&self) -> usize {
        self.scale.classic.len() + 3
    }
}

fn power_of_two(power: i32) -> f64 {
    2_f64.powi(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCALE: Scale = Scale::new(-2, 5, &[-1, 1]);

    #[test]
    fn classic_buckets_are_whole_bins() {
        // Up to ¼, ½, 1, 2, 4, and above.
        let counts = [1, 2, 4, 8, 16, 32];
        let all = Distribution { scale: &SCALE, counts: &counts, sum: 200.0 };
        assert_eq!(all.classic().collect::<Vec<_>>(), [(0.5, 3), (2.0, 12), (f64::INFINITY, 48)]);
        assert_eq!((all.count(), all.series()), (63, 5));
        let zero = all.at_zero();
        assert_eq!(zero.classic().collect::<Vec<_>>(), [(0.5, 0), (2.0, 0), (f64::INFINITY, 0)]);
        assert_eq!((zero.count(), zero.sum), (0, 0.0));
    }

    #[test]
    fn native_bins_begin_and_end_with_observations() {
        let native = |counts| Distribution { scale: &SCALE, counts, sum: 0.0 }.native();
        let expected =
            |zero_count, offset, counts| Native { zero_threshold: 0.25, zero_count, offset, counts };
        assert_eq!(native(&[1, 2, 4, 8, 16, 32]), expected(1, -1, &[2, 4, 8, 16, 32]));
        assert_eq!(native(&[0, 0, 4, 0, 16, 0]), expected(0, 0, &[4, 0, 16]));
        assert_eq!(native(&[0, 0, 0, 0, 0, 9]), expected(0, 3, &[9]));
        assert_eq!(native(&[7, 0, 0, 0, 0, 0]), expected(7, -1, &[]));
        assert_eq!(native(&[]), expected(0, -1, &[]));
    }
}
