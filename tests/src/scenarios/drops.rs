//! Packets that the kernel drops: the agent has as many as the kernel counts, with the reason, and none where there is no fault.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{
    agent::{self, Agent, Options},
    dropper::Dropper,
    faults::Fault,
    kernel_is_before,
    metrics::{Metrics, float},
    namespace::Namespace,
    topology::{Net, Pod},
};

pub(super) mod backlog;
pub(super) mod inside;
pub(super) mod joined;

const DROPS: &str = "netcause_packet_drops_total";

/// Whether the agent has the probe; where the kernel has no reasons, it must say so and have no drops.
pub(super) fn is_available(agent: &Agent) -> Result<bool> {
    let metrics = agent.scrape()?;
    let up = metrics.sum("netcause_probe_up", &[("probe", "packet_drop")]) == 1.0;
    ensure!(up != kernel_is_before(5, 17), "the probe runs: {up}");
    if !up {
        let why = [("probe", "packet_drop"), ("reason", "kernel_feature_missing")];
        ensure!(metrics.sum("netcause_probe_unavailable_info", &why) == 1.0, "no reason why it does not run");
        ensure!(metrics.total(DROPS, |_| true) == 0.0, "drops without the probe");
    }
    Ok(up)
}

/// Two pods with addresses that no other scenario has: a packet without a socket is known by them alone.
struct Pair<'a> {
    client: &'a Pod,
    server: &'a Pod,
    /// The first three bytes.
    subnet: String,
}

impl<'a> Pair<'a> {
    fn new(client: &'a Pod, server: &'a Pod, subnet: &str, name: &str) -> Result<Self> {
        // The second attempt of a scenario must not find what the first one left.
        let subnet = if name.ends_with("-alone") { format!("{subnet}7") } else { subnet.to_owned() };
        client.also_at(&format!("{subnet}.2/24"))?;
        server.also_at(&format!("{subnet}.3/24"))?;
        let pair = Self { client, server, subnet };
        // Resolves the neighbours: what waits for that could be dropped later than expected.
        client.send_udp(pair.at(9)?, &[])?;
        Ok(pair)
    }

    fn at(&self, port: u16) -> Result<SocketAddr> {
        Ok(format!("{}.3:{port}", self.subnet).parse()?)
    }

    fn send(&self, count: u64) -> Result<()> {
        self.client.send_udp(self.at(5400)?, &["--count", &count.to_string()]).map(drop)
    }

    /// Drops with one of these reasons, whatever the direction, that concern the pods.
    fn found(&self, metrics: &Metrics, direction: &str, reasons: &[&str]) -> f64 {
        let is_ours = |name: &str| {
            name.strip_prefix(&*self.subnet).is_some_and(|rest| rest.starts_with('.'))
                || [self.client.workload(), self.server.workload()].contains(&name)
        };
        metrics.total(DROPS, |sample| {
            let label = |name| sample.labels.get(name).unwrap_or_default();
            (is_ours(label("workload")) || is_ours(label("peer_workload")))
                && (direction.is_empty() || label("direction") == direction)
                && (reasons.is_empty() || reasons.contains(&label("reason")))
        })
    }

    fn expect(&self, metrics: &Metrics, direction: &str, reasons: &[&str], count: u64) -> Result<()> {
        let found = self.found(metrics, direction, reasons);
        let all = || metrics.list(|sample| sample.name == DROPS);
        ensure!(found == float(count), "{found} {direction} {reasons:?} instead of {count}:\n{}", all());
        Ok(())
    }
}

