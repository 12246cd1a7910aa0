//! Names in the DNS API: shown, hashed and off. The counts are the same.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::lab::{
    agent::{Agent, Options, ROOM},
    crossed::Ends,
    dns::{
        PORT,
        clients::{ONE_TRY, Resolver, dig},
        counted::Counted,
        server::Server,
    },
    eventually,
    metrics::Metrics,
    topology::{Net, Pod},
};

/// Runs an agent with this value of `dns_names`; `check` gets the part of the API about the client and the whole answer.
fn names_are(
    name: &str,
    setting: &str,
    check: impl Fn(&Value, &str) -> Result<()>,
    metrics_say: impl Fn(&Metrics) -> Result<()>,
) -> Result<()> {
    let env = [("NETCAUSE_DNS_NAMES", setting), ROOM];
    let agent = Agent::start(name, "agent", &Options { env: &env, ..Options::default() })?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = Server::start(&pod)?;
    let resolver = Resolver::new(&client, &[pod.v4.into()], "search lab.test\noptions timeout:60")?;
    resolver.resolve_all(&["web", "only4"])?;
    let outcome = resolver.resolve(&["secret"])?;
    ensure!(outcome.count("resolved") == 0, "{outcome:?}");
    dig(&client, pod.at(PORT), &[&ONE_TRY[..], &["a.failing.test"]].concat())?.expect(&[("SERVFAIL", 1)])?;

    let counted = Counted::of(&[("A", 5), ("AAAA", 4)], &[("NOERROR", 4), ("NXDOMAIN", 4), ("SERVFAIL", 1)]);
    agent.until("counts do not depend on names", |metrics| {
        counted.expect_at_client(metrics, &Ends::v4(&client, &pod, PORT).client)?;
        metrics_say(metrics)
    })?;
    eventually("the API has the names that it may have", || {
        let response = agent.get("/api/v1/dns", "application/json")?;
        ensure!(response.status == 200, "{response:?}");
        let said: Value = serde_json::from_str(&response.body).context("reading /api/v1/dns")?;
        ensure!(said["names"] == setting, "names are {setting}: {said}");
        let of_client = of_client(&said, &client)?;
        let server = &of_client["servers"][0];
        let counts = ["queries", "responses", "nxdomain", "failures"].map(|count| server[count].as_u64());
        ensure!(counts == [9, 9, 4, 1].map(Some), "{server}");
        check(of_client, &response.body).with_context(|| response.body.clone())
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

/// By default the API shows the names of queries as they are.
pub(in super::super) fn shown(name: &str) -> Result<()> {
    names_are(
        name,
        "shown",
        |client, _| {
            let by_volume = client["names"]["by_volume"].to_string();
            for name in ["web.lab.test", "only4.lab.test", "secret.lab.test", "a.failing.test"] {
                ensure!(by_volume.contains(name), "no {name}");
            }
            let by_failures = client["names"]["by_failures"].as_array().context("no names by failures")?;
            let names: Vec<_> = by_failures.iter().map(|row| (&row["name"], &row["failures"])).collect();
            ensure!(names == [(&json!("a.failing.test"), &json!(1))], "{names:?}");
            let resolved = client["resolved"].to_string();
            ensure!(resolved.contains("192.0.2.1") && resolved.contains("2001:db8::1"), "{resolved}");
            Ok(())
        },
        |_| Ok(()),
    )
}

/// With `dns_names: hashed` names can be distinguished but not read.
pub(in super::super) fn hashed(name: &str) -> Result<()> {
    names_are(
        name,
        "hashed",
        |client, body| {
            ensure!(
                !["lab.test", "secret", "failing"].iter().any(|part| body.contains(part)),
                "a name can be read"
            );
            let names = client["names"]["by_volume"].as_array().context("no names by volume")?;
            ensure!(names.len() == 5, "{} names by volume", names.len());
            Ok(())
        },
        |_| Ok(()),
    )
}

/// With `dns_names: off` names never leave the kernel.
pub(in super::super) fn off(name: &str) -> Result<()> {
    names_are(
        name,
        "off",
        |client, body| {
            ensure!(
                !["lab.test", "secret", "failing"].iter().any(|part| body.contains(part)),
                "a name can be read"
            );
            let names = client["names"]["by_volume"].as_array();
            ensure!(names.is_none_or(Vec::is_empty), "{names:?}");
            Ok(())
        },
        |metrics| {
            let received = metrics.sum("netcause_dns_events_total", &[("outcome", "received")]);
            ensure!(received == 0.0, "{received} details have left the kernel");
            Ok(())
        },
    )
}
