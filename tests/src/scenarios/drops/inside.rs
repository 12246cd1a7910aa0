//! Drops of packets that travel inside of others: in tunnels between nodes, and below VLAN tags. They count for the pods, not for
//! the nodes that carry them.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};

use super::{DROPS, Pair, is_available};
use crate::lab::{
    agent,
    faults::Fault,
    in_vm,
    metrics::{Edge, Metrics, RETRANSMITTED, Sample, float},
    topology::{Net, Pod},
};

const JOINED: &str = "netcause_tcp_retransmitted_after_drop_segments_total";
/// Longer than what resolves neighbours.
const SIZE: &str = "500";

/// A way from one node to another.
struct Way {
    /// The arguments of `ip link add tunnelN`, one line for each device; `LOCAL` and `REMOTE` are the addresses of the nodes.
    devices: &'static [&'static str],
    /// What the packets are on their way, by nft as far as it knows; they are longer than others, too.
    rule: &'static str,
    is_v6: bool,
}

const WAYS: &[Way] = &[
    Way {
        devices: &["tunnel0 type vxlan id 7 dstport 4789 local LOCAL remote REMOTE dev eth0"],
        rule: "udp dport 4789",
        is_v6: false,
    },
    Way {
        devices: &["tunnel1 type vxlan id 8 dstport 8472 local LOCAL remote REMOTE dev eth0"],
        rule: "udp dport 8472",
        is_v6: true,
    },
    Way { devices: &["tunnel2 type geneve id 7 remote REMOTE"], rule: "udp dport 6081", is_v6: false },
    Way { devices: &["tunnel3 type ipip local LOCAL remote REMOTE"], rule: "ip protocol 4", is_v6: false },
    Way { devices: &["tunnel4 type sit local LOCAL remote REMOTE"], rule: "ip protocol 41", is_v6: true },
    Way { devices: &["tunnel5 link eth0 type vlan id 7"], rule: "vlan id 7", is_v6: false },
    // Two tags, of which the kernel takes one out of the packet.
    Way {
        devices: &[
            "outer6 link eth0 type vlan proto 802.1ad id 8",
            "tunnel6 link outer6 type vlan proto 802.1q id 9",
        ],
        rule: "",
        is_v6: false,
    },
];

/// Two pods, and the nodes through which packets go from the client to the server.
struct Nodes<'a> {
    pair: &'a Pair<'a>,
    near: Pod,
    far: Pod,
}

impl<'a> Nodes<'a> {
    fn new(net: &Net, pair: &'a Pair<'a>) -> Result<Self> {
        let nodes = Self { pair, near: net.pod("near")?, far: net.pod("far")? };
        for (node, other) in [(&nodes.near, 4), (&nodes.far, 5)] {
            node.also_at(&format!("{}.{other}/24", pair.subnet))?;
            node.sysctl(&["net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"])?;
        }
        pair.client.also_at(&format!("{}2/64", nodes.prefix_v6()))?;
        pair.server.also_at(&format!("{}3/64", nodes.prefix_v6()))?;
        Ok(nodes)
    }

    fn prefix_v6(&self) -> String {
        format!("fd93:{}::", self.pair.subnet.rsplit('.').next().unwrap_or_default())
    }

    /// An address of the server that is reached this way; `None` where the kernel has no such devices.
    fn open(&self, number: usize, way: &Way) -> Result<Option<IpAddr>> {
        let (subnet, v6) = (&self.pair.subnet, self.prefix_v6());
        let server = if way.is_v6 { format!("{v6}1{number}") } else { format!("{subnet}.1{number}") };
        let (device, length) = (format!("tunnel{number}"), if way.is_v6 { 128 } else { 32 });
        // The ends of the tunnels have addresses of a network of their own, which no other scenario has.
        let inside = |last: u8| {
            if way.is_v6 { format!("fd94:{number}::{last}") } else { format!("10.95.{number}.{last}") }
        };
        for (node, own, other) in [(&self.near, 4, 5), (&self.far, 5, 4)] {
            for line in way.devices {
                let line = line.replace("LOCAL", &format!("{subnet}.{own}"));
                let script = format!("link add {}\n", line.replace("REMOTE", &format!("{subnet}.{other}")));
                if let Err(error) = node.run("ip", &["-batch", "-"], &script) {
                    ensure!(!in_vm(), "the modules of the VM lack a device: {error:#}");
                    return Ok(None);
                }
                let name = line.split(' ').next().unwrap_or_default();
                let up = format!("link set {name} addrgenmode none\nlink set {name} up\n");
                node.run("ip", &["-batch", "-"], &up)?;
            }
            let prefix = if way.is_v6 { "64 nodad" } else { "24" };
            let mut addresses = format!("addr add {}/{prefix} dev {device}\n", inside(own));
            if way.is_v6 {
                // A router asks for neighbours from its link-local address.
                for device in [&*device, "eth0"] {
                    addresses += &format!("addr replace fe80::{own}/64 dev {device} nodad\n");
                }
            }
            node.run("ip", &["-batch", "-"], &addresses)?;
        }
        let route = |pod: &Pod, via: &str| {
            pod.run("ip", &["-batch", "-"], &format!("route add {server}/{length} via {via}\n"))
        };
        self.pair.server.also_at(&format!("{server}/{length}"))?;
        let of = |pod: &Pod| if way.is_v6 { pod.v6.to_string() } else { pod.v4.to_string() };
        route(&self.near, &format!("{} dev {device}", inside(5)))?;
        route(&self.far, &of(self.pair.server))?;
        let source = if way.is_v6 { format!("{v6}2") } else { format!("{subnet}.2") };
        // No tunnel is too narrow.
        route(self.pair.client, &format!("{} src {source} mtu 1300", of(&self.near)))?;
        let address = server.parse().context("an address of the server")?;
        self.pair.client.reach(address).with_context(|| way.devices.concat())?;
        Ok(Some(address))
    }

