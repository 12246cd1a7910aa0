//! Packets that the kernel dropped, by the names of those that lost them.
//!
//! What is counted stays under the name that it had then. Where a workload has no name yet, its packets wait for one for a while.
//!
//! An end whose address has no name is called what the edges of its flows call it: they know the workload of a socket on this node
//! by both ends of the connection, a packet has addresses alone.

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::drops::{DropCause, DropDirection, DropKey, DropReason};
use netcause_common::endpoint::Address;
use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, ROLE_SERVER};

use super::model::{Model, Remotes};
use crate::enrich::{Names, Workload};

/// How many rows there may be; further ones count for the peer `other`, and then for the workload `other` as well.
pub const MAX_ROWS: usize = 1024;
/// How many of them may have an address in place of a name: a scan, or a flood from forged addresses, has any number of those, and
/// workloads need room beside them.
pub const MAX_ROWS_OF_ADDRESSES: usize = MAX_ROWS / 2;
/// How long packets wait for the name of their workload.
const NAMING: Duration = Duration::from_secs(10);
/// A row that has not grown for so long is no longer shown: longer than any interval between scrapes.
const KEPT: Duration = Duration::from_hours(1);
/// The same for a row with an address where there are as many of them as there may be.
const KEPT_WHEN_FULL: Duration = Duration::from_mins(5);

/// Whose packets were dropped, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The workload that sent the packets, or whose socket they had reached.
    pub workload: Workload,
    /// The other end.
    pub peer: Workload,
    /// What the packets were to the workload: a label of [`DropDirection`].
    pub direction: &'static str,
    /// Why: the number of a [`DropReason`].
    pub reason: u8,
}

impl Row {
    /// Whether an end is called by its address.
    fn has_address(&self) -> bool {
        [&self.workload, &self.peer].into_iter().any(is_address)
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> DropReason {
        DropReason::from_number(self.reason).unwrap_or(DropReason::Other)
    }
}

/// All that was dropped since the agent started.
#[derive(Debug, Default)]
pub struct PacketDrops {
    rows: HashMap<Row, (u64, Duration)>,
    /// How many of the rows have an address.
    of_addresses: usize,
    /// What was read last and has no name yet, with the time of its reading.
    unnamed: Vec<(DropKey, u64, Duration)>,
}

impl PacketDrops {
    /// Takes what a counter has grown by.
    pub fn count(&mut self, key: DropKey, packets: u64, now: Duration) {
        self.unnamed.push((key, packets, now));
    }

    /// Ends a reading: gives names to what was dropped.
    pub fn end_reading(&mut self, now: Duration, names: &Names, model: &Model) {
        let kept_with_address = if self.of_addresses < MAX_ROWS_OF_ADDRESSES { KEPT } else { KEPT_WHEN_FULL };
        self.rows.retain(|row, (_, grew)| {
            let kept = if row.has_address() { kept_with_address } else { KEPT };
            now.saturating_sub(*grew) < kept
        });
        self.of_addresses = self.rows.keys().filter(|row| row.has_address()).count();
        if self.unnamed.is_empty() {
            return;
        }
        let addresses = self.unnamed.iter().flat_map(|(key, ..)| [key.source, key.destination]);
        let remotes = model.remote_names(&addresses.filter(|address| !address.is_placeholder()).collect());
        for (key, packets, at) in std::mem::take(&mut self.unnamed) {
            let Some((workload, peer)) = ends(&key, names, &remotes) else { continue };
            let may_get_a_name = matches!(workload, Workload::Cgroup(_) | Workload::Pod(_));
            if may_get_a_name && now.saturating_sub(at) < NAMING {
                self.unnamed.push((key, packets, at));
                continue;
            }
            let (Some(reason), Some(direction)) =
                (DropReason::from_number(key.reason), DropDirection::from_number(key.direction))
            else {
                continue;
            };
            let row = Row { workload, peer, direction: direction.label(), reason: reason as u8 };
            let row = self.with_room_for(row);
            let has_address = row.has_address();
            let (count, grew) = self.rows.entry(row).or_insert_with(|| {
                self.of_addresses += usize::from(has_address);
                (0, now)
            });
            *count = count.wrapping_add(packets);
            *grew = now;
        }
    }

    /// The row itself while there is room for it, else the one that counts for it.
    fn with_room_for(&self, row: Row) -> Row {
        let has_room = |row: &Row| {
            let may_be_made = !row.has_address() || self.of_addresses < MAX_ROWS_OF_ADDRESSES;
            self.rows.contains_key(row) || self.rows.len() < MAX_ROWS && may_be_made
        };
        if has_room(&row) {
            return row;
        }
        let workload = if is_address(&row.workload) { Workload::Other } else { row.workload };
        let without_peer = Row { workload, peer: Workload::Other, ..row };
        if has_room(&without_peer) {
            return without_peer;
        }
        Row { workload: Workload::Other, ..without_peer }
    }

    /// By the two ends of the packets, with counts by [`DropCause`].
    #[must_use]
    pub fn by_cause(&self) -> HashMap<(&Workload, &Workload), [u64; DropCause::COUNT]> {
        let mut pairs: HashMap<_, [u64; DropCause::COUNT]> = HashMap::new();
        for (row, (count, _)) in &self.rows {
            let cause = row.reason().cause();
            let counts = pairs.entry((&row.workload, &row.peer)).or_default();
            counts[cause as usize] = counts[cause as usize].wrapping_add(*count);
        }
        pairs
    }

    /// The local ends of packets that wait for names.
    pub fn locals(&self) -> impl Iterator<Item = u64> {
        self.unnamed.iter().map(|(key, ..)| key.local)
    }

    /// The rows, in any order.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, u64)> {
        self.rows.iter().map(|(row, (count, _))| (row, *count))
    }
}

fn is_address(workload: &Workload) -> bool {
    matches!(workload, Workload::Address(_))
}

/// The workload that packets count for, and its peer; `None` for a direction that there is not.
fn ends(key: &DropKey, names: &Names, remotes: &Remotes) -> Option<(Workload, Workload)> {
    if key.local == 0 {
        return Some((Workload::Other, Workload::Other));
    }
    let at = |remote: Address| {
        let flow = FlowKey { local: key.local, remote, role: ROLE_SERVER, ..FlowKey::default() };
        match names.remote(&flow).workload {
            address @ Workload::Address(_) => remotes.of(key.local, remote).cloned().unwrap_or(address),
            name => name,
        }
    };
    Some(match DropDirection::from_number(key.direction)? {
        DropDirection::Sent => (names.local(key.local), at(key.destination)),
        DropDirection::Received => (names.local(key.local), at(key.source)),
        // Not IP, or its headers could not be read: what is left is where it was dropped.
        DropDirection::InTransit if key.source == Address::UNKNOWN => {
            let device =
                if key.local == LOCAL_IS_NAMESPACE { Workload::Unknown } else { names.local(key.local) };
            (device, Workload::Unknown)
        }
        DropDirection::InTransit => (at(key.source), at(key.destination)),
    })
}
