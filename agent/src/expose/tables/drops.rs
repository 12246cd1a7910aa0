//! Packets that the kernel dropped.

use netcause_core::aggregate::drops::Row;

use super::labels;
use super::shared::workload;
use crate::expose::series::{Family, Rows, Table, counter, sum};
use crate::expose::snapshot::DropRow;

static TABLE: Table<u64> = Table {
    labels: &["namespace", "workload", "peer_namespace", "peer_workload", "direction", "reason"],
    sparse: false,
    metrics: &[counter(
        "netcause_packet_drops",
        "Packets that the kernel of this node dropped for a reason that means a fault (docs/packet-drops.md has all). reason: the name in the enum skb_drop_reason of the kernel, in lower case. direction: sent, a socket of the workload sent it to the peer; received, it had reached a socket of the workload; in_transit, it had no socket where it was dropped, and by its addresses the workload sent it to the peer: on its way through the node, or before the receiving socket was looked up. A buffer with segments that are to be cut later counts as one packet, as in nft and tc. Not counted: broadcast and multicast, and what the kernel frees without a loss. Above 1024 rows, or 512 with an address in place of a workload, further ones count for the peer other, then for the workload other; a row is shown until an hour after its last packet (with an address, where there are 512 of them, five minutes). Needs Linux 5.17.",
        |packets, to| to.value(*packets),
    )],
};

pub(super) fn families(drops: &[DropRow]) -> impl Iterator<Item = Family<'_>> {
    let rows = drops.iter().map(|DropRow { row, packets }| {
        let Row { workload: own, peer, direction, .. } = row;
        (
            labels![
                own.namespace(),
                workload(own),
                peer.namespace(),
                workload(peer),
                *direction,
                row.reason().label()
            ],
            *packets,
        )
    });
    TABLE.families(&Rows::new(rows, sum))
}
