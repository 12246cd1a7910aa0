//! A second agent, with room for every edge, that measures the rest of the machine's traffic: scenarios about full
//! tables and budgets look at sums in which that traffic is folded with their own.

use anyhow::{Context as _, Result, ensure};

use super::{
    agent::{Agent, Options, SHARED_ENV},
    metrics::{Metrics, OTHER, Sample, float},
    topology::Pod,
};

/// The second agent, and the workloads of the scenario.
pub(crate) struct Witness {
    agent: Agent,
    workloads: Vec<String>,
}

/// A counter, the `reporter` of its edges, and its sum over the scenario's traffic.
pub(crate) type Sum = (&'static str, &'static str, u64);

impl Witness {
    /// Starts it for a scenario with these pods. It must start before the agent under test, so that it sees no less.
    pub(crate) fn start(scenario: &str, pods: &[&Pod]) -> Result<Self> {
        let options = Options { env: &SHARED_ENV, ..Options::default() };
        let agent = Agent::start(scenario, "witness", &options)?;
        Ok(Self { agent, workloads: pods.iter().map(|pod| pod.workload().to_owned()).collect() })
    }

    /// How many series the edges of everything else on the machine need without their histograms.
    pub(crate) fn series_of_others(&self) -> Result<u64> {
        let is_plain = |name: &str| !["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
        let is_edge = |sample: &Sample| sample.labels.get("reporter").is_some() && !self.is_ours(sample);
        let metrics = self.agent.scrape()?;
        Ok(metrics.samples.iter().map(|sample| u64::from(is_plain(&sample.name) && is_edge(sample))).sum())
    }

    /// Whether a sample is about the scenario's pods and nothing else.
    pub(crate) fn is_ours(&self, sample: &Sample) -> bool {
        self.workloads.iter().any(|workload| has_workload(sample, workload))
    }

    /// Fails unless the agent under test has these sums over the scenario's edges and `other`. They may be larger by what
    /// the rest of the machine did since the witness started, since that is folded into `other` too.
    pub(crate) fn expect_conserved(&self, metrics: &Metrics, sums: &[Sum]) -> Result<()> {
        let check = || {
            let witness = self.agent.scrape()?;
            sums.iter().try_for_each(|sum| self.expect_sum(metrics, &witness, *sum))
        };
        // Bytes of connections that are still open are as old as the last sweep.
        check().or_else(|_| {
            self.agent.sweep_again()?;
            check()
        })
    }

    fn expect_sum(&self, metrics: &Metrics, witness: &Metrics, (name, reporter, value): Sum) -> Result<()> {
        let at = |sample: &Sample| sample.labels.get("reporter").is_some_and(|is| is == reporter);
        let seen = witness.total(name, |sample| at(sample) && self.is_ours(sample));
        ensure!(
            seen == float(value),
            "{name} of reporter {reporter}: the witness counted {seen}, not {value}"
        );
        let noise = witness.total(name, |sample| at(sample) && !self.is_ours(sample));
        let ours = |sample: &Sample| at(sample) && (self.is_ours(sample) || has_workload(sample, OTHER));
        let sum = metrics.total(name, ours);
        ensure!(
            (float(value)..=float(value) + noise).contains(&sum),
            "{name} of reporter {reporter} is {sum} in all, not {value} (and up to {noise} of other traffic):\n{}",
            metrics.list(|sample| sample.name == name && ours(sample))
        );
        Ok(())
    }

    /// Fails unless the agent under test has folded some of what this counter has of the scenario's pods.
    pub(crate) fn expect_folded(&self, metrics: &Metrics, (name, reporter, value): Sum) -> Result<()> {
        let at = |sample: &Sample| sample.labels.get("reporter").is_some_and(|is| is == reporter);
        let named = metrics.total(name, |sample| at(sample) && self.is_ours(sample));
        ensure!(named < float(value), "nothing of {name} was folded: {named} of {value} is shown by name");
        Ok(())
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        self.agent.stop(rustix::process::Signal::TERM).context("the witness")
    }
}

/// Whether one end of the sample's edge is this workload.
fn has_workload(sample: &Sample, workload: &str) -> bool {
    ["source_workload", "destination_workload"].iter().any(|label| sample.labels.has(label, workload))
}
