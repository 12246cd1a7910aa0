//! Service addresses that a node rewrites (DNAT): the client's edge has the service and the workload behind it.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    files::Files,
    metrics::{Edge, Metrics, OPENED},
    service,
    topology::{Net, Pod},
};

const WAITING: &str = "netcause_tcp_waiting_connections";
const LOOKUPS: &str = "netcause_conntrack_lookups_total";

/// A client's edge to a service address that the node rewrites has the service and the workload of its backends.
pub(super) fn rewritten(name: &str) -> Result<()> {
    run(name, "shopper-0", ["backend", "backend"], false, |metrics| {
        metrics.expect(OPENED, &edge("shopper-0", "backend"), 8)?;
        let found = metrics.sum(LOOKUPS, &[("outcome", "found")]);
        ensure!(found >= 2.0, "{LOOKUPS} found something {found} times");
        Ok(())
    })
}

/// A service with backends of two workloads is one edge to `several`.
pub(super) fn of_two(name: &str) -> Result<()> {
    run(name, "shopper-1", ["stable", "canary"], false, |metrics| {
        metrics.expect(OPENED, &edge("shopper-1", "several"), 8)?;
        let all = Edge::labelled(&[("reporter", "source"), ("source_workload", "shopper-1")]);
        metrics.expect(OPENED, &all, 8)
    })
}

/// When the endpoints of the service are known, the kernel is not asked.
pub(super) fn known(name: &str) -> Result<()> {
    run(name, "shopper-2", ["backend", "backend"], true, |metrics| {
        metrics.expect(OPENED, &edge("shopper-2", "backend"), 8)?;
        let asked = metrics.sum(LOOKUPS, &[]);
        ensure!(asked == 0.0, "the kernel was asked {asked} times");
        Ok(())
    })
}

/// Whose turn it is on connections to a service's address is known as on any other: at the client's end by what it was answered.
pub(super) fn waiting(name: &str) -> Result<()> {
    const FOREVER: &str = "600000";
    let shopper = "shopper-3";
    let net = Net::new(name)?;
    let (client, one, other) = (net.pod_of_uid("client", &uid(shopper))?, net.pod("one")?, net.pod("other")?);
    service::balance(&net, &[&client], &[&one, &other], 8080)?;
    let files = Files::new(&client, "names")?;
    let names = names((&client, shopper), [&one, &other], ["backend", "backend"], true);
    let config = format!("names_file: \"{}\"\n", files.write("names.yaml", &names)?.display());
    let options = Options {
        args: &["--sweep-interval-seconds", "1", "--sweep-cpu-percent", "100"],
        config: Some(&config),
        within: Some(net.switch()),
        without_dns: true,
        ..Options::default()
    };
    let thinks = ["--mode", "echo", "--quick", "1", "--think-ms", FOREVER];
    let _servers = [one.serve("[::]:8080".parse()?, &thinks)?, other.serve("[::]:8080".parse()?, &thinks)?];
    let agent = Agent::start(name, "agent", &options)?;
    let mut held = Vec::new();
    for address in service::addresses() {
        let mut asks = client.hold(address, &["--count", "2"])?;
        asks.run_command("echo 64")?;
        asks.run_command("send 64")?;
        held.push(asks);
    }
    let server = Edge::labelled(&[("reporter", "destination"), ("source_workload", shopper)]);
    agent.until("both ends wait for the backends", |metrics| {
        metrics.expect(WAITING, &edge(shopper, "backend").with("on", "peer_application"), 4)?;
        metrics.expect(WAITING, &server.with("on", "local_application"), 4)
    })?;
    agent.stop(Signal::TERM)
}

/// The agent runs where destinations are rewritten, and knows names from a file. The client's is this scenario's alone,
/// because agents see what runs beside them.
fn run(
    name: &str,
    shopper: &str,
    workloads: [&str; 2],
    with_endpoints: bool,
    expect: impl Fn(&Metrics) -> Result<()>,
) -> Result<()> {
    let net = Net::new(name)?;
    let (client, one, other) = (net.pod_of_uid("client", &uid(shopper))?, net.pod("one")?, net.pod("other")?);
    service::balance(&net, &[&client], &[&one, &other], 8080)?;
    let files = Files::new(&client, "names")?;
    let names =
        files.write("names.yaml", &names((&client, shopper), [&one, &other], workloads, with_endpoints))?;
    let config = format!("names_file: \"{}\"\n", names.display());
    let options = Options {
        config: Some(&config),
        within: Some(net.switch()),
        without_dns: true,
        ..Options::default()
    };
    let _servers = [one.serve("[::]:8080".parse()?, &[])?, other.serve("[::]:8080".parse()?, &[])?];
    // One to each backend, older than the agent: whenever the table is read, it has both.
    let mut held = Vec::new();
    for address in service::addresses() {
        held.push(client.hold(address, &["--count", "2"])?);
    }
    let agent = Agent::start(name, "agent", &options)?;
    for address in service::addresses() {
        let sent = client.connect(address, &["--count", "4", "--send", "1000"])?;
        ensure!(sent.count("connected") == 4, "{address}: {sent:?}");
    }
    agent.until("the client's edge has the service and its backend", expect)?;
    agent.stop(Signal::TERM)
}

/// The uid of the client's pod, whose workload's name ends with a digit.
fn uid(shopper: &str) -> String {
    format!("5e0f9a52-31c7-4d0e-8a55-9f7d3b1c2e4{}", &shopper[shopper.len() - 1..])
}

fn edge(shopper: &str, destination: &str) -> Edge {
    Edge::labelled(&[
        ("reporter", "source"),
        ("source_workload", shopper),
        ("destination_service", "web"),
        ("destination_workload", destination),
        ("destination_namespace", "shop"),
    ])
}

fn names(
    (client, shopper): (&Pod, &str),
    backends: [&Pod; 2],
    workloads: [&str; 2],
    with_endpoints: bool,
) -> String {
    let mut text = format!(
        "services:\n  - namespace: shop\n    name: web\n    addresses: [\"{}\", \"{}\"]\n    ports: [{{port: {}}}]\n",
        service::V4,
        service::V6,
        service::PORT
    );
    if with_endpoints {
        text.push_str("    endpoints:\n");
        for pod in backends {
            text.push_str(&format!(
                "      - {{addresses: [\"{}\", \"{}\"], ports: [{{port: 8080}}]}}\n",
                pod.v4, pod.v6
            ));
        }
    }
    text.push_str("pods:\n");
    let client = (client, shopper, format!(", uid: {}", uid(shopper)));
    let backends = backends.into_iter().zip(workloads).map(|(pod, workload)| (pod, workload, String::new()));
    for (pod, workload, uid) in std::iter::once(client).chain(backends) {
        text.push_str(&format!(
            "  - {{namespace: shop, workload: {workload}, addresses: [\"{}\", \"{}\"]{uid}}}\n",
            pod.v4, pod.v6
        ));
    }
    text
}
