//! Names: real connections between pods that a Kubernetes API server lists, and the names of their ends in the metrics.

pub(super) mod events;
pub(super) mod faults;
pub(super) mod handover;
pub(super) mod host;
pub(super) mod malformed;
pub(super) mod other;
pub(super) mod peer_nodes;
pub(super) mod reuse;
pub(super) mod rights;
pub(super) mod services;
pub(super) mod size;
pub(super) mod unreachable;
pub(super) mod workloads;

use anyhow::{Result, ensure};

use crate::{
    apiserver::objects,
    lab::{
        agent::{Agent, Options, ROOM},
        apiserver::ApiServer,
        crossed::{Crossed, Ends},
        metrics::{Edge, Metrics, OPENED},
        topology::{Net, Pod},
    },
};

/// Whether a source works, with `source` and `kind`.
const SOURCE_UP: &str = "netcause_names_source_up";
/// Failures of a source, with `source`, `kind` and `reason`.
const SOURCE_FAILURES: &str = "netcause_names_source_failures_total";
/// Known objects, with `kind`.
const OBJECTS: &str = "netcause_names_objects";

/// The port of every server here.
const PORT: u16 = 8080;

/// A cluster of a scenario: an API server, and a network for its pods. The namespace is like no other's, and so are the
/// uids of its pods: agents of other scenarios and labs see these pods' cgroups too.
struct Cluster {
    api: ApiServer,
    net: Net,
    namespace: String,
}

/// A running pod and its API object.
struct Member {
    pod: Pod,
    object: objects::Pod,
    workload: String,
}

impl Cluster {
    /// `args`: see `netcause-lab apiserver --help`.
    fn new(scenario: &str, args: &[&str]) -> Result<Self> {
        let namespace = format!("{scenario}-{}", std::process::id());
        Ok(Self { api: ApiServer::start(scenario, args)?, net: Net::new(scenario)?, namespace })
    }

    /// Runs a pod and adds it to the API server.
    fn run(&self, object: objects::Pod, workload: &str) -> Result<Member> {
        let member = self.run_unlisted(object, workload)?;
        self.api.put_pod(&member.object)?;
        Ok(member)
    }

    /// Runs a pod that the API server does not list yet.
    fn run_unlisted(&self, object: objects::Pod, workload: &str) -> Result<Member> {
        let pod = self.net.pod_of_uid(&object.name, &object.uid)?;
        let object = object.at(pod.v4).at(pod.v6);
        Ok(Member { pod, object, workload: workload.to_owned() })
    }

    /// Runs a pod at the addresses of one that is gone, and adds it to the API server.
    fn run_instead_of(&self, old: &Member, object: objects::Pod, workload: &str) -> Result<Member> {
        let pod = self.net.pod_instead_of(&old.pod, &object.name, &object.uid)?;
        let object = object.at(pod.v4).at(pod.v6);
        self.api.put_pod(&object)?;
        Ok(Member { pod, object, workload: workload.to_owned() })
    }

    /// The first pod of a Deployment.
    fn deployed(&self, name: &str) -> Result<Member> {
        self.run(objects::Pod::of_deployment(&self.namespace, name, 0), name)
    }

    /// The first pod of a StatefulSet, which is a server.
    fn stateful(&self, name: &str) -> Result<Member> {
        self.run(objects::Pod::of_stateful_set(&self.namespace, name, 0), name)
    }

    /// An agent that watches this cluster's API server.
    fn agent(&self, scenario: &str, more: &str) -> Result<Agent> {
        start(scenario, &format!("{}{more}", self.api.config()))
    }

    /// As [`Self::agent`], once it knows so many pods.
    fn agent_that_knows(&self, scenario: &str, pods: u64) -> Result<Agent> {
        let agent = self.agent(scenario, "")?;
        wait_known(&agent, pods)?;
        Ok(agent)
    }

