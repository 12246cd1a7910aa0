//! Pods are named after their workload.

use anyhow::{Result, ensure};

use super::Cluster;
use crate::apiserver::objects::{LONG_AGO, Pod, owner};

/// A pod is named after the workload behind each kind of owner, as client and as server, in both families.
pub(in crate::scenarios) fn owners(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let (api, namespace) = (&cluster.api, cluster.namespace.as_str());
    let server = cluster.stateful("db")?;
    let job = "nightly-29381280";
    api.put_cron_job(namespace, "nightly", job)?;
    // A Job of the time at which its pod was made needs no asking.
    let hourly = format!("hourly-{}", LONG_AGO / 60);
    // A ReplicaSet whose name has no hash of a template, so its owner has to be looked up.
    api.put(&owner("apps/v1", "ReplicaSet", namespace, "odd", Some(("apps/v1", "Deployment", "renamed"))))?;
    let canary = Pod::new(namespace, "canary-6b8f-x2kpq")
        .owned_by("apps/v1", "ReplicaSet", "canary-6b8f")
        .labelled("rollouts-pod-template-hash", "6b8f");
    let rollout = Some(("argoproj.io/v1alpha1", "Rollout", "canary"));
    api.put(&owner("apps/v1", "ReplicaSet", namespace, "canary-6b8f", rollout))?;
    let members = [
        (Pod::of_deployment(namespace, "web", 0), "web"),
        (Pod::of_job(namespace, job), "nightly"),
        (Pod::of_job(namespace, &hourly), "hourly"),
        (Pod::of_daemon_set(namespace, "logs", 0), "logs"),
        (Pod::new(namespace, "odd-x7").owned_by("apps/v1", "ReplicaSet", "odd"), "renamed"),
        (canary, "canary"),
        (Pod::new(namespace, "main-0").owned_by("example.com/v1", "Database", "main"), "main"),
        (Pod::new(namespace, "toolbox"), "toolbox"),
    ];
    let mut clients = Vec::new();
    for (object, workload) in members {
        clients.push(cluster.run(object, workload)?);
    }
    let agent = cluster.agent_that_knows(name, 9)?;
    let _echo = server.serve()?;
    let mut calls = Vec::new();
    for (number, client) in (1_u64..).zip(&clients) {
        let v4 = client.call(&server, number, 1000 + number)?;
        let outcome =
            client.pod.connect(server.pod.at_v6(super::PORT), &["--send", "10", "--receive", "10"])?;
        ensure!(outcome.count("connected") == 1, "{outcome:?}");
        calls.push((client, v4.and(crate::lab::crossed::Crossed::of(&outcome))));
    }
    server.pod.wait_quiet()?;
    agent.until("each workload has its name at both ends", |metrics| {
        calls.iter().try_for_each(|(client, crossed)| crossed.expect_closed(metrics, &client.ends(&server)))
    })?;
    let account = api.account()?;
    for resource in ["replicasets", "jobs", "deployments", "cronjobs", "rollouts", "databases"] {
        for verb in ["list", "watch"] {
            ensure!(account.of(verb, resource).next().is_none(), "{verb} of {resource}");
        }
    }
    // The hash of the template says what the ReplicaSet would.
    let web = account.of("get", "replicasets").filter(|asked| asked.path.contains("/web-"));
    ensure!(web.count() == 0, "a ReplicaSet was asked for whose name says all");
    cluster.end(&agent)
}

/// Connections of a pod that the API server lists only later get its name, and nothing is counted twice.
pub(in crate::scenarios) fn late_pod(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let agent = cluster.agent_that_knows(name, 1)?;
    let _echo = server.serve()?;
    let late = cluster.run_unlisted(Pod::of_deployment(&cluster.namespace, "late", 0), "late")?;
    let before = late.call(&server, 3, 1009)?;
    agent.sweep_again()?;
    cluster.api.put_pod(&late.object)?;
    super::wait_known(&agent, 2)?;
    let after = late.call(&server, 4, 503)?;
    agent.until("all connections have its name", |metrics| {
        let all = before.and(after);
        all.expect_closed(metrics, &late.ends(&server))
    })?;
    cluster.end(&agent)
}

/// A static pod is named by the hash of its manifest, which its cgroups have in place of the uid of its mirror pod.
pub(in crate::scenarios) fn static_pod(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let object = Pod::new(&cluster.namespace, "etcd-node-0").owned_by("v1", "Node", "node-0");
    let hash = object.uid.replace('-', "");
    let pod = cluster.net.pod_of_uid("etcd", &hash)?;
    let mirror = format!("00000000-0000-4000-8000-{}", &hash[..12]);
    let object = object
        .with_uid(&mirror)
        .annotated("kubernetes.io/config.hash", &hash)
        .annotated("kubernetes.io/config.source", "file")
        .annotated("kubernetes.io/config.mirror", &hash)
        .at(pod.v4)
        .at(pod.v6);
    cluster.api.put_pod(&object)?;
    // The kubelet calls it after its manifest and its node; the manifest is what it is of.
    let member = super::Member { pod, object, workload: "etcd".to_owned() };
    let agent = cluster.agent_that_knows(name, 2)?;
    let _echo = server.serve()?;
    let crossed = member.call(&server, 3, 1009)?;
    server.pod.wait_quiet()?;
    agent.until("the static pod is known by its hash", |metrics| {
        crossed.expect_closed(metrics, &member.ends(&server))
    })?;
    cluster.end(&agent)
}
