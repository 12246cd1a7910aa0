//! Packets that a CPU drops because too many wait for it.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{Pair, is_available};
use crate::lab::{agent, metrics::float, topology::Net};

const LIMIT: &str = "/proc/sys/net/core/netdev_max_backlog";
const BY_NODE: &str = "netcause_node_softnet_dropped_total";

/// A burst that the backlog of a CPU does not hold is dropped for that reason, and counts for the pods, as many packets as the
/// kernel counts; below two VLAN tags, too.
pub(in super::super) fn full(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    let (_net, client, server) = Net::pair(name)?;
    let pair = Pair::new(&client, &server, "10.93.6", name)?;
    // Another network, below an 802.1ad tag beside the packet and an 802.1Q tag inside it.
    let tagged = format!("{}.1", pair.subnet);
    for (pod, last) in [(&client, 2), (&server, 3)] {
        let address = format!("{tagged}{last}");
        let script = format!(
            "link add outer0 link eth0 type vlan proto 802.1ad id 8\nlink add inner0 link outer0 type vlan id 9\n\
             link set outer0 addrgenmode none\nlink set inner0 addrgenmode none\nlink set outer0 up\nlink set inner0 up\n\
             addr add {address}/32 dev inner0\n"
        );
        pod.run("ip", &["-batch", "-"], &script)?;
    }
    for (pod, own, other) in [(&client, 2, 3), (&server, 3, 2)] {
        let route = format!("route add {tagged}{other}/32 dev inner0 src {tagged}{own}\n");
        pod.run("ip", &["-batch", "-"], &route)?;
    }
    client.reach(format!("{tagged}3").parse()?)?;
    // All that waits leaves at once.
    client.queue("netem slot 300ms")?;
    let before = agent.scrape()?.sum(BY_NODE, &[]);
    let (mut dropped, mut by_kernel) = (0, 0);
    for to in [pair.at(5300)?, format!("{tagged}3:5301").parse()?] {
        let sink = server.serve_udp(to, &[])?;
        let kernel = softnet_dropped()?;
        let limit = Limit::set("1")?;
        client.send_udp(to, &["--count", "40"])?;
        thread::sleep(Duration::from_secs(2));
        drop(limit);
        let received = sink.finish()?.count("datagrams_received");
        let lost = softnet_dropped()? - kernel;
        // What else the machine sends over its loopback device has the same backlog.
        ensure!(received < 40 && received + lost >= 40, "{received} of 40 arrived, {lost} dropped");
        dropped += 40 - received;
        by_kernel += lost;
    }
    agent.until("drops at the backlog count for the pods", |metrics| {
        let found = metrics.sum(BY_NODE, &[]) - before;
        ensure!(found == float(by_kernel), "{found} drops of the node, {by_kernel} by the kernel");
        pair.expect(metrics, "", &["cpu_backlog"], dropped)?;
        pair.expect(metrics, "", &[], dropped)
    })
}

/// The limit of the machine, changed.
struct Limit(String);

impl Limit {
    fn set(value: &str) -> Result<Self> {
        let before = fs::read_to_string(LIMIT).with_context(|| format!("reading {LIMIT}"))?;
        fs::write(LIMIT, value).with_context(|| format!("writing {LIMIT}"))?;
        Ok(Self(before))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // What comes next runs into the limit if it is left, and says so.
        let _ = fs::write(LIMIT, &self.0);
    }
}

/// The second column of `/proc/net/softnet_stat`, of all CPUs.
fn softnet_dropped() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/softnet_stat")?;
    let numbers = text.lines().map(|line| {
        let number = line.split_whitespace().nth(1).context("a column is missing")?;
        Ok(u64::from_str_radix(number, 16)?)
    });
    numbers.sum()
}
