//! Faults of what the kernel keeps for all.

use super::{act, requests};
use crate::faults::{
    case::{Act, Deed, End, Scope, Traffic, Truth},
    draw::Draw,
};

/// Connections that go on fill the table of one end; new ones find no room.
pub(super) fn conntrack_full(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: true, second_port: true, ..requests(draw) };
    let (end, scope) = draw.one_of(&[(End::Server, Scope::Server), (End::Client, Scope::Pair)]);
    let truth = Truth { causes: &["conntrack_full"], sides: &["node"], of_workload: true };
    act("conntrack_full", truth, traffic, Deed::Track(end, draw.number(40, 150)), scope)
}

/// A NAT before two hosts has few ports, and uses them again at once for the other one, whose clock of timestamps is another: the server,
/// which ended the connection before, still waits for its last segments and takes the SYN for an old one.
pub(super) fn time_wait_reuse(draw: &mut Draw) -> Act {
    let traffic = Traffic {
        fresh: true,
        hangup: true,
        two_hosts: true,
        connections: draw.number(4, 8),
        interval_ms: draw.one_of(&[100, 200]),
        timeout_ms: 0,
        ..requests(draw)
    };
    let on = [
        "sysctl net/netfilter/nf_conntrack_tcp_timeout_time_wait=1".to_owned(),
        "sysctl net/netfilter/nf_conntrack_tcp_timeout_last_ack=1".to_owned(),
        "nft flush chain ip lab_nat out".to_owned(),
        format!("nft add rule ip lab_nat out {NAT}:40000-{}", 40_000 + draw.number(40, 120)),
    ];
    let off = [
        "nft flush chain ip lab_nat out".to_owned(),
        format!("nft add rule ip lab_nat out {NAT}:20000-60000"),
    ];
    let truth = Truth { causes: &["time_wait_reuse"], sides: &["server", "client"], of_workload: true };
    let deed = Deed::Commands(End::Client, on.to_vec(), off.to_vec());
    act("time_wait_reuse", truth, traffic, deed, Scope::Pair)
}

/// What the NAT does with connections to the server, up to its ports.
const NAT: &str = "ip daddr SERVER tcp dport PORT snat to CLIENT";
