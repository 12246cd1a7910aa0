//! Classic histograms, with the same buckets in the kernel's maps and on `/metrics`.

use bytemuck::Zeroable;

/// Upper bounds of connect latency in nanoseconds: 50 µs to 10 s.
pub const CONNECT_BOUNDS_NS: [u64; 17] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Upper bounds of round-trip times in microseconds: 50 µs to 10 s, with most buckets below 5 ms, where round trips
/// within a data centre are.
pub const RTT_BOUNDS_US: [u64; 12] =
    [50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 50_000, 200_000, 1_000_000, 10_000_000];

/// Upper bounds of DNS response times in nanoseconds: 100 µs to 30 s.
pub const DNS_BOUNDS_NS: [u64; 17] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Observations by bucket, and their sum.
///
/// `N` is the number of upper bounds plus one: the last bucket holds what exceeds every bound.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    /// Observations per bucket, not cumulative.
    pub buckets: [u64; N],
    /// Sum of all observations, in the unit of the bounds.
    pub sum: u64,
}

/// Time from SYN to established; bounds and sum in nanoseconds ([`CONNECT_BOUNDS_NS`]).
pub type ConnectDuration = Histogram<{ CONNECT_BOUNDS_NS.len() + 1 }>;
/// Round-trip times; bounds and sum in microseconds ([`RTT_BOUNDS_US`]).
pub type RoundTrips = Histogram<{ RTT_BOUNDS_US.len() + 1 }>;
/// Time from a DNS query to its response; bounds and sum in nanoseconds ([`DNS_BOUNDS_NS`]).
pub type DnsDuration = Histogram<{ DNS_BOUNDS_NS.len() + 1 }>;

impl<const N: usize> Histogram<N> {
    /// No observation.
    pub const ZERO: Self = Self { buckets: [0; N], sum: 0 };
}

#[expect(unsafe_code, reason = "bytemuck derives these for no generic type")]
// SAFETY: `u64` only, for which all zeros is a value.
unsafe impl<const N: usize> Zeroable for Histogram<N> {}
#[expect(unsafe_code, reason = "bytemuck derives these for no generic type")]
// SAFETY: `u64` only, in `repr(C)`: every bit pattern is a value, and there is no padding whatever `N` is.
unsafe impl<const N: usize> bytemuck::Pod for Histogram<N> {}

/// Index of the bucket for `value`: the first whose upper bound is not below it, or `bounds.len()` when it exceeds them
/// all.
///
/// With constant bounds this compiles to a chain of comparisons with constants: no lookup in a table, whose index the
/// verifier would have to bound.
#[inline(always)]
#[must_use]
pub const fn bucket<const N: usize>(bounds: &[u64; N], value: u64) -> usize {
    let mut index = 0;
    while index < N {
        if value <= bounds[index] {
            return index;
        }
        index += 1;
    }
    N
}

const _: () = {
    assert!(size_of::<ConnectDuration>() == 8 * (18 + 1));
    assert!(size_of::<RoundTrips>() == 8 * (13 + 1));
    assert!(size_of::<DnsDuration>() == 8 * (18 + 1));
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const N: usize>(bounds: &[u64; N]) {
        assert!(bounds.is_sorted());
        assert_eq!(bucket(bounds, 0), 0);
        for (index, bound) in bounds.iter().enumerate() {
            assert_eq!(bucket(bounds, *bound), index);
            assert_eq!(bucket(bounds, bound + 1), index + 1);
        }
        assert_eq!(bucket(bounds, u64::MAX), N);
    }

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_takes_the_rest() {
        check(&CONNECT_BOUNDS_NS);
        check(&RTT_BOUNDS_US);
        check(&DNS_BOUNDS_NS);
    }
}
