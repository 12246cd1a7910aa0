//! Findings of what a node has beside its pairs: the queue of a device, a neighbour. The agent runs in the network namespace of the bridge, as on
//! a node: the devices that it reads are those that the node's pods share, and its neighbours are the pods.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{Asking, named_within, over_within, transfers};
use crate::lab::{
    agent::{self, Agent},
    eventually_within,
    findings::{self, Finding},
    path::NodePath,
    scaled,
    topology::{Net, Pod},
};
use crate::scenarios::drops;
use crate::traffic::path::DEVICE;

/// What a queue has room for that is too small for a transfer.
const SHAPER: &str = "root tbf rate 3mbit burst 10kb limit 20kb";

/// Two nodes with the pods of two pairs, and the agent of the first one.
struct Node {
    agent: Agent,
    clients: [Pod; 2],
    servers: [Pod; 2],
    _path: NodePath,
    _far: Net,
    net: Net,
}

impl Node {
    fn new(name: &str) -> Result<Self> {
        let net = Net::new(name)?;
        let (far, path) = net.beyond()?;
        let clients = [net.pod("one")?, net.pod("two")?];
        let servers = [far.pod("first")?, far.pod("second")?];
        let agent = agent_of(name, &net)?;
        Ok(Self { agent, clients, servers, _path: path, _far: far, net })
    }

    fn pods(&self) -> Vec<&Pod> {
        self.clients.iter().chain(&self.servers).collect()
    }

    /// Sets or removes the queueing discipline of a device of the node.
    fn shape(&self, action: &str, device: &str, discipline: &str) -> Result<()> {
        let args = format!("qdisc {action} dev {device} {discipline}");
        self.net.switch().run("tc", &args.split(' ').collect::<Vec<_>>(), "").map(drop)
    }

    /// Nothing is wrong for some time.
    fn expect_health(&self) -> Result<()> {
        thread::sleep(Duration::from_secs(scaled(12, 30)));
        let mut found = findings::of(&self.agent, &self.pods())?;
        found.retain(Finding::is_sure);
        ensure!(found.is_empty(), "healthy traffic is called {found:#?}");
        Ok(())
    }

    /// Waits for a queue that drops, of a subject of this kind, and nothing else: one pair may have shown it before the others.
    fn expect_shaper(&self, kind: &str, pairs: &[(&Pod, &Pod)]) -> Result<Finding> {
        let finding = eventually_within(named_within(), "a queue that drops is named", || {
            let mut found = findings::of(&self.agent, &self.pods())?;
            found.retain(|finding| finding.is_active() && finding.is_sure());
            let [finding] = &found[..] else { bail!("{found:#?}") };
            let said = (finding.cause(), finding.side(), finding.kind());
            ensure!(said == ("shaper_drop", "node", kind), "{finding:#?}");
            Ok(finding.clone())
        })?;
        for (client, server) in pairs {
            let hurts = |pod: &Pod| finding.concerns(&pod.names());
            ensure!(hurts(client) && hurts(server), "{} is not concerned: {finding:#?}", client.workload());
        }
        ensure!(finding.owner() == "node" && finding.confidence() == "high", "{finding:#?}");
        Ok(finding)
    }
}

/// The agent of a node that is the network namespace of the bridge.
fn agent_of(name: &str, net: &Net) -> Result<Agent> {
    net.switch().run("ip", &["link", "set", "lo", "up"], "")?;
    let options = agent::Options {
        env: &agent::SHARED_ENV,
        without_dns: true,
        within: Some(net.switch()),
        ..agent::Options::default()
    };
    Agent::start(name, "agent", &options)
}