    /// Ends the scenario; fails if the agent ever sent a request that it may not.
    fn end(&self, agent: &Agent) -> Result<()> {
        self.api.account()?.expect_nothing_wrong()?;
        agent.stop(rustix::process::Signal::TERM)
    }
}

/// An agent of a configuration.
fn start(scenario: &str, config: &str) -> Result<Agent> {
    let env = [("NETCAUSE_SWEEP_CPU_PERCENT", "100"), ROOM];
    Agent::start(scenario, "agent", &Options { env: &env, config: Some(config), ..Options::default() })
}

/// Waits until the agent knows exactly so many pods.
fn wait_known(agent: &Agent, pods: u64) -> Result<()> {
    agent.until(&format!("{pods} pods are known"), |metrics| expect_known(metrics, pods))
}

fn expect_known(metrics: &Metrics, pods: u64) -> Result<()> {
    let known = metrics.sum(OBJECTS, &[("kind", "pod")]);
    ensure!(
        known == crate::lab::metrics::float(pods),
        "{known} pods are known, not {pods}; sources:\n{}",
        sources(metrics)
    );
    Ok(())
}

/// The agent's metrics about its sources, for error messages.
fn sources(metrics: &Metrics) -> String {
    metrics.list(|sample| sample.name.starts_with("netcause_names_"))
}

/// Fails unless the API's objects of a kind are up, or down, as it should be.
fn expect_up(metrics: &Metrics, kind: &str, is_up: bool) -> Result<()> {
    let up = metrics.sum(SOURCE_UP, &[("source", "api"), ("kind", kind)]);
    ensure!((up == 1.0) == is_up, "{kind}: up is {up}; sources:\n{}", sources(metrics));
    Ok(())
}

/// Failures of the API's objects of a kind with a reason.
fn failures(metrics: &Metrics, kind: &str, reason: &str) -> f64 {
    metrics.sum(SOURCE_FAILURES, &[("source", "api"), ("kind", kind), ("reason", reason)])
}

impl Member {
    /// Starts its echo server, for both families.
    fn serve(&self) -> Result<crate::lab::topology::Server> {
        self.pod.serve(format!("[::]:{PORT}").parse()?, &["--mode", "echo"])
    }

    /// Makes so many connections to a server, one after the other, which carry so many bytes each way.
    fn call(&self, server: &Self, count: u64, bytes: u64) -> Result<Crossed> {
        let (count, bytes) = (count.to_string(), bytes.to_string());
        let args = ["--count", &count, "--send", &bytes, "--receive", &bytes];
        let outcome = self.pod.connect(server.pod.at(PORT), &args)?;
        ensure!(outcome.count("broken") == 0 && outcome.count("connected") > 0, "{outcome:?}");
        self.pod.wait_quiet()?;
        Ok(Crossed::of(&outcome))
    }

    /// Namespace and workload.
    fn name(&self) -> (&str, &str) {
        (&self.object.namespace, &self.workload)
    }

    /// Both ends of its connections to a server.
    fn ends(&self, server: &Self) -> Ends {
        ends(self.name(), server.name(), PORT)
    }

    /// Fails unless it has accepted this many connections in all, whoever made them.
    fn expect_accepted(&self, metrics: &Metrics, all: u64) -> Result<()> {
        let (namespace, workload) = self.name();
        let edge = Edge::labelled(&[
            ("reporter", "destination"),
            ("destination_namespace", namespace),
            ("destination_workload", workload),
            ("destination_port", &PORT.to_string()),
        ]);
        metrics.expect(OPENED, &edge, all)
    }
}

/// Both ends' edges between two workloads, each with its namespace.
fn ends(client: (&str, &str), server: (&str, &str), port: u16) -> Ends {
    let port = port.to_string();
    let edge = |reporter| {
        Edge::labelled(&[
            ("reporter", reporter),
            ("source_namespace", client.0),
            ("source_workload", client.1),
            ("destination_namespace", server.0),
            ("destination_workload", server.1),
            ("destination_port", &port),
        ])
    };
    Ends { client: edge("source"), server: edge("destination") }
}
