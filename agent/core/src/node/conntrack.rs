//! The connection tracking of a network namespace: how many entries, how many at most, and what did not go in.

use netcause_common::labelled_enum;

use super::text::{Malformed, lines, number, words};

labelled_enum! {
    /// What is counted: an index into [`Table::counters`], by the name in `/proc/net/stat/nf_conntrack`.
    pub enum Counter: u8 {
        /// Packets that no connection could be found or made for.
        Invalid = 0, "invalid";
        /// Entries that could not be inserted: another had the tuple, as in a race of two packets.
        InsertFailed = 1, "insert_failed";
        /// Packets dropped because an entry could not be made: the table is full, or memory is short.
        Drop = 2, "drop";
        /// Entries removed early to make room in a full table.
        EarlyDrop = 3, "early_drop";
        /// Packets of ICMP errors that were broken.
        IcmpError = 4, "icmp_error";
    }
}

/// Counters, by [`Counter`]; each counts to 2^32 per CPU.
pub type Counters = [u64; Counter::COUNT];

/// The table of a network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Entries now.
    pub entries: u64,
    /// How many there may be; `None` where that was not read.
    pub limit: Option<u64>,
    /// The sum over CPUs.
    pub counters: Counters,
}

/// Parses `/proc/PID/net/stat/nf_conntrack`: a line of names, and a line of hexadecimal numbers for each CPU
/// (`ct_cpu_seq_show`, net/netfilter/nf_conntrack_standalone.c).
///
/// # Errors
///
/// When there is no line of names with `entries` in it, or a line is shorter than that, or has a word that is no number.
pub fn parse(text: &[u8]) -> Result<Table, Malformed> {
    let mut lines = lines(text);
    let names: Vec<_> = words(lines.next().unwrap_or_default()).collect();
    let column = |name: &str| names.iter().position(|found| *found == name.as_bytes());
    let entries = column("entries").ok_or(Malformed("nf_conntrack has no entries"))?;
    let columns = Counter::ALL.map(|counter| column(counter.label()));
    let mut table = Table::default();
    for line in lines {
        let values: Option<Vec<u64>> = words(line).map(|word| number(word, 16)).collect();
        let values = values.ok_or(Malformed("nf_conntrack has a word that is no number"))?;
        if values.len() < names.len() {
            return Err(Malformed("nf_conntrack has fewer numbers than names"));
        }
        let value =
            |column: Option<usize>| column.and_then(|column| values.get(column)).copied().unwrap_or_default();
        // That of the namespace, on the line of each CPU.
        table.entries = value(Some(entries));
        for (counter, column) in table.counters.iter_mut().zip(columns) {
            *counter = counter.wrapping_add(value(column));
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Linux 6.18.
    const NEWEST: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
        0000000f  00000001 00000002 00000000 00000004 00000000 00000000 00000000 00000000 00000007 00000008 00000009 0000000a  00000000 00000000 00000000 00000000\n\
        0000000f  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000001 00000000 00000000 00000000  00000000 00000000 00000000 00000000\n";
    /// Linux 4.9.
    const OLDER: &str = "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
        00000003  00000001 00000002 00000000 00000005 00000000 00000000 00000000 00000000 00000001 00000002 00000003 00000000  00000000 00000000 00000000 00000000\n";

    #[test]
    fn files_of_several_kernels_are_read() {
        let table = Table { entries: 15, limit: None, counters: [5, 8, 8, 9, 10] };
        assert_eq!(parse(NEWEST.as_bytes()), Ok(table));
        let table = Table { entries: 3, limit: None, counters: [5, 1, 2, 3, 0] };
        assert_eq!(parse(OLDER.as_bytes()), Ok(table));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "clashres found\n0 1\n", "entries drop\n0\n", "entries drop\n0 x\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200), at in 0..OLDER.len(), byte: u8) {
            let mut changed = OLDER.as_bytes().to_vec();
            changed[at] = byte;
            let _ = (parse(&text), parse(&changed));
        }
    }
}