/// A queue of a device that several pairs share drops: the finding names the device, and is over when the queue is gone.
pub(in crate::scenarios) fn shaper(name: &str) -> Result<()> {
    let node = Node::new(name)?;
    if !drops::is_available(&node.agent)? {
        return Ok(());
    }
    let [one, two] = &node.clients;
    let [first, second] = &node.servers;
    let _sinks = [first.serve(first.at(8080), &[])?, second.serve(second.at(8080), &[])?];
    let _traffic: [Asking; 2] =
        [transfers(one, first.at(8080), "100000")?, transfers(two, second.at(8080), "100000")?];
    node.expect_health()?;
    node.shape("add", DEVICE, SHAPER)?;
    let finding = node.expect_shaper("interface", &[(one, first), (two, second)])?;
    ensure!(finding.interface() == DEVICE, "{finding:#?}");
    let labels = [("cause", "shaper_drop"), ("owner", "node"), ("interface", DEVICE)];
    ensure!(node.agent.scrape()?.sum("netcause_finding_active", &labels) == 1.0, "no series of the finding");
    node.shape("del", DEVICE, "root")?;
    findings::expect_end(&node.agent, &finding, over_within())
}

/// A limit on the cable of a pod is said of the pod's port: cables have no names of their own.
pub(in crate::scenarios) fn shaped_pod(name: &str) -> Result<()> {
    let node = Node::new(name)?;
    if !drops::is_available(&node.agent)? {
        return Ok(());
    }
    let [shaped, _] = &node.clients;
    let [first, second] = &node.servers;
    let _sink = shaped.serve(shaped.at(8080), &[])?;
    let _traffic: [Asking; 2] =
        [transfers(first, shaped.at(8080), "100000")?, transfers(second, shaped.at(8080), "100000")?];
    node.expect_health()?;
    node.shape("add", &shaped.port, SHAPER)?;
    let finding = node.expect_shaper("listener", &[(first, shaped), (second, shaped)])?;
    ensure!(finding.destination() == shaped.workload() && finding.port() == Some(8080), "{finding:#?}");
    node.shape("del", &shaped.port, "root")?;
    findings::expect_end(&node.agent, &finding, over_within())
}

/// An address that two pods use by turns has two owners; addresses that move together and come back, as in a failover, have not.
pub(in crate::scenarios) fn duplicate_address(name: &str) -> Result<()> {
    let pause = Duration::from_secs(scaled(2, 10));
    let net = Net::new(name)?;
    let owners = [net.pod("one")?, net.pod("two")?];
    let [a, b, c, _] = owners[0].v4.octets();
    let [node, virtual_addresses @ ..] = [1, 250, 251, 252].map(|last| Ipv4Addr::new(a, b, c, last));
    for (owner, address) in owners.iter().flat_map(|owner| virtual_addresses.map(|address| (owner, address)))
    {
        owner.also_at(&format!("{address}/24"))?;
    }
    let agent = agent_of(name, &net)?;
    // It asks for the node's link address, and the node takes its own from that.
    let claim = |owner: &Pod, address: Ipv4Addr| {
        owner.run("ip", &["neigh", "flush", "dev", "eth0"], "")?;
        let args = ["--count", "1", "--from", &address.to_string()];
        owner.connect(SocketAddr::new(node.into(), 9), &args).map(drop)
    };
    let found = || -> Result<Option<Finding>> {
        Ok(findings::all(&agent)?.into_iter().find(|finding| finding.cause() == "duplicate_address"))
    };
    for (owner, moved) in [(&owners[0], 0.0), (&owners[1], 3.0), (&owners[0], 6.0)] {
        virtual_addresses.into_iter().try_for_each(|address| claim(owner, address))?;
        agent.until("the addresses have moved", |metrics| {
            let changes = metrics.sum("netcause_node_neighbour_link_address_changes_total", &[]);
            ensure!(changes == moved, "{changes} instead of {moved} changes");
            Ok(())
        })?;
        thread::sleep(pause);
    }
    thread::sleep(Duration::from_secs(scaled(12, 30)));
    let failover = found()?;
    ensure!(failover.is_none(), "a failover is called {failover:#?}");

    let deadline = Instant::now() + named_within();
    let finding = loop {
        for owner in &owners {
            claim(owner, virtual_addresses[0])?;
            thread::sleep(pause);
        }
        if let Some(finding) = found()?.filter(Finding::is_active) {
            break finding;
        }
        ensure!(Instant::now() < deadline, "not named: {:#?}", findings::all(&agent)?);
    };
    ensure!(
        (finding.kind(), finding.side(), finding.owner(), finding.confidence())
            == ("node", "path", "network", "medium"),
        "{finding:#?}"
    );
    findings::expect_end(&agent, &finding, over_within())
}
