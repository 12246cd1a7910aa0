//! What the kernel of this node counts for all, and for the network namespaces of each workload.

use super::places::{LEAST, Seen};
use crate::diagnose::cause::{Cause, Confidence};
use crate::diagnose::draft::Draft;
use crate::diagnose::finding::{Impact, Signal, Subject, name};
use crate::enrich::Workload;

/// Broken or late packets come now and then on a healthy network.
const MANY: u64 = 10;
/// Connection tracking is full from this share on.
const FULL: f64 = 0.95;

fn subject(owner: Option<&Workload>) -> Subject {
    owner.map_or(Subject::Node, |owner| Subject::Workload(owner.clone()))
}

fn whose(owner: Option<&Workload>) -> String {
    owner.map_or_else(|| "this node".to_owned(), name)
}

/// A CPU that does not keep up.
pub(super) fn softnet(seen: &Seen<'_>) -> Option<Draft> {
    let dropped = seen.sum(&["dropped", "flow_limited"]);
    let squeezed = seen.count("times_squeezed");
    if dropped < LEAST || seen.recent_sum(&["dropped", "flow_limited"]) == 0 {
        return None;
    }
    let summary =
        "This node drops received packets because a CPU does not keep up with them: the backlog is full."
            .to_owned();
    Some(
        Draft::new(Cause::SoftirqOverload, Subject::Node, Confidence::High, summary)
            .weighs(dropped as f64, dropped >= 20)
            .because(Signal::value(
                "node_softnet_dropped",
                dropped as f64,
                "packets",
                format!("{dropped} packets were dropped at a full backlog"),
            ))
            .because(Signal::value(
                "node_softnet_times_squeezed",
                squeezed as f64,
                "times",
                format!("receive work was cut short {squeezed} times"),
            ))
            .not(Cause::PathLoss, "the packets arrived at this node")
            .then(
                "See which CPU; spread the load (RPS, more queues) or raise net.core.netdev_max_backlog.",
                "cat /proc/net/softnet_stat; sysctl net.core.netdev_max_backlog".to_owned(),
            ),
    )
}

/// A queueing discipline that drops; that it hurts is seen at pairs (`arbiter`).
pub(super) fn queue(seen: &Seen<'_>, device: &str, kind: &str) -> Option<Draft> {
    let dropped = seen.count("drops");
    if dropped < LEAST || seen.recently("drops") == 0 {
        return None;
    }
    let summary =
        format!("The queue of {device} ({kind}) on this node drops packets that have to be sent again.");
    let says = format!("the queueing discipline {kind} of {device} dropped {dropped} packets");
    Some(
        Draft::new(Cause::ShaperDrop, Subject::Interface(device.to_owned()), Confidence::High, summary)
            .weighs(dropped as f64, false)
            .because(Signal::value("node_qdisc_drops", dropped as f64, "packets", says))
            .not(Cause::PathLoss, "this node dropped the very segments that were sent again")
            .then("See what the queue drops, and its limits.", format!("tc -s qdisc show dev {device}")),
    )
}

/// Connection tracking without room, or with a race.
pub(super) fn conntrack(seen: &Seen<'_>, owner: Option<&Workload>, limit: Option<f64>) -> Option<Draft> {
    let level = seen.recent_level("entries").zip(limit);
    // What loses a race for an entry is counted as both.
    let dropped = seen.count("drop").saturating_sub(seen.count("insert_failed"));
    let recently = seen.recently("drop").saturating_sub(seen.recently("insert_failed"));
    if dropped < LEAST || recently == 0 {
        return raced(seen, owner);
    }
    // Between two readings it may have been full all the same: the kernel drops for hardly any other reason.
    let (confidence, when) = match level {
        None => (Confidence::Low, ""),
        Some((entries, limit)) if entries < FULL * limit => (Confidence::Medium, " at times"),
        Some(_) => (Confidence::High, ""),
    };
    let summary = format!(
        "Connection tracking of {} is full{when}: new connections are dropped, those that exist go on.",
        whose(owner)
    );
    let says = format!("{dropped} packets were dropped because the table is full");
    Some(
        Draft::new(Cause::ConntrackFull, subject(owner), confidence, summary)
            .weighs(dropped as f64, dropped >= 10)
            .hurts(Impact {
                failed_connections_per_second: dropped as f64 / seen.seconds.max(1.0),
                ..Impact::default()
            })
            .because(Signal::value("node_nf_conntrack_drop", dropped as f64, "packets", says))
            .because_of(level.map(|(entries, limit)| Signal {
                of: Some(limit),
                ..Signal::value(
                    "node_nf_conntrack_entries",
                    entries,
                    "entries",
                    format!("{entries:.0} of {limit:.0} entries are taken"),
                )
            }))
            .not(Cause::PathLoss, "only new connections are concerned")
            .then(
                "See how full it is, and raise the limit.",
                "conntrack -S; conntrack -C; sysctl net.netfilter.nf_conntrack_max".to_owned(),
            ),
    )
}

