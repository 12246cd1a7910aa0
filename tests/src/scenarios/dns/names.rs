//! Names in the API: as they are, hashed, and not at all. The counts are the same.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{
    agent::{Agent, Options},
    crossed::Ends,
    dns::{PORT, clients::Resolver, counted::Counted, server::Server},
    eventually,
    metrics::Metrics,
    topology::{Net, Pod},
};

/// What an agent with this setting says of names; `check` takes what the API says of the client.
fn names_are(
    name: &str,
    setting: &str,
    check: impl Fn(&Value, &str) -> Result<()>,
    metrics_say: impl Fn(&Metrics) -> Result<()>,
) -> Result<()> {
    let env = [("NETCAUSE_DNS_NAMES", setting)];
    let agent = Agent::start(name, "agent", &Options { env: &env, ..Options::default() })?;
    let net = Net::new(name)?;
    let (client, pod) = (net.pod("client")?, net.pod("server")?);
    let _server = Server::start(&pod)?;
    let resolver = Resolver::new(&client, &[pod.v4.into()], "search lab.test\noptions timeout:60")?;
    resolver.resolve_all(&["web", "only4"])?;
    let outcome = resolver.resolve(&["secret"])?;
    ensure!(outcome.count("resolved") == 0, "{outcome:?}");

    let counted = Counted::of(&[("A", 4), ("AAAA", 4)], &[("NOERROR", 4), ("NXDOMAIN", 4)]);
    agent.until("counts do not depend on names", |metrics| {
        counted.expect_at_client(metrics, &Ends::v4(&client, &pod, PORT).client)?;
        metrics_say(metrics)
    })?;
    eventually("the API says what it may", || {
        let response = agent.get("/api/v1/dns", "application/json")?;
        ensure!(response.status == 200, "{response:?}");
        let said: Value = serde_json::from_str(&response.body).context("reading /api/v1/dns")?;
        ensure!(said["names"] == setting, "names are {setting}: {said}");
        check(of_client(&said, &client)?, &response.body).with_context(|| response.body.clone())
    })?;
    agent.stop(Signal::TERM)
}

fn of_client<'a>(said: &'a Value, client: &Pod) -> Result<&'a Value> {
    let workloads = said["workloads"].as_array().context("no workloads")?;
    workloads
        .iter()
        .find(|workload| workload["workload"] == client.workload())
        .with_context(|| format!("nothing of {}: {said}", client.workload()))
}

/// As they are: the default.
pub(in super::super) fn shown(name: &str) -> Result<()> {
    names_are(
        name,
        "shown",
        |client, body| {
            for name in ["web.lab.test", "only4.lab.test", "secret.lab.test"] {
                ensure!(body.contains(name), "no {name}");
            }
            let failures = client["names"]["by_failures"].to_string();
            ensure!(failures.contains("secret.lab.test") && !failures.contains("web.lab.test"), "{failures}");
            let resolved = client["resolved"].to_string();
            ensure!(resolved.contains("192.0.2.1") && resolved.contains("2001:db8::1"), "{resolved}");
            Ok(())
        },
        |_| Ok(()),
    )
}

/// Hashed: names can be told apart, and not read.
pub(in super::super) fn hashed(name: &str) -> Result<()> {
    names_are(
        name,
        "hashed",
        |client, body| {
            ensure!(!body.contains("lab.test") && !body.contains("secret"), "a name can be read");
            let names = client["names"]["by_volume"].as_array().context("no names by volume")?;
            ensure!(names.len() >= 3, "{} names by volume", names.len());
            Ok(())
        },
        |_| Ok(()),
    )
}

/// Not at all: they do not leave the kernel.
pub(in super::super) fn off(name: &str) -> Result<()> {
    names_are(
        name,
        "off",
        |client, body| {
            ensure!(!body.contains("lab.test") && !body.contains("secret"), "a name can be read");
            let names = client["names"]["by_volume"].as_array();
            ensure!(names.is_none_or(Vec::is_empty), "{names:?}");
            Ok(())
        },
        |metrics| {
            let received = metrics.sum("netcause_dns_details_total", &[("outcome", "received")]);
            ensure!(received == 0.0, "{received} details have left the kernel");
            Ok(())
        },
    )
}
