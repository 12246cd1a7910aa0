//! Time that tasks wait for a CPU: `/proc/pressure/cpu` (Documentation/accounting/psi.rst).

use std::time::Duration;

use super::text::{Malformed, lines, number, words};

/// The time in which some task waited, since the kernel started: `total` of the line `some`, in microseconds.
///
/// # Errors
///
/// When there is no such line.
pub fn parse(text: &[u8]) -> Result<Duration, Malformed> {
    let some = lines(text).find_map(|line| line.strip_prefix(b"some "));
    let total = some.and_then(|line| words(line).find_map(|word| word.strip_prefix(b"total=")));
    let total = total.and_then(|total| number(total, 10));
    total.map(Duration::from_micros).ok_or(Malformed("pressure/cpu has no total"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_is_read() {
        let six = b"some avg10=4.45 avg60=1.56 avg300=2.04 total=32434753836\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse(six), Ok(Duration::from_micros(32_434_753_836)));
        // Linux 5.10 has no line `full` for CPUs.
        assert_eq!(parse(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"), Ok(Duration::from_micros(3)));
        for text in [&b""[..], b"full avg10=0.00 total=7\n", b"some total=\xff\n", b"some avg10=1\n"] {
            assert!(parse(text).is_err());
        }
    }
}
