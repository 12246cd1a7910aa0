//! Faults of rules, and of the client's node.

use super::{PATH, act, requests, transfers, truth};
use crate::faults::{
    case::{Act, Deed, End, Scope, Traffic},
    draw::Draw,
};

const POLICY: &[&str] = &["policy"];

pub(super) fn policy_drop(draw: &mut Draw) -> Act {
    let traffic = Traffic { second_port: draw.percent(70), ..requests(draw) };
    let (end, chain) = draw.one_of(&[
        (End::Server, "input"),
        (End::Server, "input"),
        (End::Client, "output"),
        (End::Server, "output"),
    ]);
    // Others have servers at this port, too.
    let rule = match (end, chain) {
        (End::Server, "output") => "tcp sport PORT drop",
        (End::Server, _) => "tcp dport PORT drop",
        _ => "TO_SERVER tcp dport PORT drop",
    };
    let scope = if end == End::Server { Scope::Server } else { Scope::Pair };
    act(
        "policy_drop",
        truth(&["policy_drop"], POLICY),
        traffic,
        Deed::Rule(end, chain, rule.to_owned()),
        scope,
    )
}

/// A firewall between the nodes.
pub(super) fn policy_drop_far(draw: &mut Draw) -> Act {
    let traffic = Traffic { second_port: true, ..requests(draw) };
    let how = "both drop_port=PORT only=SERVER".to_owned();
    act("policy_drop_far", truth(&["policy_drop"], POLICY), traffic, Deed::Path(how), Scope::PathToServer)
}

pub(super) fn policy_reject(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: true, ..requests(draw) };
    let how = draw.one_of(&[
        "reject with tcp reset",
        "reject with icmpx port-unreachable",
        "reject with icmpx admin-prohibited",
    ]);
    let (end, chain, scope) =
        draw.one_of(&[(End::Server, "input", Scope::Server), (End::Client, "output", Scope::Pair)]);
    let to = if end == End::Client { "TO_SERVER " } else { "" };
    let rule = format!("{to}tcp dport PORT {how}");
    act("policy_reject", truth(&["policy_reject"], POLICY), traffic, Deed::Rule(end, chain, rule), scope)
}

pub(super) fn no_route(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: true, ..requests(draw) };
    let (on, off) = ("ip route add unreachable SERVER/32", "ip route del unreachable SERVER/32");
    let deed = Deed::Commands(End::Client, vec![on.to_owned()], vec![off.to_owned()]);
    act("no_route", truth(&["no_route"], &["node"]), traffic, deed, Scope::Pair)
}

/// The server's way back to the client goes by another device, and its filter is strict.
pub(super) fn asymmetric_route(draw: &mut Draw) -> Act {
    let traffic = Traffic { fresh: true, ..requests(draw) };
    let on = [
        "sysctl net/ipv4/conf/all/rp_filter=1",
        "ip link add other0 type veth peer name other1",
        "ip link set other0 up",
        "ip link set other1 up",
        "ip neigh add CLIENT lladdr 02:77:ff:00:00:01 dev other0",
        "ip route add CLIENT/32 dev other0",
    ];
    let off = ["ip link del other0", "sysctl net/ipv4/conf/all/rp_filter=0"];
    let deed = Deed::Commands(End::Server, on.map(str::to_owned).to_vec(), off.map(str::to_owned).to_vec());
    act("asymmetric_route", truth(&["asymmetric_route"], PATH), traffic, deed, Scope::Pair)
}

/// The node's own device is shaped. (In the pod TCP would be told, and drop nothing.)
pub(super) fn shaper_drop(draw: &mut Draw) -> Act {
    let traffic = Traffic { interval_ms: 50, fresh: false, ..transfers(draw, true) };
    let on = format!("tc qdisc add dev path0 root tbf rate {}mbit burst 10kb limit 20kb", draw.number(2, 6));
    let deed = Deed::Commands(End::Node, vec![on], vec!["tc qdisc del dev path0 root".to_owned()]);
    act("shaper_drop", truth(&["shaper_drop"], &["node"]), traffic, deed, Scope::Path)
}
