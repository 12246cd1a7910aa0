//! Ratios of neighbouring slices, and how far they scatter.

use std::fmt;

use crate::lab::metrics::float;

/// A summary of ratios.
pub(super) struct Ratios {
    median: f64,
    /// The quartiles around it.
    half: (f64, f64),
    /// The geometric mean.
    mean: f64,
    /// Twice its standard error.
    error: f64,
}

impl Ratios {
    /// Of at least two ratios.
    pub(super) fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        let count = float(ratios.len() as u64);
        let mean = ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / count;
        let squares: f64 = ratios.iter().map(|ratio| (ratio.ln() - mean).powi(2)).sum();
        Self {
            median: quantile(&ratios, 2),
            half: (quantile(&ratios, 1), quantile(&ratios, 3)),
            mean: mean.exp(),
            error: 2.0 * (squares / (count - 1.0) / count).sqrt() * mean.exp(),
        }
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, half: (low, high), mean, error } = self;
        write!(f, "{median:.3}  mean {mean:.3} ± {error:.3}  half within {low:.3}–{high:.3}")
    }
}

/// The middle of some figures; zero of none.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    quantile(&figures, 2)
}

/// The `quarter`-th quartile of sorted figures.
fn quantile(sorted: &[f64], quarter: usize) -> f64 {
    let last = sorted.len().saturating_sub(1) * quarter;
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let (below, above) = (at(last / 4), at(last.div_ceil(4)));
    below + (above - below) * float((last % 4) as u64) / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_summed_up() {
        assert_eq!(median(vec![3.0, 1.0, 2.0, 10.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1), 1.5);
        let ratios = Ratios::of(vec![2.0, 0.5, 1.0, 1.0]);
        assert_eq!((ratios.median, ratios.half), (1.0, (0.875, 1.25)));
        assert!((ratios.mean - 1.0).abs() < 1e-12 && ratios.error > 0.5);
    }
}
