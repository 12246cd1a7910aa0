//! What the kernel counts of the node beside flows: the agent says the same.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

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
        let kernel = conntrack(&server, "entries")?;
        ensure!(
            kernel >= 4 && entries == float(kernel),
            "{entries} tracked connections, {kernel} by the kernel"
        );
        Ok(())
    })
}

/// A neighbour that never answers, and an address that two pods have: seen in the pod that looks for them, and in no other.
pub(super) fn neighbours(name: &str) -> Result<()> {
    const ENTRIES: &str = "netcause_node_arp_entries";
    const CHANGES: &str = "netcause_node_arp_link_address_changes_total";
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, healthy) = (net.pod("client")?, net.pod("healthy")?);
    let owners = [net.pod("one")?, net.pod("two")?];
    let [a, b, c, _] = client.v4.octets();
    let [absent, twice] = [250, 251].map(|last| Ipv4Addr::new(a, b, c, last));
    healthy.connect(SocketAddr::new(owners[0].v4.into(), 8080), &["--count", "1"])?;
    let _servers =
        [owners[0].serve("0.0.0.0:8080".parse()?, &[])?, owners[1].serve("0.0.0.0:8080".parse()?, &[])?];
    for owner in &owners {
        owner.also_at(&format!("{twice}/24"))?;
    }
    // Both answer as soon as they are asked; here one at a time, because which answer is the last to come is chance.
    let answers = |owner: &Pod, does: bool| {
        owner.sysctl(&[&format!("net/ipv4/conf/eth0/arp_ignore={}", if does { 0 } else { 8 })])
    };
    let of = |metrics: &Metrics, pod: &Pod, state: &str| {
        metrics.sum(ENTRIES, &[("workload", pod.workload()), ("state", state)])
    };
    let mut expected = 0.0;
    for turn in 0..3 {
        answers(&owners[turn % 2], true)?;
        answers(&owners[(turn + 1) % 2], false)?;
        client.run("ip", &["neigh", "flush", "dev", "eth0"], "")?;
        client.connect(SocketAddr::new(twice.into(), 8080), &["--count", "1"])?;
        client.connect(
            SocketAddr::new(absent.into(), 8080),
            &["--count", "1", "--connect-timeout-ms", "100"],
        )?;
        agent.until("the pod's neighbours are the kernel's", |metrics| {
            let counts = ["answered", "unanswered"].map(|state| of(metrics, &client, state));
            ensure!(counts[0] >= 1.0 && counts[1] == 1.0, "{counts:?} neighbours answered, and did not");
            let changes = metrics.sum(CHANGES, &[("workload", client.workload())]);
            ensure!(changes == expected, "{changes} instead of {expected} changes");
            Ok(())
        })?;
        expected += 1.0;
    }
    let metrics = agent.scrape()?;
    let changes = metrics.sum(CHANGES, &[("workload", healthy.workload())]);
    let counts = ["answered", "unanswered"].map(|state| of(&metrics, &healthy, state));
    ensure!(
        counts[0] >= 1.0 && counts[1] + changes == 0.0,
        "a pod without faults has {counts:?} neighbours that answered and did not, {changes} changes"
    );
    Ok(())
}

/// A full table of connections drops new ones and no others, and the agent says so: entries, limit, and drops as the kernel counts
/// them.
pub(super) fn conntrack_full(name: &str) -> Result<()> {
    const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _nat = Fault::redirect_input(&server, 9090, 8081)?;
    let _echo = server.serve(server.at(8081), &["--mode", "echo"])?;
    let tracked = client.hold(server.at(9090), &["--count", "8"])?;
    let is_full = |limit: u64| {
        agent.until(&format!("the limit of tracked connections is {limit}"), |metrics| {
            let found = metrics.sum("netcause_node_nf_conntrack_entries_limit", &[]);
            ensure!(found == float(limit), "{found}");
            Ok(())
        })
    };
    let before = fs::read_to_string(LIMIT)?;
    let restored = || fs::write(LIMIT, &before).with_context(|| format!("writing {LIMIT}"));
    fs::write(LIMIT, "8").with_context(|| format!("writing {LIMIT}"))?;
    let outcome = (|| {
        is_full(8)?;
        // Those that are acknowledged are not removed to make room.
        let outcome = client.connect(server.at(9090), &["--count", "3", "--connect-timeout-ms", "300"])?;
        ensure!(outcome.failed("gave_up") == 3, "{outcome:?}");
        agent.until("connections that were not tracked are counted as the kernel does", |metrics| {
            let kernel = conntrack(&server, "drop")?;
            let label = [("workload", server.workload()), ("stat", "drop")];
            let found = metrics.sum("netcause_node_nf_conntrack_stat_total", &label);
            ensure!(kernel >= 3 && found == float(kernel), "{found} drops, {kernel} by the kernel");
            let entries = metrics.sum(ENTRIES, &[("workload", server.workload())]);
            ensure!(entries == 8.0, "{entries} tracked connections of 8");
            Ok(())
        })
    })();
    restored()?;
    outcome?;
    tracked.finish()?;
    let drops = conntrack(&server, "drop")?;
    let outcome = client.connect(server.at(9090), &["--count", "3"])?;
    ensure!(outcome.count("connected") == 3 && conntrack(&server, "drop")? == drops, "{outcome:?}");
    Ok(())
}

