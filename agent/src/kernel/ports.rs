//! Which ports the kernel chooses for clients.

use std::fs;

/// The kernel's default (`inet_init_net`, net/ipv4/af_inet.c), which every new network namespace has.
const DEFAULT: u16 = 32_768;

/// The lowest port that the kernel chooses for clients, here or in a namespace with the default.
pub(super) fn first_ephemeral() -> u16 {
    let here = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    first_of(&here).min(DEFAULT)
}

/// The first of two numbers (Documentation/networking/ip-sysctl.rst, ip_local_port_range).
fn first_of(range: &str) -> u16 {
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_counts() {
        assert_eq!(first_of("1024\t65535\n"), 1024);
        assert_eq!(first_of("32768 60999"), DEFAULT);
        for unusable in ["", "none", "-1 5", "70000 80000"] {
            assert_eq!(first_of(unusable), DEFAULT, "{unusable}");
        }
    }
}
