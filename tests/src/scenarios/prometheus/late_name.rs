//! A name that is known after Prometheus has seen growth under an address.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    eventually, eventually_within,
    files::Files,
    metrics::FAILURES,
    promql::Prometheus,
    timeout,
    topology::Net,
};

/// Connects that are refused before the name is known, and after.
const BEFORE: u32 = 100;
const AFTER: u32 = 10;
/// An agent is young for so long (`YOUNG_SECONDS`, agent/src/expose/exposed.rs).
const YOUNG: Duration = Duration::from_secs(70);
const NAME: &str = "late-name";

/// What Prometheus has seen grow under an address stays there when the address gets a name, and the named series begins with
/// what happens next: together they have grown by what has happened, and the old one ends.
pub(in super::super) fn late_name(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let files = Files::new(&server, "names")?;
    let path = files.write("names.yaml", "pods: []\n")?;
    let config = format!("kubernetes: off\nnames_file: {}\n", path.display());
    let options = Options { config: Some(&config), without_dns: true, ..Options::default() };
    let agent = Agent::start(name, "agent", &options)?;
    let prometheus = Prometheus::start(name, agent.address())?;
    let refuse = |count: u32| -> Result<()> {
        let refused = client.connect(server.at(8085), &["--count", &count.to_string()])?;
        ensure!(refused.failed("ECONNREFUSED") == u64::from(count), "{refused:?}");
        Ok(())
    };
    let of = |more: &str| {
        let client = client.workload();
        format!("{FAILURES}{{reporter=\"source\",source_workload=\"{client}\",{more}}}")
    };
    let (unnamed, named) =
        (of(&format!("destination_workload!=\"{NAME}\"")), of(&format!("destination_workload=\"{NAME}\"")));
    let expect = |series: &str, count: u32| {
        let value = prometheus.query(series)?;
        ensure!(matches!(value[..], [(_, value)] if value == f64::from(count)), "{series} is {value:?}");
        Ok(())
    };
    refuse(BEFORE)?;
    eventually("Prometheus has the value under the address", || expect(&unnamed, BEFORE))?;
    let pod = format!(
        "pods:\n  - namespace: bank\n    workload: {NAME}\n    uid: {name}\n    addresses: [\"{}\"]\n",
        server.v4
    );
    fs::write(&path, pod).context("naming the address")?;
    agent.until("the file was read", |metrics| {
        ensure!(metrics.sum("netcause_names_objects", &[("kind", "pod")]) == 1.0, "the pod is not known");
        Ok(())
    })?;
    refuse(AFTER)?;
    eventually("the named series has what came later", || expect(&named, AFTER))?;
    // Not before a Prometheus that comes second, while the agent is young, could have got it.
    let limit = YOUNG + timeout();
    eventually_within(limit, "the series of the address has ended", || {
        let value = prometheus.query(&unnamed)?;
        ensure!(value.is_empty(), "{unnamed} is {value:?}");
        Ok(())
    })?;
    let mut grown = 0.0;
    for series in [&unnamed, &named] {
        let samples = prometheus.samples(&format!("{series}[10m]"))?;
        // As Prometheus takes it: a counter that is smaller has begun at zero.
        let growth =
            |pair: &[(f64, f64)]| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 };
        grown += samples.windows(2).map(growth).sum::<f64>();
    }
    ensure!(grown == f64::from(BEFORE + AFTER), "Prometheus adds up {grown} refusals of {}", BEFORE + AFTER);
    agent.stop(Signal::TERM)
}
