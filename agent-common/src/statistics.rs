//! The kernel side's own numbers: insertions, removals and losses. One `u64` per CPU and number.

use crate::labelled_enum;
use crate::probe::ProbeId;

labelled_enum! {
    /// Index into the statistics map.
    pub enum Statistic: u32 {
        /// Entries ever inserted into the flow tables.
        FlowsInserted = 0, "flows_inserted";
        /// Updates that went to [`crate::flow::FlowKey::other`] because the table was full.
        FlowsFolded = 1, "flows_folded";
        /// Entries ever inserted into the socket table.
        SocketsInserted = 2, "sockets_inserted";
        /// Entries removed from it when the socket was destroyed.
        SocketsRemoved = 3, "sockets_removed";
        /// Sockets that were not inserted because the table was full: no latency, and the role is inferred from the
        /// ports.
        SocketsRefused = 4, "sockets_refused";
        /// Client connections whose start or failure no program observed: counted without latency, or not counted as
        /// failed. Includes those that started while the socket table was full.
        ConnectionsMissed = 5, "connections_missed";
        /// New flows that were not announced because the ring buffer was full.
        FlowsUnannounced = 6, "flows_unannounced";
        /// Packets at a DNS port that are shorter than the header of a message, or go in the wrong direction.
        DnsMalformed = 7, "dns_malformed";
        /// DNS messages over TCP that could not be reassembled: their header, or data before it, was split across
        /// segments, lost or out of order.
        DnsUnfollowed = 8, "dns_unfollowed";
        /// Details of DNS responses that were dropped by the rate limit.
        DnsDetailsLeftOut = 9, "dns_details_left_out";
        /// Packets at a DNS port that are another protocol's, by opcode, counts of records or the form of the name.
        DnsForeign = 10, "dns_foreign";
        /// Segments and buffers with more DNS messages than the programs read of one.
        DnsUnread = 11, "dns_unread";
        /// IPv6 packets with more or longer extension headers than the programs parse.
        ExtensionsUnread = 12, "extensions_unread";
        /// Dropped packets that count for [`crate::drops::DropKey::other`] because the table was full.
        DropsFolded = 13, "drops_folded";
        /// Dropped ranges of TCP data that others replaced before their retransmission.
        DropsForgotten = 14, "drops_forgotten";
        /// First of [`ProbeId::COUNT`] numbers: events that were lost because the ring buffer was full, by probe.
        EventsLost = 15, "events_lost";
    }
}

/// Entries of the statistics map.
#[expect(clippy::cast_possible_truncation, reason = "a handful of probes")]
pub const STATISTICS: u32 = Statistic::EventsLost as u32 + ProbeId::COUNT as u32;
