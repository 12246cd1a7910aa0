//! Faults of the API server: retries, backoff, and no effect on the counts.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Cluster, expect_known, expect_up, failures};

/// Longer than a client's longest wait between two attempts.
const BACK: Duration = Duration::from_secs(60);

/// After a 429 the agent waits as long as `Retry-After` says, in either form of the answer.
pub(in crate::scenarios) fn throttled(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let _web = cluster.deployed("web")?;
    for (plain, seconds) in [(true, 2), (false, 3)] {
        let what = json!({"throttle": {"retry_after": seconds, "plain": plain}});
        cluster.api.fault("pods", None, Some(1), &what)?;
    }
    let agent = cluster.agent(name, "")?;
    agent.until_within(BACK, "it is known in the end", |metrics| {
        expect_known(metrics, 1)?;
        expect_up(metrics, "pod", true)?;
        ensure!(failures(metrics, "pod", "throttled") == 2.0, "{}", super::sources(metrics));
        Ok(())
    })?;
    let account = cluster.api.account()?;
    let times: Vec<_> = account.asked.iter().filter(|asked| asked.resource == "pods").collect();
    for (pair, seconds) in times.windows(2).zip([2, 3]) {
        let [refused, next] = pair else { continue };
        ensure!(refused.code == Some(429), "{refused:?}");
        let waited = next.milliseconds - refused.milliseconds;
        ensure!(waited >= seconds * 1000, "asked again after {waited} ms, not {seconds} s");
    }
    cluster.end(&agent)
}

/// While every request for pods fails with 500 or 503, the agent retries less and less often, and other kinds still
/// work.
pub(in crate::scenarios) fn failing(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let _web = cluster.deployed("web")?;
    cluster.api.fault("pods", None, Some(2), &json!({"status": {"code": 500}}))?;
    cluster.api.fault("pods", None, None, &json!({"status": {"code": 503}}))?;
    let agent = cluster.agent(name, "")?;
    agent.until("services are up and pods are not", |metrics| {
        expect_up(metrics, "service", true)?;
        expect_up(metrics, "pod", false)
    })?;
    std::thread::sleep(Duration::from_secs(8));
    let attempts = cluster.api.account()?.asked.iter().filter(|asked| asked.resource == "pods").count();
    ensure!((2..=12).contains(&attempts), "{attempts} attempts");
    cluster.api.clear()?;
    agent.until_within(BACK, "pods are up", |metrics| {
        expect_known(metrics, 1)?;
        expect_up(metrics, "pod", true)
    })?;
    cluster.end(&agent)
}

/// Lists that are cut off in the middle begin again, and no object is kept twice.
pub(in crate::scenarios) fn cut_lists(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    cluster.api.generate(50, 3)?;
    for after in [0, 7_000, 100_000] {
        cluster.api.fault("pods", None, Some(1), &json!({"cut": {"after": after}}))?;
    }
    cluster.api.fault("nodes", None, Some(1), &json!("close"))?;
    let agent = cluster.agent(name, "")?;
    agent.until_within(BACK, "all pods and nodes are known", |metrics| {
        expect_known(metrics, 50)?;
        let nodes = metrics.sum(super::OBJECTS, &[("kind", "node")]);
        ensure!(nodes == 3.0, "{nodes} nodes are known");
        expect_up(metrics, "node", true)?;
        expect_up(metrics, "pod", true)
    })?;
    cluster.end(&agent)
}

/// A list that arrives slowly and requests that are never answered do not delay the counts of edges.
pub(in crate::scenarios) fn slow(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let (server, web) = (cluster.stateful("db")?, cluster.deployed("web")?);
    // Some eight seconds for the pods.
    cluster.api.generate(30, 1)?;
    cluster.api.fault("pods", None, Some(1), &json!({"slow": {"bytes_per_second": 20_000}}))?;
    cluster.api.fault("services", None, None, &json!("hang"))?;
    let agent = cluster.agent(name, "")?;
    let _echo = server.serve()?;
    let crossed = web.call(&server, 5, 1009)?;
    let asked = cluster.api.account()?;
    asked.asked.iter().find(|asked| asked.resource == "pods").context("the list has begun")?;
    agent.until_within(BACK, "pods are known, services are not", |metrics| {
        expect_known(metrics, 32)?;
        expect_up(metrics, "pod", true)?;
        expect_up(metrics, "service", false)?;
        crossed.expect_closed(metrics, &web.ends(&server))
    })?;
    cluster.api.clear()?;
    agent.until_within(BACK, "services are up", |metrics| expect_up(metrics, "service", true))?;
    cluster.end(&agent)
}