    /// What the agent has of the drops by the names of the two pods, and what it has of all that concerns the pods or the nodes.
    fn found(&self, metrics: &Metrics) -> (f64, f64) {
        let (subnet, v6) = (format!("{}.", self.pair.subnet), self.prefix_v6());
        let own = |pod: &Pod| {
            // The addresses of the scenario's network are those of other scenarios, too.
            let names = pod.names().into_iter();
            names.filter(|name| !name.starts_with("10.77.") && !name.starts_with("fd77:")).collect::<Vec<_>>()
        };
        let [client, server, near, far] =
            [self.pair.client, self.pair.server, &self.near, &self.far].map(own);
        let is = |names: &[String], name: &str| names.iter().any(|own| own == name);
        let concerns_us = |name: &str| {
            name.starts_with(&subnet)
                || name.starts_with(&v6)
                || [&client, &server, &near, &far].into_iter().any(|names| is(names, name))
        };
        let ends = |sample: &Sample| {
            ["workload", "peer_workload"].map(|end| sample.labels.get(end).unwrap_or_default().to_owned())
        };
        let named = metrics.total(DROPS, |sample| {
            let [workload, peer] = ends(sample);
            is(&client, &workload)
                && is(&server, &peer)
                && sample.labels.has("direction", "in_transit")
                && sample.labels.has("reason", "netfilter_drop")
        });
        (named, metrics.total(DROPS, |sample| ends(sample).iter().any(|name| concerns_us(name))))
    }
}

/// What nodes forward to each other inside VXLAN, Geneve, IP in IP and VLAN tags is dropped between them: each drop counts for the
/// pods, and a TCP segment that was dropped so is known when it is retransmitted.
pub(in super::super) fn tunnels(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    let (net, client, server) = Net::pair(name)?;
    let pair = Pair::new(&client, &server, "10.93.5", name)?;
    let nodes = Nodes::new(&net, &pair)?;
    let _sink = server.serve("[::]:8080".parse()?, &[])?;
    let mut dropped = Vec::new();
    let mut edges = Vec::new();
    for (number, way) in WAYS.iter().enumerate() {
        let Some(address) = nodes.open(number, way)? else { continue };
        let path =
            Fault::on_path(&net, &nodes.near, &[&format!("{} meta length > 300 counter drop", way.rule)])?;
        let count = 3 + number;
        client.send_udp((address, 5400).into(), &["--count", &count.to_string(), "--size", SIZE])?;
        let counted = path.counted()?.iter().sum::<u64>();
        ensure!(counted == count as u64, "{counted} of {count} packets met the rule `{}`", way.rule);
        path.clear()?;
        dropped.push(counted);

        let rule = format!("{} meta length > 300 numgen inc mod 5 == 2 counter drop", way.rule);
        let path = Fault::on_path(&net, &nodes.near, &[&rule])?;
        let outcome = client.connect((address, 8080).into(), &["--send", "100000"])?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
        dropped.push(path.counted()?.iter().sum());
        path.clear()?;
        edges.push(Edge::at_client(&client, address, 8080));
    }
    ensure!(!dropped.is_empty(), "no way between nodes was tried");
    let all: u64 = dropped.iter().sum();
    agent.until("drops between nodes count for the pods", |metrics| {
        let list = || metrics.list(|sample| sample.name == DROPS);
        let (named, found) = nodes.found(metrics);
        ensure!(named == float(all) && found == named, "{named} and {found} of {dropped:?}:\n{}", list());
        for edge in &edges {
            let (joined, repeated) =
                (metrics.on(JOINED, &edge.with("cause", "policy")), metrics.on(RETRANSMITTED, edge));
            ensure!(joined >= 1.0 && joined <= repeated, "{joined} of {repeated}: {edge:?}");
        }
        Ok(())
    })
}
