//! Tokens that change, and rights that are missing.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Cluster, expect_known, expect_up};

/// Longer than a client keeps a token that it has read.
const BACK: Duration = Duration::from_secs(90);

/// After the token file changes, new requests use the new token, and neither token appears in the log or the metrics.
pub(in crate::scenarios) fn token_rotates(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let _web = cluster.deployed("web")?;
    let agent = cluster.agent_that_knows(name, 1)?;
    cluster.api.rotate_token("a-second-secret")?;
    // Open watches continue; new requests need the new token.
    cluster.api.watches("pods", "end")?;
    let _next = cluster.deployed("next")?;
    agent.until_within(BACK, "the next pod is known", |metrics| {
        expect_up(metrics, "pod", true)?;
        expect_known(metrics, 2)
    })?;
    for token in ["a-first-secret", "a-second-secret"] {
        ensure!(!agent.log().contains(token), "a token is in the log:\n{}", agent.log());
        ensure!(!agent.get("/metrics", "*/*")?.body.contains(token), "a token is in the metrics");
    }
    cluster.end(&agent)
}

/// While services are forbidden the source reports it and retries slowly, and pods are named.
pub(in crate::scenarios) fn forbidden_kind(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let (server, web) = (cluster.stateful("db")?, cluster.deployed("web")?);
    cluster.api.forbid("services", &["list", "watch"])?;
    cluster.api.forbid("jobs", &["get"])?;
    let job = crate::apiserver::objects::Pod::of_job(&cluster.namespace, "report-1");
    let orphan = cluster.run(job, "report-1")?;
    let agent = cluster.agent(name, "")?;
    agent.until("services are down, pods are up", |metrics| {
        expect_up(metrics, "service", false)?;
        expect_up(metrics, "pod", true)?;
        expect_known(metrics, 3)?;
        let failures = super::failures(metrics, "service", "forbidden");
        ensure!((1.0..=3.0).contains(&failures), "{}", super::sources(metrics));
        Ok(())
    })?;
    let _echo = server.serve()?;
    let (crossed, of_job) = (web.call(&server, 3, 307)?, orphan.call(&server, 2, 100)?);
    agent.until(
        "pods are named; a Job that may not be asked about is called by its own name",
        |metrics| {
            crossed.expect_closed(metrics, &web.ends(&server))?;
            of_job.expect_closed(metrics, &orphan.ends(&server))
        },
    )?;
    let asked = cluster.api.account()?.of("get", "jobs").count();
    ensure!(asked <= 2, "a Job that is forbidden was asked for {asked} times");
    cluster.end(&agent)
}
