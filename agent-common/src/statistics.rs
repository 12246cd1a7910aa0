//! The kernel side's own numbers: what was kept, folded and lost. One `u64` per CPU and name.

use crate::probe::ProbeId;

/// Index into the statistics map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Entries ever made in the flow table.
    FlowsInserted = 0,
    /// Updates that went to [`crate::flow::FlowKey::other`] because the table was full.
    FlowsFolded = 1,
    /// Sockets ever remembered.
    SocketsInserted = 2,
    /// Sockets forgotten again at their end.
    SocketsRemoved = 3,
    /// Sockets that could not be remembered because the table was full: no latency, role by port.
    SocketsRefused = 4,
    /// Connections of clients that no program was shown the beginning or the failure of: they are counted without
    /// latency, or not as failed (also those that began while the socket table was full).
    ConnectionsMissed = 5,
    /// New flows that the full ring could not announce.
    FlowsUnannounced = 6,
    /// Messages at a DNS port that are none, or shorter than their head.
    DnsMalformed = 7,
    /// Messages of TCP connections that could not be followed: their head, or what came before it, was cut apart, lost or
    /// out of order.
    DnsUnfollowed = 8,
    /// Details of answers that were left out because there were too many in a short time.
    DnsDetailsLeftOut = 9,
    /// First of [`ProbeId::COUNT`] counters of detail events that the full ring refused, by probe.
    EventsLost = 10,
}

/// How many counters the map holds.
pub const STATISTICS: u32 = Statistic::EventsLost as u32 + ProbeId::COUNT;
