//! A stub resolver in the client's own pod, in a container beside it, at an address of 127.0.0.0/8, as
//! systemd-resolved and NodeLocal DNSCache run.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    cgroup::Cgroup,
    dns::{
        PORT, Tally,
        clients::{ONE_TRY, Resolver, dig},
        counted::{Counted, Served},
        server::{Options, Server},
    },
    metrics::Edge,
    topology::Net,
};

/// Queries to a stub resolver on loopback in the pod, which has its name there, and its own queries to the server, are counted
/// apart at both ends of each.
pub(in super::super) fn loopback(name: &str) -> Result<()> {
    let stub_address: IpAddr = [127, 0, 0, 53].into();
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let cgroup = Cgroup::new(name, "stub")?;
    let options = Options {
        listen: &[stub_address],
        cgroup: Some(cgroup.path()),
        forward: Some(pod.v4.into()),
        ..Options::default()
    };
    let stub = Server::start_with(&client, &options)?;
    let resolver = Resolver::new(&client, &[stub_address], "options timeout:60")?;
    // Flows that begin over TCP have names too.
    let first =
        dig(&client, (stub_address, PORT).into(), &[&ONE_TRY[..], &["+tcp", "web.lab.test"]].concat())?;
    first.expect(&[("NOERROR", 1)])?;
    resolver.resolve_all(&["web.lab.test", "only4.lab.test"])?;
    let outcome = resolver.resolve(&["nowhere.lab.test"])?;
    ensure!(outcome.count("resolved") == 0, "{outcome:?}");
    let (asked, passed_on) = (stub.finish()?, server.finish()?);
    ensure!(asked.queries == Tally::of([("A", 4), ("AAAA", 3)]), "the stub says {asked:?}");
    ensure!(asked.answers == Tally::of([("NOERROR", 5), ("NXDOMAIN", 2)]), "the stub says {asked:?}");

    // The stub's own questions are the server's count of them.
    let to_stub = Counted { queries: asked.queries, responses: asked.answers, ..Counted::default() };
    let to_server =
        Counted { queries: passed_on.queries, responses: passed_on.answers, ..Counted::default() };
    agent.until("program, stub and server have counted", |metrics| {
        to_stub.expect_at_client(metrics, &Edge::named("source", client.workload(), cgroup.name(), PORT))?;
        Served::to(&to_stub).expect_at_server(metrics, &Edge::listener_of(cgroup.name(), PORT))?;
        to_server.expect_at_client(metrics, &Edge::at_workload(cgroup.name(), &pod, PORT))?;
        Served::to(&to_server).expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}