/// Packets that raced for one entry, as the queries for A and AAAA from one socket do.
fn raced(seen: &Seen<'_>, owner: Option<&Workload>) -> Option<Draft> {
    let failed = seen.count("insert_failed");
    if failed < LEAST || seen.recently("insert_failed") == 0 {
        return None;
    }
    let summary = format!(
        "Connection tracking of {} loses packets that race for one entry, as DNS queries for A and AAAA from one socket do.",
        whose(owner)
    );
    let says = format!("{failed} entries could not be inserted, and the table is not full");
    Some(
        Draft::new(Cause::DnsConntrackRace, subject(owner), Confidence::Low, summary)
            .weighs(failed as f64, false)
            .because(Signal::value("node_nf_conntrack_insert_failed", failed as f64, "entries", says))
            .not(Cause::ConntrackFull, "there is room in the table")
            .then("See the counters of each CPU.", "conntrack -S".to_owned()),
    )
}

/// A table of neighbours without room.
pub(super) fn neighbour_table(seen: &Seen<'_>, table: &str) -> Option<Draft> {
    let fulls = seen.count("table_fulls");
    if fulls < LEAST || seen.recently("table_fulls") == 0 {
        return None;
    }
    let (entries, limit) = (seen.level("entries").unwrap_or(0.0), seen.level("entries_limit").unwrap_or(0.0));
    let summary = format!(
        "The table of neighbours ({table}) of this node is full: addresses that are not in it cannot be reached."
    );
    Some(
        Draft::new(Cause::NeighbourTableFull, Subject::Node, Confidence::High, summary)
            .weighs(fulls as f64, fulls >= 10)
            .because(Signal::value(
                "node_neighbour_table_fulls",
                fulls as f64,
                "times",
                format!("the table was full {fulls} times"),
            ))
            .because(Signal {
                of: Some(limit),
                ..Signal::value(
                    "node_neighbour_entries",
                    entries,
                    "entries",
                    format!("{entries:.0} of {limit:.0} entries are taken"),
                )
            })
            .not(Cause::NoRoute, "there is a route; the address of the next hop cannot be kept")
            .then(
                "Raise the limits of the table.",
                "sysctl net.ipv4.neigh.default.gc_thresh3 net.ipv6.neigh.default.gc_thresh3".to_owned(),
            ),
    )
}

/// An address that goes back and forth between two link addresses. One that moves, or comes back, does so once: a failover, or a pod
/// in place of another.
pub(super) fn duplicate_address(seen: &Seen<'_>) -> Option<Draft> {
    let [moves, flaps] = ["link_address_changes", "link_address_flaps"].map(|name| seen.count(name));
    if seen.recently("link_address_flaps") == 0 {
        return None;
    }
    let summary =
        "Two hosts use one address: a neighbour of this node goes back and forth between two link addresses."
            .to_owned();
    let says = format!("{moves} changes of link addresses, {flaps} of them back and forth");
    Some(
        Draft::new(Cause::DuplicateAddress, Subject::Node, Confidence::Medium, summary)
            .weighs(moves as f64, false)
            .because(Signal::value("node_neighbour_link_address_changes", moves as f64, "changes", says))
            .without(
                "failover",
                "a virtual address whose owners take it from each other again and again looks the same",
            )
            .then("See which address it is.", "ip -4 neigh; ip -6 neigh".to_owned()),
    )
}

