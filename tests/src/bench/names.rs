//! The cost of names: an agent that watches all pods of a cluster, compared with one with `--kubernetes off`.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    memory::{reset_peak, status},
    ratios::median,
};
use crate::{
    apiserver::objects::{Pod, endpoint_slice, service},
    lab::{
        agent::{Agent, Options},
        apiserver::ApiServer,
        metrics::float,
        timeout,
    },
};

/// Readings of both agents' memory, in turn, of which the medians count.
const READINGS: usize = 5;
const BETWEEN_READINGS: Duration = Duration::from_millis(300);
/// Pods of a Deployment (`apiserver::objects::generated`); each has a service here.
const PODS_OF_SERVICE: u32 = 10;

/// `netcause-lab bench names`
#[derive(Args)]
pub(crate) struct Names {
    /// Pods of the cluster; a service and an endpoint slice for ten of them
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pods: u32,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// Changes of a burst: a third each of pods that change, come and go
    #[arg(long, default_value_t = 5000)]
    changes: u32,
    /// How many bursts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=20))]
    bursts: u32,
}

impl Names {
    pub(super) fn run(self) -> Result<()> {
        let servers: [(&str, &[&str]); 2] =
            [("streamed lists", &[]), ("lists in pages, as before Kubernetes 1.32", &["--no-watch-list"])];
        for (what, args) in servers {
            println!("\n{what}:");
            self.compare(args)?;
        }
        Ok(())
    }

    fn compare(&self, server: &[&str]) -> Result<()> {
        let api = ApiServer::start("names", server)?;
        self.generate(&api, self.pods, 0)?;
        api.tell(&json!({ "put": self.services().collect::<Vec<_>>() }))?;
        // Starting has a higher peak than the lists: they come after it.
        api.listen(false)?;
        let without = Agent::start(
            "names",
            "without",
            &Options { args: &["--kubernetes", "off"], ..Options::default() },
        )?;
        let config = api.config();
        let with = Agent::start("names", "with", &Options { config: Some(&config), ..Options::default() })?;
        let before = Difference::of(&with, &without)?;
        println!("  before the lists, with and without: {before}");
        for agent in [&with, &without] {
            reset_peak(agent.pid())?;
        }
        api.listen(true)?;
        self.wait(&with, self.pods)?;
        println!("  {} pods are known: {} (at most 25 more)", self.pods, Difference::of(&with, &without)?);
        for burst in 1..=self.bursts {
            // Pods that are added are new each time, as in a cluster: deleted ones are cached for a while.
            let first = self.pods * burst;
            self.change(&api, first)?;
            // The last change: when it is known, all are.
            let last = first + self.pods - 1;
            self.generate(&api, 1, last)?;
            self.wait(&with, self.pods + 1)?;
            api.delete_pod(&generated(last))?;
            self.wait(&with, self.pods)?;
            println!(
                "  after {} changes: {}",
                self.changes.saturating_mul(burst),
                Difference::of(&with, &without)?
            );
        }
        api.account()?.expect_nothing_wrong()?;
        with.stop(Signal::TERM)?;
        without.stop(Signal::TERM)
    }

    fn generate(&self, api: &ApiServer, pods: u32, first: u32) -> Result<()> {
        api.tell(&json!({"generate": {"pods": pods, "nodes": self.nodes, "first": first}})).map(drop)
    }

    fn services(&self) -> impl Iterator<Item = Value> {
        (0..self.pods / PODS_OF_SERVICE).flat_map(|number| {
            let pods: Vec<Pod> =
                (number * PODS_OF_SERVICE..(number + 1) * PODS_OF_SERVICE).map(generated).collect();
            let (namespace, name) = (&pods[0].namespace, format!("service-{}", number % 10));
            let [_, b, c, d] = number.to_be_bytes();
            let endpoints: Vec<_> = pods.iter().filter_map(|pod| Some((pod, pod.address()?))).collect();
            [
                service(namespace, &name, &[[172, 20 + b, c, d].into()], &[(80, None)]),
                endpoint_slice(namespace, &name, 8080, &endpoints),
            ]
        })
    }

    /// Changes a third of `changes` pods, makes as many from this number on, and takes these away.
    fn change(&self, api: &ApiServer, first: u32) -> Result<()> {
        let each = (self.changes / 3).min(self.pods - 1);
        self.generate(api, each, 0)?;
        self.generate(api, each, first)?;
        (first..first + each).try_for_each(|number| api.delete_pod(&generated(number)))
    }

    /// Waits until the agent knows this many pods, and all services and endpoints.
    fn wait(&self, agent: &Agent, pods: u32) -> Result<()> {
        let services = self.pods / PODS_OF_SERVICE;
        let expected = [("pod", pods), ("service", services), ("endpoint", services * PODS_OF_SERVICE)];
        agent.until_within(3 * timeout(), "all objects are known", |metrics| {
            for (kind, count) in expected {
                let known = metrics.sum("netcause_names_objects", &[("kind", kind)]);
                ensure!(known == float(count.into()), "{known} of kind {kind}, not {count}");
            }
            let dropped = metrics.sum("netcause_names_objects_dropped_total", &[]);
            ensure!(dropped == 0.0, "{dropped} objects dropped");
            Ok(())
        })
    }
}

/// The pod of this number, as the API server generates it.
fn generated(number: u32) -> Pod {
    let (namespace, deployment) = (number / 100, number / PODS_OF_SERVICE % 10);
    let [_, b, c, d] = (0x80_0000 + number).to_be_bytes();
    Pod::of_deployment(
        &format!("team-{namespace}"),
        &format!("service-{deployment}"),
        number % PODS_OF_SERVICE,
    )
    .at([10, b, c, d])
}

/// Two agents' resident memory in MiB.
struct Difference {
    with: f64,
    without: f64,
    peak_with: f64,
    peak_without: f64,
}

impl Difference {
    fn of(with: &Agent, without: &Agent) -> Result<Self> {
        let mut readings = [Vec::new(), Vec::new()];
        for _ in 0..READINGS {
            for (agent, readings) in [with, without].into_iter().zip(&mut readings) {
                // Both are scraped as often: answering takes memory as well.
                agent.scrape()?;
                readings.push(mib(agent, "VmRSS")?);
            }
            thread::sleep(BETWEEN_READINGS);
        }
        let [of_with, of_without] = readings.map(median);
        Ok(Self {
            with: of_with,
            without: of_without,
            peak_with: mib(with, "VmHWM")?,
            peak_without: mib(without, "VmHWM")?,
        })
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { with, without, peak_with, peak_without } = self;
        write!(
            formatter,
            "{with:.1} and {without:.1} MiB resident: {:.1} more; at the peak {peak_with:.1} and {peak_without:.1}",
            with - without
        )
    }
}

fn mib(agent: &Agent, name: &str) -> Result<f64> {
    status(agent.pid(), name).map(|kib| float(kib) / 1024.0).context("the agent's memory")
}
