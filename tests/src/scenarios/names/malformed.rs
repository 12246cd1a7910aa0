//! Malformed objects: they are counted, and no other object is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Cluster, expect_known, expect_up, failures};

/// Longer than a client's longest wait between two attempts.
const BACK: Duration = Duration::from_secs(60);

/// A malformed object in a list (wrong type, cut off, not UTF-8) affects no other object.
pub(in crate::scenarios) fn in_a_list(name: &str) -> Result<()> {
    for how in ["name", "no_metadata", "status", "truncated", "not_utf8"] {
        let scenario = format!("{name}-{}", how.replace('_', "-"));
        let cluster = Cluster::new(&scenario, &["--no-watch-list"])?;
        let (server, web) = (cluster.stateful("db")?, cluster.deployed("web")?);
        let bad = cluster.deployed("bad")?;
        let what = json!({"malformed": {"how": how, "name": bad.object.name}});
        // Invalid JSON fails the whole list, which is requested again.
        cluster.api.fault("pods", None, Some(1), &what)?;
        let agent = cluster.agent(&scenario, "")?;
        let is_json = !matches!(how, "truncated" | "not_utf8");
        agent.until_within(BACK, &format!("the others are known: {how}"), |metrics| {
            expect_up(metrics, "pod", true)?;
            // A pod with a status of the wrong type is known, without addresses.
            let known = metrics.sum(super::OBJECTS, &[("kind", "pod")]);
            ensure!((2.0..=3.0).contains(&known), "{known} pods are known:\n{}", super::sources(metrics));
            if is_json && how != "status" {
                ensure!(failures(metrics, "pod", "malformed") >= 1.0, "{}", super::sources(metrics));
            }
            Ok(())
        })?;
        let _echo = server.serve()?;
        let crossed = web.call(&server, 3, 307)?;
        agent.until("the others are named", |metrics| crossed.expect_closed(metrics, &web.ends(&server)))?;
        // Its next version is valid.
        cluster.api.put_pod(&bad.object.clone().labelled("fixed", "yes"))?;
        agent.until_within(BACK, "it is known once it is valid", |metrics| expect_known(metrics, 3))?;
        cluster.end(&agent)?;
    }
    Ok(())
}

/// A malformed object in an event of a watch affects no other object.
pub(in crate::scenarios) fn in_an_event(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let agent = cluster.agent_that_knows(name, 1)?;
    let mut known = 1;
    for how in ["name", "no_metadata", "spec", "truncated", "not_utf8"] {
        cluster.api.fault(
            "pods",
            Some("watch"),
            Some(1),
            &json!({"malformed": {"how": how, "name": null}}),
        )?;
        let bad = cluster.deployed(&format!("bad-{}", how.replace('_', "-")))?;
        let good = cluster.deployed(&format!("good-{}", how.replace('_', "-")))?;
        cluster.api.put_pod(&bad.object.clone().labelled("fixed", "yes"))?;
        known += 2;
        agent.until_within(BACK, &format!("both are known in the end: {how}"), |metrics| {
            expect_known(metrics, known)?;
            expect_up(metrics, "pod", true)
        })?;
        drop(good);
    }
    agent.until("that is counted", |metrics| {
        ensure!(failures(metrics, "pod", "malformed") >= 1.0, "{}", super::sources(metrics));
        Ok(())
    })?;
    drop(server);
    cluster.end(&agent)
}