/// A column of the pod's `/proc/net/stat/nf_conntrack`: the sum over CPUs, but of `entries`, which all CPUs have.
fn conntrack(pod: &Pod, column: &str) -> Result<u64> {
    let text = pod.run("cat", &["/proc/net/stat/nf_conntrack"], "")?;
    let mut lines = text.lines();
    let names = lines.next().context("no names of columns")?;
    let index = names.split_whitespace().position(|name| name == column).with_context(|| names.to_owned())?;
    let numbers = lines.map(|line| {
        let number = line.split_whitespace().nth(index).context("a column is missing")?;
        Ok(u64::from_str_radix(number, 16)?)
    });
    let numbers: Vec<u64> = numbers.collect::<Result<_>>()?;
    Ok(if column == "entries" { numbers.first().copied().unwrap_or_default() } else { numbers.iter().sum() })
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
    let net = Net::new(name)?;
    let node = net.pod("node")?;
    // Both ends are the node's: what ends in another network namespace is the cable of a pod, and added up with others.
    let cable = "link add own0 type veth peer name far0\nlink set own0 addrgenmode none\nlink set far0 addrgenmode none\n\
                 link set far0 up\nlink set own0 up\naddr add 10.79.0.1/24 dev own0\n";
    node.run("ip", &["-batch", "-"], cable)?;
    let tc = |discipline: &str| node.run("tc", &words("qdisc add dev own0 root", discipline), "");
    // Whatever this kernel has that drops.
    if tc("tbf rate 100kbit burst 2kb limit 2kb").is_err() {
        tc("netem loss 40%")?;
    }
    let neighbour = |address: &str, last: &str| {
        let link = format!("lladdr 02:77:00:00:01:{last} dev own0 nud permanent");
        node.run("ip", &words(&format!("neigh replace {address}"), &link), "")
    };
    neighbour("10.79.0.2", "01")?;
    neighbour("10.79.0.3", "01")?;
    let options = agent::Options {
        args: &["--node-interval-seconds", "1"],
        without_dns: true,
        within: Some(&node),
        ..agent::Options::default()
    };
    let agent = agent::Agent::start(name, "agent", &options)?;
    let readers = ["softnet", "netstat", "conntrack", "links", "qdiscs", "neighbours", "changes"];
    let device = [("device", "own0")];
    // The cable has a carrier, and what the kernel notifies of it is past.
    agent.until("all readers work", |metrics| {
        for reader in readers {
            let up = metrics.sum("netcause_node_reader_up", &[("reader", reader)]);
            ensure!(up == 1.0, "{reader} is down:\n{}", agent.log());
        }
        let up = metrics.sum("netcause_node_network_up", &device);
        ensure!(up == 1.0, "own0 has no carrier");
        Ok(())
    })?;
    let first = agent.scrape()?;
    let grown = |metrics: &Metrics, name: &str, labels: &[(&str, &str)]| {
        metrics.sum(name, labels) - first.sum(name, labels)
    };
    let drops_before = drops_by_tc(&node)?;

    neighbour("10.79.0.2", "02")?;
    node.run("ip", &["-batch", "-"], "route add 192.0.2.0/26 dev own0\nroute add 192.0.2.64/26 dev own0\n")?;
    node.run("ip", &["route", "del", "192.0.2.0/26"], "")?;
    // From few addresses: all agents see what the queue drops, and have room for 512 of them.
    node.flood("10.79.0.3:8080".parse()?, &["--kind", "syn", "--count", "1000", "--addresses", "8"])?;
    let moves = "netcause_node_neighbour_link_address_changes_total";
    agent.until("drops of the queue, routes, and an address that moved", |metrics| {
        let kernel = drops_by_tc(&node)? - drops_before;
        ensure!(kernel > 0, "the queue dropped nothing");
        let found = grown(metrics, "netcause_node_qdisc_drops_total", &device);
        ensure!(found == float(kernel), "{found} drops, {kernel} by tc");
        let routes = ["route_added", "route_removed"]
            .map(|change| grown(metrics, "netcause_node_configuration_changes_total", &[("change", change)]));
        ensure!(routes == [2.0, 1.0], "{routes:?} routes added and removed");
        let moved = grown(metrics, moves, &[]);
        ensure!(moved == 1.0, "{moved} addresses moved");
        Ok(())
    })?;

    neighbour("10.79.0.2", "01")?;
    node.run("ip", &["link", "set", "own0", "mtu", "1400"], "")?;
    let pull = |state: &str| node.run("ip", &["link", "set", "far0", state], "");
    pull("down")?;
    agent.until("a cable without a carrier, another MTU, and an address that moved back", |metrics| {
        let mtu = metrics.sum("netcause_node_network_mtu_bytes", &device);
        let up = metrics
            .list(|sample| sample.name == "netcause_node_network_up" && sample.labels.has("device", "own0"));
        ensure!(mtu == 1400.0 && up.contains(" 0"), "MTU {mtu}, {up}");
        let down = grown(metrics, "netcause_node_network_carrier_down_changes_total", &device);
        let moved = grown(metrics, moves, &[]);
        ensure!(down == 1.0 && moved == 2.0, "{down} times without a carrier, {moved} addresses moved");
        Ok(())
    })?;
    pull("up")?;
    agent.until("a cable that is plugged in again", |metrics| {
        let up = grown(metrics, "netcause_node_network_carrier_up_changes_total", &device);
        ensure!(up == 1.0 && metrics.sum("netcause_node_network_up", &device) == 1.0, "{up} times a carrier");
        Ok(())
    })
}

/// The words of both.
fn words<'a>(first: &'a str, second: &'a str) -> Vec<&'a str> {
    first.split(' ').chain(second.split(' ')).collect()
}

/// Drops of the queue of the device, as `tc` says.
fn drops_by_tc(node: &Pod) -> Result<u64> {
    let text = node.run("tc", &["-s", "qdisc", "show", "dev", "own0", "root"], "")?;
    let (_, rest) = text.split_once("dropped ").with_context(|| format!("no drops in\n{text}"))?;
    let number = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    number.parse().with_context(|| format!("drops in\n{text}"))
}
