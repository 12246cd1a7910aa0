//! Packets on their way from a device to the protocols, by CPU: `/proc/net/softnet_stat` (`softnet_seq_show`,
//! net/core/net-procfs.c). They are the kernel's, not a network namespace's.

use netcause_common::labelled_enum;

use super::text::{Malformed, lines, number, words};

labelled_enum! {
    /// What is counted: an index into [`Cpu::counters`].
    pub enum Counter: u8 {
        /// Packets processed.
        Processed = 0, "processed";
        /// Packets dropped because the backlog of the CPU was full (`net.core.netdev_max_backlog`).
        Dropped = 1, "dropped";
        /// Times that the CPU ran out of budget or time (`net.core.netdev_budget`) with packets left.
        Squeezed = 2, "times_squeezed";
        /// Packets dropped because one flow filled the backlog (`net.core.flow_limit_cpu_bitmap`).
        FlowLimited = 3, "flow_limited";
    }
}

/// One CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub cpu: u64,
    /// By [`Counter`]; each counts to 2^32.
    pub counters: [u64; Counter::COUNT],
    /// Packets that wait now; `None` before Linux 5.10.
    pub backlog: Option<u64>,
}

/// Parses the file: a line of hexadecimal numbers for each CPU that is online. Columns were added at the end over the years.
///
/// # Errors
///
/// When a line has fewer than the eleven columns of Linux 3.11, or something else than numbers, or there is none.
pub fn parse(text: &[u8]) -> Result<Vec<Cpu>, Malformed> {
    let mut cpus = Vec::new();
    for (place, line) in lines(text).enumerate() {
        let columns: Option<Vec<u64>> = words(line).map(|word| number(word, 16)).collect();
        let columns = columns.ok_or(Malformed("softnet_stat has a word that is no number"))?;
        let [processed, dropped, squeezed, _, _, _, _, _, _, _, flow_limited, ref rest @ ..] = columns[..]
        else {
            return Err(Malformed("softnet_stat has too few columns"));
        };
        cpus.push(Cpu {
            cpu: rest.get(1).copied().unwrap_or(place as u64),
            counters: [processed, dropped, squeezed, flow_limited],
            backlog: rest.first().copied(),
        });
    }
    if cpus.is_empty() { Err(Malformed("softnet_stat has no CPU")) } else { Ok(cpus) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_several_kernels_are_read() {
        // Linux 6.18, with CPU 1 offline.
        let newest = b"03545d1b 00001217 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000005 00000000 00000000 00000000\n\
            0369a76d 00000000 00000004 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000000 00000001\n";
        let cpus = parse(newest).unwrap();
        let first = Cpu { cpu: 0, counters: [0x0354_5d1b, 0x1217, 1, 2], backlog: Some(5) };
        assert_eq!(cpus, [first, Cpu { cpu: 2, counters: [0x0369_a76d, 0, 4, 0], backlog: Some(0) }]);
        // Linux 4.19.
        let older = b"000000a0 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n";
        assert_eq!(parse(older).unwrap(), [Cpu { cpu: 0, counters: [0xa0, 0, 0, 0], backlog: None }]);
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            [&b""[..], b"\n\n", b"1 2 3\n", b"a b c d e f 0 1 2 3 x\n", b"\xff\xfe 0 0 0 0 0 0 0 0 0 0\n"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