/// What the protocols of a network namespace count.
pub(super) fn protocols(seen: &Seen<'_>, owner: Option<&Workload>) -> Option<Draft> {
    const CHECKSUMS: [&str; 6] = [
        "Tcp_InCsumErrors",
        "Udp_InCsumErrors",
        "Udp6_InCsumErrors",
        "Icmp_InCsumErrors",
        "Icmp6_InCsumErrors",
        "IpExt_InCsumErrors",
    ];
    const MEMORY: [&str; 6] = [
        "TcpExt_PruneCalled",
        "TcpExt_RcvPruned",
        "TcpExt_TCPRcvQDrop",
        "TcpExt_TCPOFODrop",
        "TcpExt_TCPBacklogDrop",
        "TcpExt_TCPAbortOnMemory",
    ];
    const OLD: [&str; 3] = ["TcpExt_PAWSActive", "TcpExt_PAWSTimewait", "TcpExt_PAWSEstab"];
    let broken = seen.sum(&CHECKSUMS);
    if broken >= MANY && seen.recent_sum(&CHECKSUMS) > 0 {
        let summary = format!("Packets reach {} damaged: {broken} had a wrong checksum.", whose(owner));
        return Some(
            Draft::new(Cause::PacketCorruption, subject(owner), Confidence::High, summary)
                .weighs(broken as f64, broken >= 20)
                .because(Signal::value(
                    "node_netstat{InCsumErrors}",
                    broken as f64,
                    "packets",
                    format!("{broken} wrong checksums"),
                ))
                .not(Cause::PathLoss, "the packets arrived, and are dropped for their checksum")
                .then(
                    "See the devices' own errors; a bad cable, card, switch or tunnel does this.",
                    "ip -s -s link; nstat -az | grep -i csum".to_owned(),
                ),
        );
    }
    let memory = seen.sum(&MEMORY);
    if memory >= LEAST && seen.recent_sum(&MEMORY) > 0 && seen.sum(&MEMORY[1..]) > 0 {
        let summary = format!(
            "{} has no memory for data that has arrived: the kernel drops it, and it is sent again.",
            whose(owner)
        );
        return Some(
            Draft::new(Cause::ReceiverMemoryPressure, subject(owner), Confidence::Medium, summary)
                .weighs(memory as f64, false)
                .because(Signal::value(
                    "node_netstat{TcpExt_PruneCalled}",
                    memory as f64,
                    "times",
                    format!("receive queues were pruned, or segments dropped, {memory} times"),
                ))
                .not(Cause::PathLoss, "the segments had arrived")
                .then(
                    "See the memory of TCP and of these sockets (skmem).",
                    "cat /proc/net/sockstat; sysctl net.ipv4.tcp_mem net.ipv4.tcp_rmem".to_owned(),
                ),
        );
    }
    let old = seen.sum(&OLD);
    // Before Linux 6.14 PAWSEstab also counts bare acknowledgements that others have overtaken, which hurts nobody.
    let of_ended = seen.sum(&OLD[..2]);
    if old >= MANY && seen.recent_sum(&OLD) > 0 && of_ended > 0 {
        let confidence = if of_ended >= MANY { Confidence::Medium } else { Confidence::Low };
        let summary = format!(
            "{} discards segments with old timestamps: ports of ended connections are used again too soon, as behind a NAT.",
            whose(owner)
        );
        return Some(
            Draft::new(Cause::TimeWaitReuse, subject(owner), confidence, summary)
                .weighs(old as f64, false)
                .because(Signal::value(
                    "node_netstat{TcpExt_PAWSEstab}",
                    old as f64,
                    "segments",
                    format!("{old} segments were discarded for their timestamps"),
                ))
                .then("See the counters of old segments.", "nstat -az | grep PAWS".to_owned()),
        );
    }
    None
}
