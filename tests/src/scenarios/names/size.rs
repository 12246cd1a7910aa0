//! Large clusters and old API servers.

use anyhow::{Result, ensure};

use super::{Cluster, expect_known, wait_known};
use crate::lab::{eventually, scaled};

/// Thousands of pods of real size are listed in pages or as a stream, and two of them are named.
pub(in crate::scenarios) fn huge(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let pods: u32 = scaled(5000, 500);
    cluster.api.generate(pods, 100)?;
    let (server, web) = (cluster.stateful("db")?, cluster.deployed("web")?);
    let agent = cluster.agent_that_knows(name, u64::from(pods) + 2)?;
    expect_in_parts(&cluster)?;
    let _echo = server.serve()?;
    let crossed = web.call(&server, 3, 307)?;
    agent
        .until("two of many pods are named", |metrics| crossed.expect_closed(metrics, &web.ends(&server)))?;
    // A list again, of a server that has forgotten.
    cluster.api.compact()?;
    cluster.api.forget()?;
    cluster.api.watches("pods", "expire")?;
    cluster.api.delete_pod(&web.object)?;
    wait_known(&agent, u64::from(pods) + 1)?;
    // The expired watch may have delivered the deletion before it ended.
    eventually("pods were listed again", || expect_in_parts(&cluster))?;
    cluster.end(&agent)
}

/// A server without streaming lists is asked for pages.
pub(in crate::scenarios) fn older_server(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &["--no-watch-list"])?;
    cluster.api.generate(1200, 10)?;
    let agent = cluster.agent_that_knows(name, 1200)?;
    let account = cluster.api.account()?;
    account.expect_paged("pods")?;
    let pages = account.of("list", "pods").filter(|asked| asked.code == Some(200)).count();
    // One that takes whatever the server's cache has (version 0) gets it all at once: the cache knows no limit.
    let from_cache = account
        .of("list", "pods")
        .any(|asked| asked.parameters.get("resourceVersion").is_some_and(|is| is == "0"));
    ensure!(pages > 1 || (from_cache && pages == 1), "{pages} pages");
    cluster.end(&agent)
}

/// With `kubernetes_pods: node` only the pods of this node and their peers are known, and no list asks for all pods, or all nodes.
pub(in crate::scenarios) fn node_only(name: &str) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    cluster.api.generate(300, 10)?;
    let namespace = cluster.namespace.clone();
    let here = format!("{namespace}-here");
    let object = |workload| crate::apiserver::objects::Pod::of_deployment(&namespace, workload, 0);
    let web = cluster.run(object("web").on_node(&here), "web")?;
    // On another node, as far as the API goes; its own end is this agent's as well, and known by its cgroup alone.
    let far = cluster.run(object("far").on_node("elsewhere"), "far")?;
    let agent = cluster.agent(name, &format!("kubernetes_pods: node\nnode_name: {here}\n"))?;
    // Every net of the lab has the same addresses: what another scenario does may have the far one asked for already.
    agent.until("the pods of this node are known", |metrics| {
        expect_known(metrics, 1).or_else(|_| expect_known(metrics, 2))
    })?;
    let _echo = far.serve()?;
    let crossed = web.call(&far, 3, 307)?;
    agent.until("the peer is known", |metrics| {
        expect_known(metrics, 2)?;
        crossed.expect_closed(metrics, &web.ends(&far))
    })?;
    let account = cluster.api.account()?;
    for asked in account.asked.iter().filter(|asked| asked.resource == "pods" && asked.verb != "get") {
        ensure!(asked.parameters.contains_key("fieldSelector"), "all pods were asked for: {asked:?}");
    }
    ensure!(account.of("watch", "endpointslices").count() == 0, "endpoint slices are watched");
    for asked in account.asked.iter().filter(|asked| asked.resource == "nodes") {
        let one =
            asked.parameters.get("fieldSelector").is_some_and(|field| field.starts_with("metadata.name="));
        ensure!(asked.verb == "list" && one, "all nodes were asked for: {asked:?}");
    }
    ensure!(account.of("list", "nodes").count() >= 2, "neither this node nor the peer's was looked up");
    cluster.end(&agent)
}

/// Fails if pods were asked for all at once.
fn expect_in_parts(cluster: &Cluster) -> Result<()> {
    let account = cluster.api.account()?;
    account.expect_paged("pods")?;
    let streamed =
        account.of("watch", "pods").any(|asked| asked.parameters.contains_key("sendInitialEvents"));
    let paged = account.of("list", "pods").next().is_some();
    ensure!(streamed || paged, "pods were asked for neither way: {:?}", account.watches);
    Ok(())
}
