//! Classic histogram buckets, the same in the kernel's maps and on `/metrics`.

use bytemuck::{Pod, Zeroable};

/// Upper bounds of connect latency in nanoseconds: 50 µs to 10 s; what is slower falls into one more bucket.
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

/// How long connecting took.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ConnectDuration {
    /// Connections per bucket (not cumulative); the last one is above every bound.
    pub buckets: [u64; CONNECT_BOUNDS_NS.len() + 1],
    /// Sum of all durations in nanoseconds.
    pub sum_ns: u64,
}

impl ConnectDuration {
    /// Nothing observed.
    pub const ZERO: Self = Self { buckets: [0; CONNECT_BOUNDS_NS.len() + 1], sum_ns: 0 };
}

/// The bucket a duration falls into: the first whose upper bound is not below it.
///
/// A chain of comparisons with constants, unrolled: no table lookup for the verifier to follow.
#[inline(always)]
#[must_use]
pub const fn connect_bucket(duration_ns: u64) -> usize {
    let mut index = 0;
    while index < CONNECT_BOUNDS_NS.len() {
        if duration_ns <= CONNECT_BOUNDS_NS[index] {
            return index;
        }
        index += 1;
    }
    CONNECT_BOUNDS_NS.len()
}

/// Upper bounds of round-trip times in microseconds: 50 µs to 10 s, fine where data centres live.
pub const RTT_BOUNDS_US: [u32; 12] =
    [50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 50_000, 200_000, 1_000_000, 10_000_000];

/// Round-trip times.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RoundTrips {
    /// Observations per bucket (not cumulative); the last one is above every bound.
    pub buckets: [u64; RTT_BOUNDS_US.len() + 1],
    /// Sum of all in microseconds.
    pub sum_us: u64,
}

impl RoundTrips {
    /// Nothing observed.
    pub const ZERO: Self = Self { buckets: [0; RTT_BOUNDS_US.len() + 1], sum_us: 0 };
}

/// The bucket a round-trip time falls into; see [`connect_bucket`].
#[inline(always)]
#[must_use]
pub const fn rtt_bucket(rtt_us: u32) -> usize {
    let mut index = 0;
    while index < RTT_BOUNDS_US.len() {
        if rtt_us <= RTT_BOUNDS_US[index] {
            return index;
        }
        index += 1;
    }
    RTT_BOUNDS_US.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_takes_the_rest() {
        assert_eq!(connect_bucket(0), 0);
        for (index, bound) in CONNECT_BOUNDS_NS.into_iter().enumerate() {
            assert_eq!(connect_bucket(bound), index);
            assert_eq!(connect_bucket(bound + 1), index + 1);
        }
        assert_eq!(connect_bucket(u64::MAX), CONNECT_BOUNDS_NS.len());
        assert_eq!(rtt_bucket(0), 0);
        for (index, bound) in RTT_BOUNDS_US.into_iter().enumerate() {
            assert_eq!(rtt_bucket(bound), index);
            assert_eq!(rtt_bucket(bound + 1), index + 1);
        }
        assert_eq!(rtt_bucket(u32::MAX), RTT_BOUNDS_US.len());
    }
}