/// On their way between two pods packets are dropped by nftables, by programs at TC and XDP, by the reverse path filter and for
/// their checksums. The kernel gives no reason for what XDP drops.
pub(super) fn reasons(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    let (net, client, server) = Net::pair(name)?;
    let pair = Pair::new(&client, &server, "10.93.7", name)?;
    let before_6_6 = kernel_is_before(6, 6);

    let path = Fault::on_path(&net, &client, &["udp dport 5400 counter drop"])?;
    pair.send(5)?;
    let mut by_rules = path.counted()?.iter().sum::<u64>();
    path.clear()?;
    let input = Fault::on_input(&server, &["udp dport 5400 counter drop"])?;
    pair.send(3)?;
    by_rules += input.counted()?.iter().sum::<u64>();
    input.clear()?;
    ensure!(by_rules == 8, "{by_rules} packets met the rules");

    let xdp = Dropper::xdp(net.switch(), &client.port)?;
    pair.send(6)?;
    drop(xdp);
    if !before_6_6 {
        let tc = Dropper::tc_ingress(net.switch(), &client.port)?;
        pair.send(4)?;
        drop(tc);
    }
    // From addresses of 10.128.0.0/9, each with a row of its own.
    client.flood(pair.at(8080)?, &["--kind", "syn", "--count", "7", "--corrupt"])?;
    // Last, because it finds no way back to any address of another network.
    client.also_at("10.94.7.2/24")?;
    server.sysctl(&["net/ipv4/conf/all/rp_filter=1"])?;
    client.send_udp(pair.at(5400)?, &["--count", "2", "--from", "10.94.7.2"])?;

    agent.until("drops on the way have their reasons", |metrics| {
        // Some kernels leave a packet its socket on the way through a cable.
        pair.expect(metrics, "", &["netfilter_drop"], by_rules)?;
        pair.expect(metrics, "", &["tc_ingress"], if before_6_6 { 0 } else { 4 })?;
        pair.expect(metrics, "in_transit", &["netfilter_drop"], 3)
            .or_else(|_| pair.expect(metrics, "in_transit", &["netfilter_drop"], by_rules))?;
        let in_transit = |reason: &str, count| pair.expect(metrics, "in_transit", &[reason], count);
        let corrupt = server.counter("Tcp", "InCsumErrors")?;
        ensure!(corrupt == 7, "the kernel took wrong checksums");
        in_transit("tcp_csum", corrupt)?;
        let strange = server.counter("TcpExt", "IPReversePathFilter")?;
        ensure!(strange == 2, "{strange} packets at the reverse path filter");
        in_transit("ip_rpfilter", strange)?;
        // The addresses say who sent what to whom.
        let [source, destination] = [2, 3].map(|last| format!("{}.{last}", pair.subnet));
        let ends = [("workload", &*source), ("peer_workload", &destination), ("reason", "netfilter_drop")];
        let named = metrics.sum(DROPS, &ends);
        ensure!(named >= 3.0, "{named} with the right names");
        let all = by_rules + if before_6_6 { 0 } else { 4 } + corrupt + strange;
        pair.expect(metrics, "", &[], all)
    })
}

/// What a socket of a pod sends, or was to receive, is dropped by nftables, a program at TC, a shaper, for want of the next hop,
/// and at a full receive buffer.
pub(super) fn sockets(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    let (_net, client, server) = Net::pair(name)?;
    let pair = Pair::new(&client, &server, "10.93.8", name)?;
    let before_6_6 = kernel_is_before(6, 6);

    let output = Fault::on_output(&client, &["tcp dport 5401 counter drop"])?;
    client.connect(pair.at(5401)?, &["--connect-timeout-ms", "300"])?;
    let by_rule = output.counted()?.iter().sum::<u64>();
    ensure!(by_rule > 0, "no SYN met the rule");
    output.clear()?;

    let late = server.serve_udp(pair.at(5300)?, &["--mode", "read-late", "--receive-buffer", "4096"])?;
    client.send_udp(pair.at(5300)?, &["--count", "100", "--size", "500"])?;
    let read = late.finish()?.count("datagrams_received");
    let full = server.counter("Udp", "RcvbufErrors")?;
    ensure!(full > 0 && read + full == 100, "100 sent, {read} read, {full} dropped by the kernel");

    client.sysctl(&["net/ipv4/neigh/eth0/retrans_time_ms=100"])?;
    client.send_udp(format!("{}.99:5400", pair.subnet).parse()?, &["--count", "3"])?;

    if !before_6_6 {
        let tc = Dropper::tc_egress(&client, "eth0")?;
        pair.send(4)?;
        drop(tc);
    }

    let has_shaper = client.queue("tbf rate 100kbit burst 2kb limit 2kb").is_ok();
    if has_shaper {
        client.send_udp(pair.at(5400)?, &["--count", "200", "--size", "500", "--unconnected"])?;
    }

    let receiver = if kernel_is_before(6, 11) { "in_transit" } else { "received" };
    agent.until("drops of sockets have their reasons", |metrics| {
        let sent = |reasons: &[&str], count| pair.expect(metrics, "sent", reasons, count);
        sent(&["netfilter_drop"], by_rule)?;
        sent(&["tc_egress"], if before_6_6 { 0 } else { 4 })?;
        sent(&["neigh_failed"], 3)?;
        let shaped = if has_shaper { dropped_by_queue(&client, "eth0")? } else { 0 };
        ensure!(shaped > 0 || !has_shaper, "the shaper dropped nothing");
        sent(&["qdisc_drop", "qdisc_overlimit", "qdisc_burst_drop"], shaped)?;
        let own = [("workload", client.workload()), ("direction", "sent"), ("reason", "netfilter_drop")];
        let named = metrics.sum(DROPS, &own);
        ensure!(named == float(by_rule), "{named} of the client's workload");
        pair.expect(metrics, receiver, &["socket_rcvbuff", "proto_mem"], full)?;
        let all = by_rule + full + 3 + shaped + if before_6_6 { 0 } else { 4 };
        pair.expect(metrics, "", &[], all)
    })
}

