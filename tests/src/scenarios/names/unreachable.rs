//! An API server that is unreachable for a while, and watches that end.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Cluster, Member, expect_known, expect_up};
use crate::{
    apiserver::objects::Pod,
    lab::{agent::Agent, metrics::Metrics},
};

/// Longer than a client's longest wait between two attempts.
const BACK: Duration = Duration::from_secs(60);

/// While the API server is down its objects stay in use and the source is reported as down; changes are caught up
/// with when it returns.
pub(in crate::scenarios) fn for_a_while(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let (server, web) = (cluster.stateful("db")?, cluster.deployed("web")?);
    let agent = cluster.agent_that_knows(name, 2)?;
    let _echo = server.serve()?;
    cluster.api.listen(false)?;
    agent.until("the source is reported as down", |metrics| expect_up(metrics, "pod", false))?;
    let crossed = web.call(&server, 5, 1009)?;
    agent.until("cached objects are used", |metrics| {
        crossed.expect_closed(metrics, &web.ends(&server))?;
        expect_known(metrics, 2)
    })?;
    ensure!(agent.get("/readyz", "*/*")?.status == 200, "an agent without its API server is ready");
    let unheard = cluster.run(Pod::of_deployment(&cluster.namespace, "unheard", 0), "unheard")?;
    cluster.api.listen(true)?;
    agent.until_within(BACK, "changes during the outage are known", |metrics| {
        expect_up(metrics, "pod", true)?;
        expect_known(metrics, 3)
    })?;
    expect_named(&agent, &unheard, &server)?;
    cluster.end(&agent)
}

/// After an outage that outlasts the history of the server (410, in both forms), a new list removes deleted pods.
pub(in crate::scenarios) fn too_long(name: &str) -> Result<()> {
    for (form, args) in [("event", &[][..]), ("status", &["--expired-as-status"][..])] {
        let name = format!("{name}-{form}");
        let cluster = Cluster::new(&name, args)?;
        let (server, web) = (cluster.stateful("db")?, cluster.deployed("web")?);
        let agent = cluster.agent_that_knows(&name, 2)?;
        let _echo = server.serve()?;
        cluster.api.listen(false)?;
        cluster.api.delete_pod(&web.object)?;
        let next = cluster.deployed("next")?;
        let other = cluster.deployed("other")?;
        cluster.api.compact()?;
        cluster.api.listen(true)?;
        agent.until_within(BACK, "a new list has replaced the objects", |metrics| {
            expect_up(metrics, "pod", true)?;
            expect_known(metrics, 3)
        })?;
        expect_named(&agent, &next, &server)?;
        expect_named(&agent, &other, &server)?;
        cluster.end(&agent)?;
    }
    Ok(())
}

/// After every way in which a watch can end, it resumes and misses no change.
pub(in crate::scenarios) fn watches_end(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let agent = cluster.agent_that_knows(name, 1)?;
    let _echo = server.serve()?;
    for (known, end) in (2..).zip(["end", "cut", "expire", "fail"]) {
        cluster.api.watches("pods", end)?;
        let member = cluster.deployed(&format!("after-{end}"))?;
        agent.until_within(BACK, &format!("what came after {end} is known"), |metrics| {
            expect_up(metrics, "pod", true)?;
            expect_known(metrics, known)
        })?;
        expect_named(&agent, &member, &server)?;
    }
    // The end in time is no failure; of the others each is counted.
    agent.until("failures are counted", |metrics: &Metrics| {
        let all = metrics.sum(super::SOURCE_FAILURES, &[("source", "api"), ("kind", "pod")]);
        ensure!((3.0..=9.0).contains(&all), "{all} failures:\n{}", super::sources(metrics));
        Ok(())
    })?;
    cluster.end(&agent)
}

/// Fails unless new connections of a client have its name at both ends.
fn expect_named(agent: &Agent, client: &Member, server: &Member) -> Result<()> {
    let crossed = client.call(server, 3, 307)?;
    server.pod.wait_quiet()?;
    agent.until("the client is named", |metrics| crossed.expect_closed(metrics, &client.ends(server)))
}
