//! What the kernel counts of the node beside flows: the agent says the same.

use anyhow::{Context as _, Result, ensure};

use crate::lab::{
    agent,
    faults::Fault,
    metrics::{Metrics, float},
    topology::{Net, Pod},
};

const NETSTAT: &str = "netcause_node_netstat_total";
const ENTRIES: &str = "netcause_node_nf_conntrack_entries";

/// Counters of a pod are those of its network namespace: a full accept queue, wrong checksums, tracked connections.
pub(super) fn pods(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _nat = Fault::redirect_input(&server, 9090, 8081)?;
    let _deaf = server.serve(server.at(8080), &["--mode", "never-accept", "--backlog", "1"])?;
    let _echo = server.serve(server.at(8081), &["--mode", "echo"])?;
    let _held = client.hold(server.at(8080), &["--count", "2"])?;
    let give_up = ["--count", "3", "--parallel", "3", "--connect-timeout-ms", "300"];
    let outcome = client.connect(server.at(8080), &give_up)?;
    ensure!(outcome.failed("gave_up") == 3, "{outcome:?}");
    client.flood(server.at(8081), &["--kind", "syn", "--count", "7", "--corrupt"])?;
    let _tracked = client.hold(server.at(9090), &["--count", "4"])?;
    agent.until("the counters of the pods are the kernel's", |metrics| {
        ensure!(server.counter("TcpExt", "ListenOverflows")? >= 3, "no accept queue was full");
        ensure!(server.counter("Tcp", "InCsumErrors")? == 7, "the kernel took wrong checksums");
        for pod in [&client, &server] {
            for (protocol, counter) in [
                ("TcpExt", "ListenOverflows"),
                ("TcpExt", "ListenDrops"),
                ("Tcp", "InCsumErrors"),
                ("Tcp", "InErrs"),
                ("Tcp", "AttemptFails"),
                ("Udp", "NoPorts"),
            ] {
                expect(metrics, pod, protocol, counter)?;
            }
        }
        let entries = metrics.sum(ENTRIES, &[("workload", server.workload())]);
        let kernel = server.run("cat", &["/proc/net/stat/nf_conntrack"], "")?;
        let kernel = kernel.lines().nth(1).and_then(|line| line.split_whitespace().next());
        let kernel = u64::from_str_radix(kernel.context("no line of a CPU")?, 16)?;
        ensure!(
            kernel >= 4 && entries == float(kernel),
            "{entries} tracked connections, {kernel} by the kernel"
        );
        Ok(())
    })
}

/// The agent says of a counter of the pod what the kernel says.
fn expect(metrics: &Metrics, pod: &Pod, protocol: &str, counter: &str) -> Result<()> {
    let kernel = pod.counter(protocol, counter)?;
    let label = format!("{protocol}_{counter}");
    let found = metrics.sum(NETSTAT, &[("workload", pod.workload()), ("counter", &label)]);
    ensure!(found == float(kernel), "{label} of {}: {found}, {kernel} by the kernel", pod.workload());
    Ok(())
}

/// Devices of the node: a shaper that drops, a cable that is pulled, another MTU, an address with two owners, routes that
/// change.
pub(super) fn devices(name: &str) -> Result<()> {
    let (net, node, peer) = Net::pair(name)?;
    // Whatever this kernel has that drops.
    if node.queue("tbf rate 2mbit burst 5kb limit 6kb").is_err() {
        node.queue("netem loss 40%")?;
    }
    let neighbour = |last: &str| -> Result<()> {
        let link = format!("02:77:00:00:01:{last}");
        let args = ["neigh", "replace", "10.77.0.250", "lladdr", &link, "dev", "eth0", "nud", "permanent"];
        node.run("ip", &args, "").map(drop)
    };
    neighbour("01")?;
    let options = agent::Options {
        args: &["--node-interval-seconds", "1"],
        without_dns: true,
        within: Some(&node),
        ..agent::Options::default()
    };
    let agent = agent::Agent::start(name, "agent", &options)?;
    let first = agent.scrape()?;
    for reader in ["softnet", "netstat", "conntrack", "links", "qdiscs", "neighbours", "changes"] {
        ensure!(
            first.sum("netcause_node_reader_up", &[("reader", reader)]) == 1.0,
            "{reader} is down:\n{}",
            agent.log()
        );
    }

    neighbour("02")?;
    node.run("ip", &["-batch", "-"], "route add 192.0.2.0/26 dev eth0\nroute add 192.0.2.64/26 dev eth0\n")?;
    node.run("ip", &["route", "del", "192.0.2.0/26"], "")?;
    let _sink = peer.serve(peer.at(8080), &[])?;
    let sent = node.connect(peer.at(8080), &["--count", "2", "--parallel", "2", "--send", "60000"])?;
    ensure!(sent.count("connected") == 2, "{sent:?}");
    node.wait_quiet()?;
    let drops = drops_by_tc(&node)?;
    ensure!(drops > 0, "the queue dropped nothing");
    let changed = |metrics: &Metrics, change: &str| {
        let of = |metrics: &Metrics| {
            metrics.sum("netcause_node_configuration_changes_total", &[("change", change)])
        };
        of(metrics) - of(&first)
    };
    let moves = "netcause_node_neighbour_link_address_changes_total";
    agent.until("drops of the queue, routes, and an address that moved", |metrics| {
        let kernel = drops_by_tc(&node)?;
        let found = metrics.sum("netcause_node_qdisc_drops_total", &[("device", "eth0")]);
        ensure!(found == float(kernel), "{found} drops, {kernel} by tc");
        let routes = [changed(metrics, "route_added"), changed(metrics, "route_removed")];
        ensure!(routes == [2.0, 1.0], "{routes:?} routes added and removed");
        ensure!(metrics.sum(moves, &[]) == 1.0, "{} addresses moved", metrics.sum(moves, &[]));
        Ok(())
    })?;

    neighbour("01")?;
    node.run("ip", &["link", "set", "eth0", "mtu", "1400"], "")?;
    let switch = |state: &str| net.switch().run("ip", &["link", "set", &node.port, state], "");
    switch("down")?;
    let device = [("device", "eth0")];
    agent.until("a cable without a carrier, another MTU, and an address that moved back", |metrics| {
        let mtu = metrics.sum("netcause_node_network_mtu_bytes", &device);
        let up = metrics
            .list(|sample| sample.name == "netcause_node_network_up" && sample.labels.has("device", "eth0"));
        ensure!(mtu == 1400.0 && up.contains(" 0"), "MTU {mtu}, {up}");
        let down = metrics.sum("netcause_node_network_carrier_down_changes_total", &device);
        ensure!(down == 1.0 && metrics.sum(moves, &[]) == 2.0, "{down} times without a carrier");
        Ok(())
    })?;
    switch("up")?;
    agent.until("a cable that is plugged in again", |metrics| {
        let up = metrics.sum("netcause_node_network_carrier_up_changes_total", &device);
        ensure!(up == 1.0 && metrics.sum("netcause_node_network_up", &device) == 1.0, "{up} times a carrier");
        Ok(())
    })
}

/// Drops of the queue of the pod's cable, as `tc` says.
fn drops_by_tc(pod: &Pod) -> Result<u64> {
    let text = pod.run("tc", &["-s", "qdisc", "show", "dev", "eth0", "root"], "")?;
    let (_, rest) = text.split_once("dropped ").with_context(|| format!("no drops in\n{text}"))?;
    let number = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    number.parse().with_context(|| format!("drops in\n{text}"))
}
