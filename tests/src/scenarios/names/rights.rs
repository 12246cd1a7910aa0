//! Tokens that change, and rights that are missing.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Cluster, expect_known, expect_up};
use crate::lab::metrics::{Metrics, OPENED};

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

/// A server that refuses everything for a moment while it starts is asked again soon, and not minutes later.
pub(in crate::scenarios) fn refused_while_it_starts(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let _web = cluster.deployed("web")?;
    let agent = cluster.agent_that_knows(name, 1)?;
    let kinds = [("pods", "pod"), ("services", "service")];
    for (plural, _) in kinds {
        cluster.api.forbid(plural, &["list", "watch"])?;
        cluster.api.watches(plural, "end")?;
    }
    let all =
        |metrics: &Metrics, is_up| kinds.iter().try_for_each(|(_, kind)| expect_up(metrics, kind, is_up));
    agent.until("everything is refused", |metrics| all(metrics, false))?;
    for (plural, _) in kinds {
        cluster.api.allow(plural, &["list", "watch"])?;
    }
    agent.until_within(BACK, "everything is up again", |metrics| all(metrics, true))?;
    cluster.end(&agent)
}

/// While services are forbidden the source reports it and retries slowly, and pods are named. What is granted later is asked
/// again.
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
        ensure!(failures >= 1.0, "{}", super::sources(metrics));
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
    ensure!(asked <= 12, "a Job that is forbidden was asked for {asked} times");
    cluster.api.put_cron_job(&cluster.namespace, "report", "report-1")?;
    cluster.api.allow("jobs", &["get"])?;
    let of_cron_job = super::ends((&cluster.namespace, "report"), server.name(), super::PORT);
    agent.until_within(BACK * 2, "the Job's next connections are its CronJob's", |metrics| {
        orphan.call(&server, 1, 100)?;
        metrics.expect_at_least(OPENED, &of_cron_job.server, 1)
    })?;
    cluster.end(&agent)
}