/// Transfers in bulk, short connections, clients that leave early, refusals, datagrams, and answers to closed sockets are no
/// drops.
pub(super) fn healthy(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    let (net, client, server) = Net::pair(name)?;
    let pair = Pair::new(&client, &server, "10.93.9", name)?;
    let _sink = server.serve("[::]:8080".parse()?, &[])?;
    let _echo = server.serve("[::]:8081".parse()?, &["--mode", "echo"])?;
    let _datagrams = server.serve_udp("[::]:5300".parse()?, &[])?;
    for to in [pair.at(8080)?, server.at_v6(8080)] {
        let outcome = client.connect(to, &["--send", "30000000"])?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
    }
    client.connect(pair.at(8081)?, &["--count", "50", "--send", "1000"])?;
    client.connect(pair.at(8080)?, &["--count", "10", "--send", "100000", "--end", "reset"])?;
    let refused = client.connect(pair.at(7)?, &["--count", "5"])?;
    ensure!(refused.failed("ECONNREFUSED") == 5, "{refused:?}");
    client.send_udp(pair.at(5300)?, &["--count", "20", "--answer-ms", "5000"])?;
    // Whoever asked is gone when the answer comes.
    client.send_udp(pair.at(5300)?, &["--count", "20"])?;
    client.send_udp(server.at_v6(5300), &["--count", "20"])?;
    client.send_udp(pair.at(9)?, &["--count", "5", "--unconnected"])?;

    // What comes last is counted: so what came before it was.
    let path = Fault::on_path(&net, &client, &["udp dport 5400 counter drop"])?;
    pair.send(1)?;
    path.clear()?;
    agent.until("the one drop is the only one", |metrics| pair.expect(metrics, "", &[], 1))
}

/// A scan from more addresses than there are counters leaves room for the drops of a workload.
pub(super) fn scanned(name: &str) -> Result<()> {
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    if !is_available(&agent)? {
        return Ok(());
    }
    let (_net, client, server) = Net::pair(name)?;
    let pair = Pair::new(&client, &server, "10.93.11", name)?;
    let input = Fault::on_input(&server, &["tcp dport 8080 counter drop"])?;
    client.flood(pair.at(8080)?, &["--kind", "syn", "--count", "20000"])?;
    let by_scan: u64 = input.counted()?.iter().sum();
    ensure!(by_scan == 20_000, "{by_scan} packets of the scan met the rule");
    input.clear()?;
    agent.until("every packet of the scan is counted", |metrics| {
        let all = metrics.sum(DROPS, &[("reason", "netfilter_drop")]);
        ensure!(all >= 20_000.0, "{all} packets");
        Ok(())
    })?;
    let output = Fault::on_output(&client, &["tcp dport 5401 counter drop"])?;
    client.connect(pair.at(5401)?, &["--connect-timeout-ms", "300"])?;
    let by_rule = output.counted()?.iter().sum::<u64>();
    ensure!(by_rule > 0, "no SYN met the rule");
    agent.until("the workload has its drops", |metrics| {
        let own = [("workload", client.workload()), ("direction", "sent"), ("reason", "netfilter_drop")];
        let named = metrics.sum(DROPS, &own);
        let all =
            || metrics.list(|sample| sample.name == DROPS || sample.name.starts_with("netcause_map_entries"));
        ensure!(named == float(by_rule), "{named} of the client's workload instead of {by_rule}:\n{}", all());
        Ok(())
    })
}

/// Packets that the queue of a device has dropped, by `tc`.
fn dropped_by_queue(at: &Namespace, device: &str) -> Result<u64> {
    let text = at.run("tc", &["-s", "qdisc", "show", "dev", device, "root"], "")?;
    let (_, rest) = text.split_once("dropped ").with_context(|| format!("no drops in\n{text}"))?;
    let number = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    number.parse().with_context(|| format!("drops in\n{text}"))
}
