//! Names without an API: from the kubelet of the node, and from a file.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::{Cluster, OBJECTS, SOURCE_UP, expect_known, start};
use crate::{
    apiserver::objects::Pod,
    lab::{
        files::Files,
        metrics::{Edge, OPENED, float},
    },
};

/// The kubelet is asked every ten seconds, and later after failures.
const ASKED_AGAIN: Duration = Duration::from_secs(60);

/// The kubelet names the pods of its node; while it fails, its last answer is used.
pub(in crate::scenarios) fn kubelet(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let here = |workload| Pod::of_deployment(&cluster.namespace, workload, 0).on_node("here");
    let (server, web) = (cluster.run(here("db"), "db")?, cluster.run(here("web"), "web")?);
    cluster.api.generate(20, 2)?;
    let agent = start(name, &cluster.api.kubelet_config("here"))?;
    super::wait_known(&agent, 2)?;
    let _echo = server.serve()?;
    let crossed = web.call(&server, 3, 1009)?;
    server.pod.wait_quiet()?;
    agent
        .until("pods of this node are named", |metrics| crossed.expect_closed(metrics, &web.ends(&server)))?;
    cluster.api.fault("kubelet", None, None, &serde_json::json!({"status": {"code": 503}}))?;
    let next = cluster.run(here("next"), "next")?;
    agent.until_within(
        ASKED_AGAIN,
        "the kubelet is reported as down, and its pods stay known",
        |metrics| {
            let up = metrics.sum(SOURCE_UP, &[("source", "kubelet"), ("kind", "pod")]);
            anyhow::ensure!(up == 0.0, "{}", super::sources(metrics));
            expect_known(metrics, 2)
        },
    )?;
    cluster.api.clear()?;
    agent.until_within(2 * ASKED_AGAIN, "the next pod is known", |metrics| expect_known(metrics, 3))?;
    let more = next.call(&server, 2, 307)?;
    agent.until("the next pod is named", |metrics| more.expect_closed(metrics, &next.ends(&server)))?;
    cluster.end(&agent)
}

/// A file names pods and nodes and is read again when it has changed; a broken version changes nothing.
pub(in crate::scenarios) fn file(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let object = |workload| Pod::of_deployment(&cluster.namespace, workload, 0);
    let server = cluster.run_unlisted(object("db"), "db")?;
    let web = cluster.run_unlisted(object("web"), "web")?;
    let files = Files::new(&server.pod, "names")?;
    let entry = |member: &super::Member| {
        let (namespace, workload) = member.name();
        let (v4, v6, uid) = (member.pod.v4, member.pod.v6, &member.object.uid);
        format!(
            "  - namespace: {namespace}\n    workload: {workload}\n    uid: {uid}\n    addresses: [\"{v4}\", \"{v6}\"]\n"
        )
    };
    let path = files.write("names.yaml", &format!("pods:\n{}", entry(&server)))?;
    let agent = start(name, &format!("kubernetes: off\nnames_file: {}\n", path.display()))?;
    super::wait_known(&agent, 1)?;
    fs::write(&path, "pods:\n  - nonsense: [\n").context("breaking the file")?;
    agent.until("the broken file is reported", |metrics| {
        let up = metrics.sum(SOURCE_UP, &[("source", "file")]);
        anyhow::ensure!(up == 0.0, "{}", super::sources(metrics));
        expect_known(metrics, 1)
    })?;
    let machine = cluster.net.pod("machine")?;
    let text = format!(
        "pods:\n{}{}nodes:\n  - {{name: {name}-7, addresses: [\"{}\"], zone: eu-1a}}\n",
        entry(&server),
        entry(&web),
        machine.v4
    );
    fs::write(&path, text).context("mending the file")?;
    agent.until("the second pod is known", |metrics| {
        let known = metrics.sum(OBJECTS, &[("kind", "pod")]);
        anyhow::ensure!(known == float(2), "{}", super::sources(metrics));
        Ok(())
    })?;
    let _echo = server.serve()?;
    let crossed = web.call(&server, 3, 1009)?;
    server.pod.wait_quiet()?;
    agent.until("both are named", |metrics| crossed.expect_closed(metrics, &web.ends(&server)))?;
    let _exporter = machine.serve(machine.at(9100), &[])?;
    let outcome = web.pod.connect(machine.at(9100), &["--count", "2"])?;
    anyhow::ensure!(outcome.count("connected") == 2, "{outcome:?}");
    let node = format!("{name}-7");
    let (namespace, workload) = web.name();
    // What listens there is on this node: its own name says more than the machine's.
    let edge = Edge::labelled(&[
        ("reporter", "source"),
        ("source_namespace", namespace),
        ("source_workload", workload),
        ("destination_port", "9100"),
    ])
    .with_any("destination_workload", vec![node.clone(), machine.workload().to_owned()]);
    agent.until("the node is named, or what listens there, and its zone is known", |metrics| {
        metrics.expect(OPENED, &edge, 2)?;
        metrics.expect("netcause_names_node_zone", &Edge::labelled(&[("node", &node), ("zone", "eu-1a")]), 1)
    })?;
    cluster.end(&agent)
}
