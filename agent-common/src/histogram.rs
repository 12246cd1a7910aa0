//! Histograms, with the same bins in the kernel's maps and on `/metrics`.
//!
//! The bounds are powers of two of a second, which are those of Prometheus's native histograms of schema 0
//! (<https://prometheus.io/docs/specs/native_histograms/#schema>). Times are whole nanoseconds, microseconds or
//! milliseconds, so that the bound rounded down to one of these separates them exactly as the bound does: the programs
//! compare with constants, and convert nothing.

use bytemuck::Zeroable;

/// Powers of two of a second, ascending from 2^`first`, in a unit of which there are so many in a second, rounded down.
#[must_use]
pub const fn powers<const N: usize>(first: i32, per_second: u64) -> [u64; N] {
    let (mut bounds, mut index, mut power) = ([0; N], 0, first);
    while index < N {
        let by = power.unsigned_abs();
        bounds[index] = if power < 0 { per_second >> by } else { per_second << by };
        (index, power) = (index + 1, power + 1);
    }
    bounds
}

/// The first bound of connect latency: 2^-14 s.
pub const CONNECT_FIRST: i32 = -14;
/// Upper bounds of connect latency in nanoseconds: 61 µs to 64 s, after which Linux sends the last SYN by default.
pub const CONNECT_BOUNDS_NS: [u64; 21] = powers(CONNECT_FIRST, 1_000_000_000);

/// The first bound of round-trip times: 2^-14 s.
pub const RTT_FIRST: i32 = -14;
/// Upper bounds of round-trip times in microseconds: 61 µs to 8 s.
pub const RTT_BOUNDS_US: [u64; 18] = powers(RTT_FIRST, 1_000_000);

/// The first bound of DNS response times: 2^-13 s.
pub const DNS_FIRST: i32 = -13;
/// Upper bounds of DNS response times in nanoseconds: 122 µs to 32 s.
pub const DNS_BOUNDS_NS: [u64; 19] = powers(DNS_FIRST, 1_000_000_000);

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
    assert!(size_of::<ConnectDuration>() == 8 * (22 + 1));
    assert!(size_of::<RoundTrips>() == 8 * (19 + 1));
    assert!(size_of::<DnsDuration>() == 8 * (20 + 1));
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

    #[test]
    fn whole_units_are_on_the_side_of_the_bound_that_the_time_is_on() {
        fn check<const N: usize>(bounds: &[u64; N], first: i32, per_second: f64) {
            for (power, bound) in (first..).zip(bounds) {
                let seconds = 2_f64.powi(power);
                assert!(*bound as f64 / per_second <= seconds, "2^{power}");
                assert!((bound + 1) as f64 / per_second > seconds, "2^{power}");
            }
        }
        check(&CONNECT_BOUNDS_NS, CONNECT_FIRST, 1e9);
        check(&RTT_BOUNDS_US, RTT_FIRST, 1e6);
        check(&DNS_BOUNDS_NS, DNS_FIRST, 1e9);
    }
}
