//! Addresses that pass from one pod to the next.

use anyhow::{Result, ensure};

use super::{Cluster, Member};
use crate::{
    apiserver::{now, objects::Pod},
    lab::{
        agent::Agent,
        crossed::Crossed,
        metrics::{Metrics, OPENED},
    },
};

/// When another pod gets the address of a deleted pod within seconds, each keeps its own traffic.
pub(in crate::scenarios) fn within_seconds(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let first = cluster.deployed("first")?;
    let agent = cluster.agent_that_knows(name, 2)?;
    let _echo = server.serve()?;
    let before = first.call(&server, 5, 1009)?;
    wait_seen(&agent, &first, &server, &before)?;
    // It is being deleted, keeps its name until it is gone, and goes.
    let going = first.object.clone().deleted(now());
    cluster.api.put_pod(&going)?;
    let last = first.call(&server, 2, 101)?;
    let before = before.and(last);
    wait_seen(&agent, &first, &server, &before)?;
    cluster.api.delete_pod(&going)?;
    let object = Pod::of_deployment(&cluster.namespace, "second", 0).created(now());
    let second = cluster.run_instead_of(&first, object, "second")?;
    wait_successor(&agent, &second, &server, &[(&first, before)])?;
    cluster.end(&agent)
}

/// A Job that has ended and still lists its address does not take traffic of the pod that has the address now.
pub(in crate::scenarios) fn completed_job(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let job = "report-29381280";
    cluster.api.put_cron_job(&cluster.namespace, "report", job)?;
    let first = cluster.run(Pod::of_job(&cluster.namespace, job), "report")?;
    let agent = cluster.agent_that_knows(name, 2)?;
    let _echo = server.serve()?;
    let before = first.call(&server, 3, 2003)?;
    wait_seen(&agent, &first, &server, &before)?;
    let ended = now();
    cluster.api.put_pod(&first.object.clone().ended("Succeeded", ended))?;
    let object = Pod::of_deployment(&cluster.namespace, "second", 0).created(ended + 1);
    let second = cluster.run_instead_of(&first, object, "second")?;
    wait_successor(&agent, &second, &server, &[(&first, before)])?;
    // A change of the old pod that comes late takes nothing back.
    cluster.api.put_pod(&first.object.clone().ended("Succeeded", ended).labelled("seen", "yes"))?;
    cluster.api.delete_pod(&first.object)?;
    let more = second.call(&server, 2, 307)?;
    agent.until("the address is still the second pod's", |metrics| {
        metrics.expect(OPENED, &second.ends(&server).server, 7 + more.connections)
    })?;
    cluster.end(&agent)
}

/// Each pod of a chain at one address keeps its own traffic.
pub(in crate::scenarios) fn many_times(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let first = cluster.deployed("number-0")?;
    let agent = cluster.agent_that_knows(name, 2)?;
    let _echo = server.serve()?;
    let mut gone = vec![(first, Crossed::default())];
    for number in 1..4 {
        if let Some((last, crossed)) = gone.last_mut() {
            *crossed = last.call(&server, number, 100)?;
            wait_seen(&agent, last, &server, crossed)?;
            cluster.api.delete_pod(&last.object)?;
            let workload = format!("number-{number}");
            let object = Pod::of_deployment(&cluster.namespace, &workload, 0).created(now());
            let next = cluster.run_instead_of(last, object, &workload)?;
            super::wait_known(&agent, 2)?;
            gone.push((next, Crossed::default()));
        }
    }
    agent.until("each pod keeps what was its own", |metrics| {
        gone.iter().try_for_each(|(member, crossed)| crossed.expect_closed(metrics, &member.ends(&server)))
    })?;
    cluster.end(&agent)
}

fn wait_seen(agent: &Agent, client: &Member, server: &Member, crossed: &Crossed) -> Result<()> {
    server.pod.wait_quiet()?;
    agent.until("the traffic of the first pod is its own", |metrics| {
        crossed.expect_closed(metrics, &client.ends(server))
    })
}

/// Waits until the agent knows who has the address now, has it make seven connections, and checks whose they are.
fn wait_successor(agent: &Agent, next: &Member, server: &Member, gone: &[(&Member, Crossed)]) -> Result<()> {
    let is_known = |metrics: &Metrics| {
        let known = metrics.sum(super::OBJECTS, &[("kind", "workload")]);
        ensure!(known >= 2.0, "{known} workloads are known:\n{}", super::sources(metrics));
        Ok(())
    };
    agent.until("the next pod is known", is_known)?;
    let after = next.call(server, 7, 503)?;
    server.pod.wait_quiet()?;
    agent.until("each pod has its own", |metrics| {
        after.expect_closed(metrics, &next.ends(server))?;
        let mut all = after.connections;
        for (member, crossed) in gone {
            crossed.expect_closed(metrics, &member.ends(server))?;
            all += crossed.connections;
        }
        server.expect_accepted(metrics, all)
    })
}
