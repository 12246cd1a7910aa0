//! What small counts allow to say.

/// Deviations of a normal distribution that 99 % lie within: how sure bounds are.
const Z: f64 = 2.576;

/// The least share that explains so many of so many: the lower bound of Wilson's score interval, 99 %. 0 of nothing.
#[must_use]
pub fn share_at_least(count: u64, of: u64) -> f64 {
    if of == 0 {
        return 0.0;
    }
    let (count, of) = (count.min(of) as f64, of as f64);
    let share = count / of;
    let middle = share + Z * Z / (2.0 * of);
    let half = Z * (share * (1.0 - share) / of + Z * Z / (4.0 * of * of)).sqrt();
    ((middle - half) / (1.0 + Z * Z / of)).clamp(0.0, 1.0)
}

/// A share, and 0 of nothing.
#[must_use]
pub fn share(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

/// A mean, when there is anything that it is of.
#[must_use]
pub fn mean(sum: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| sum as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_proves_little() {
        // 1 of 20 may be chance; 100 of 2000 is not.
        assert!(share_at_least(1, 20) < 0.01);
        assert!((0.038..0.05).contains(&share_at_least(100, 2000)));
        assert_eq!(share_at_least(0, 0), 0.0);
        assert!(share_at_least(20, 20) > 0.7 && share_at_least(20, 20) < 1.0);
    }

    #[test]
    fn more_than_all_is_all() {
        assert_eq!(share_at_least(7, 5), share_at_least(5, 5));
    }
}
