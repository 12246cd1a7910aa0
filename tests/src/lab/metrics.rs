//! The agent's `/metrics`: the edges that scenarios look up, and what they expect of them.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    net::IpAddr,
};

use anyhow::{Result, ensure};

pub(crate) use super::sample::Sample;
use super::{kernel_is_before, namespace::Namespace, sample, topology::Pod};

/// The name of all peers outside the known networks.
pub(crate) const EXTERNAL: &str = "external";
/// The name of both ends of the edge that folded traffic is counted on.
pub(crate) const OTHER: &str = "other";

pub(crate) const OPENED: &str = "netcause_tcp_connections_opened_total";
pub(crate) const CLOSED: &str = "netcause_tcp_connections_closed_total";
pub(crate) const FAILURES: &str = "netcause_tcp_connect_failures_total";
pub(crate) const CONNECT_DURATION: &str = "netcause_tcp_connect_duration_seconds";
pub(crate) const SKIPPED_RUNS: &str = "netcause_bpf_recursion_misses_total";
pub(crate) const EVENTS_LOST: &str = "netcause_events_lost_total";
pub(crate) const RETRANSMITTED: &str = "netcause_tcp_retransmitted_segments_total";
pub(crate) const RESETS: &str = "netcause_tcp_resets_total";
pub(crate) const RESETS_SENT: &str = "netcause_tcp_resets_sent_total";
pub(crate) const FULL_SIZE: &str = "netcause_tcp_retransmitted_full_size_segments_total";
pub(crate) const TIMEOUTS: &str = "netcause_tcp_timeouts_total";
pub(crate) const AFTER_IDLE: &str = "netcause_tcp_timeouts_after_idle_total";
pub(crate) const USED: &str = "netcause_tcp_used_connections_total";

/// The samples of one scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) samples: Vec<Sample>,
}

/// One end's view of the traffic between a client and a server's port: labels that a sample must have, each with the values
/// that it may have.
///
/// The other end is at an address. The agent shows that, or the pod that has it where that is proved, which takes traffic and
/// depends on what else runs on the machine; never any other pod. So what is counted of an edge is right under either name, and
/// only scenarios of names ask which one it is.
#[derive(Debug, Clone)]
pub(crate) struct Edge(Vec<(&'static str, Vec<String>)>);

impl Edge {
    /// As seen at the client's end.
    pub(crate) fn at_client(client: &Pod, server: impl Into<IpAddr>, port: u16) -> Self {
        Self::of_client(client, port).with_any("destination_workload", client.names_at(server.into()))
    }

    /// As seen at the end of a client in a cgroup of this name.
    pub(crate) fn at_workload(client: &str, server: &Pod, port: u16) -> Self {
        Self::labelled(&[("reporter", "source"), ("source_workload", client)])
            .with_any("destination_workload", server.names_at(server.v4.into()))
            .with("destination_port", &port.to_string())
    }

    /// As seen at this end (`source` or `destination`), of two that both have their names.
    pub(crate) fn named(reporter: &str, client: &str, server: &str, port: u16) -> Self {
        Self::labelled(&[
            ("reporter", reporter),
            ("source_workload", client),
            ("destination_workload", server),
        ])
        .with("destination_port", &port.to_string())
    }

    /// All edges of a client's end to a port of any server.
    pub(crate) fn of_client(client: &Pod, port: u16) -> Self {
        Self::labelled(&[("reporter", "source"), ("source_workload", client.workload())])
            .with("destination_port", &port.to_string())
    }

    /// As seen at the server's end; the client is an address or a name.
    pub(crate) fn at_server(server: &Pod, client: impl Display, port: u16) -> Self {
        let client = client.to_string();
        let names = client.parse().map_or_else(|_| vec![client], |address| server.names_at(address));
        Self::of_server(server, port).with_any("source_workload", names)
    }

    /// All edges of a server's end of a port.
    pub(crate) fn of_server(server: &Pod, port: u16) -> Self {
        Self::listener(server, port).with("reporter", "destination")
    }

    /// A listening port, and all edges of its server's end together.
    pub(crate) fn listener(server: &Pod, port: u16) -> Self {
        Self::listener_of(server.workload(), port)
    }

    /// As [`Self::listener`], of a cgroup of this name.
    pub(crate) fn listener_of(server: &str, port: u16) -> Self {
        Self::labelled(&[("destination_workload", server)]).with("destination_port", &port.to_string())
    }

    /// All edges of a client, for any server and port.
    pub(crate) fn source(client: &Pod) -> Self {
        Self::labelled(&[("source_workload", client.workload())])
    }

    /// Every sample with these labels.
    pub(crate) fn labelled(labels: &[(&'static str, &str)]) -> Self {
        Self(labels.iter().map(|(label, value)| (*label, vec![(*value).to_owned()])).collect())
    }

    /// The edge, narrowed by one more label.
    pub(crate) fn with(&self, label: &'static str, value: &str) -> Self {
        self.with_any(label, vec![value.to_owned()])
    }

    /// The edge, narrowed by one more label, which has one of these values.
    pub(crate) fn with_any(&self, label: &'static str, values: Vec<String>) -> Self {
        let mut labels = self.0.clone();
        labels.push((label, values));
        Self(labels)
    }

    pub(crate) fn matches(&self, sample: &Sample) -> bool {
        self.0.iter().all(|(label, values)| values.iter().any(|value| sample.labels.has(label, value)))
    }
}

impl Metrics {
    /// Reads an exposition; an error if two of its samples have the same name and labels.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(Self { samples: sample::parse(text)? })
    }

    /// The sum over all samples of this name with these labels; an absent series is zero.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.total(name, |sample| labels.iter().all(|(label, value)| sample.labels.has(label, value)))
    }

    /// An upper bound of the events that the kernel showed to neither of two twin programs: the runs that it skipped, of
    /// which the smaller count of the two matters, and the events that the agent reports as skipped. It is zero on most
    /// kernels; where tracepoints are preemptible (7.x) and the CPU is emulated, it is now and then one.
    fn hidden(&self) -> f64 {
        let skips = |program: &str| self.sum(SKIPPED_RUNS, &[("program", program)]);
        let programs = self.label_values(SKIPPED_RUNS, "program");
        let twins = programs.iter().filter_map(|name| Some((name.strip_suffix("_again")?, name)));
        let by_both: f64 = twins.map(|(first, second)| skips(first).min(skips(second))).sum();
        by_both + self.sum(EVENTS_LOST, &[("where", "skipped")])
    }

    /// Whether `is` equals `all`, less at most `most` for each hidden event.
    fn is_all(&self, is: f64, all: f64, most: f64) -> bool {
        is <= all && (is == all || is + self.hidden() * most >= all)
    }

    /// The sum over an edge.
    pub(crate) fn on(&self, name: &str, edge: &Edge) -> f64 {
        self.total(name, |sample| edge.matches(sample))
    }

    /// Fails unless the sum over an edge is exactly this, apart from hidden events ([`Self::hidden`]).
    pub(crate) fn expect(&self, name: &str, edge: &Edge, value: u64) -> Result<()> {
        self.expect_amount(name, edge, value, 1)
    }

    /// As [`Self::expect`], for an amount of which each hidden event may be missing up to `most`.
    pub(crate) fn expect_amount(&self, name: &str, edge: &Edge, value: u64, most: u64) -> Result<()> {
        let is = self.on(name, edge);
        ensure!(
            self.is_all(is, float(value), float(most)),
            "{name} is {is}, not {value}, on {edge:?}; there is:\n{}",
            self.like(name, edge)
        );
        Ok(())
    }

    /// Fails unless the sum over an edge is between these two.
    pub(crate) fn expect_between(&self, name: &str, edge: &Edge, least: f64, most: f64) -> Result<()> {
        let is = self.on(name, edge);
        ensure!(
            (least..=most).contains(&is),
            "{name} is {is}, not between {least} and {most}, on {edge:?}; there is:\n{}",
            self.like(name, edge)
        );
        Ok(())
    }

    /// Fails unless the sum over an edge is at least this.
    pub(crate) fn expect_at_least(&self, name: &str, edge: &Edge, value: u64) -> Result<()> {
        let is = self.on(name, edge);
        ensure!(
            is >= float(value),
            "{name} is {is}, below {value}, on {edge:?}; there is:\n{}",
            self.like(name, edge)
        );
        Ok(())
    }

    /// The number of edges at a pod's end.
    pub(crate) fn edges_at(&self, pod: &Pod) -> Result<usize> {
        let netns = netns_workload(pod)?;
        let labels = ["reporter", "source_workload", "destination_workload", "destination_port"];
        let edge = |sample: &Sample| labels.map(|label| sample.labels.get(label).map(str::to_owned));
        let ours = |sample: &&Sample| [pod.workload(), &netns].contains(&local_workload(sample));
        Ok(self.samples.iter().filter(ours).map(edge).collect::<HashSet<_>>().len())
    }

    /// All retransmitted segments of a pod's namespace, on any edge.
    pub(crate) fn retransmitted_by(&self, pod: &Pod) -> Result<f64> {
        let netns = netns_workload(pod)?;
        let local = |name: &str| name == pod.workload() || name == netns;
        Ok(self.total(RETRANSMITTED, |sample| local(local_workload(sample))))
    }

    /// Fails unless the agent has counted exactly what the kernel has: `RetransSegs` of the pod's namespace. Only right
    /// once the namespace is quiet.
    pub(crate) fn expect_kernel_retransmits(&self, pod: &Pod) -> Result<()> {
        let (agent, kernel) = (self.retransmitted_by(pod)?, pod.retransmitted()?);
        ensure!(
            self.is_all(agent, float(kernel), 1.0),
            "the agent says {agent} retransmitted segments in {}, the kernel {kernel}; there is:\n{}",
            pod.workload(),
            self.list(|sample| sample.name == RETRANSMITTED && local_workload(sample) == pod.workload()),
        );
        Ok(())
    }

    /// Fails unless the agent has counted the resets that the kernel says the pod sent (`OutRsts`). Kernels before 6.8
    /// do not report those without a socket.
    pub(crate) fn expect_kernel_resets(&self, pod: &Pod) -> Result<()> {
        let netns = netns_workload(pod)?;
        let local = |sample: &Sample| [pod.workload(), &netns].contains(&local_workload(sample));
        let sent = |sample: &Sample| sample.labels.has("direction", "sent");
        let agent = self.total(RESETS, |sample| local(sample) && sent(sample));
        let kernel = float(pod.counter("Tcp", "OutRsts")?);
        ensure!(
            self.is_all(agent, kernel, 1.0) || (agent < kernel && kernel_is_before(6, 8)),
            "the agent says {agent} resets sent by {}, the kernel {kernel}; there is:\n{}",
            pod.workload(),
            self.list(|sample| sample.name == RESETS && local(sample)),
        );
        Ok(())
    }

    /// Fails if any probe has lost events.
    pub(crate) fn expect_nothing_lost(&self) -> Result<()> {
        // The agent cannot see events that the kernel skipped for every program; it only has to report them.
        let skipped = |sample: &Sample| sample.labels.has("where", "skipped");
        let lost = self.list(|sample| sample.name == EVENTS_LOST && sample.value != 0.0 && !skipped(sample));
        ensure!(lost.is_empty(), "events were lost:\n{lost}");
        Ok(())
    }

    /// Fails unless every one of `count` connections of a client has its latency, apart from those
    /// that the agent reports as skipped.
    pub(crate) fn expect_durations(&self, edge: &Edge, count: u64) -> Result<()> {
        let name = format!("{CONNECT_DURATION}_count");
        let (is, missed) = (self.on(&name, edge), self.sum(EVENTS_LOST, &[("where", "skipped")]));
        ensure!(
            is <= float(count) && is + missed >= float(count),
            "{name} is {is}, not {count}, on {edge:?}, and {missed} were missed; there is:\n{}",
            self.like(&name, edge)
        );
        let in_all = self.on(&format!("{CONNECT_DURATION}_bucket"), &edge.with("le", "+Inf"));
        ensure!(in_all == is, "{in_all} in all buckets of {name}, not {is}");
        Ok(())
    }

    pub(crate) fn total(&self, name: &str, filter: impl Fn(&Sample) -> bool) -> f64 {
        self.samples
            .iter()
            .filter(|sample| sample.name == name && filter(sample))
            .fold(0.0, |sum, sample| sum + sample.value)
    }

    /// Samples as lines of a message.
    pub(crate) fn list(&self, filter: impl Fn(&Sample) -> bool) -> String {
        self.samples
            .iter()
            .filter(|sample| filter(sample))
            .map(|sample| format!("    {} {:?} {}\n", sample.name, sample.labels, sample.value))
            .collect()
    }

    /// Every value of a label that the samples of this name have.
    pub(crate) fn label_values(&self, name: &str, label: &str) -> Vec<String> {
        let samples = self.samples.iter().filter(|sample| sample.name == name);
        let mut values: Vec<_> =
            samples.filter_map(|sample| sample.labels.get(label)).map(str::to_owned).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The agent's samples of this name for the edge's local pod, for error messages.
    fn like(&self, name: &str, edge: &Edge) -> String {
        let names: Vec<&str> = edge
            .0
            .iter()
            .filter(|(label, _)| label.ends_with("_workload"))
            .flat_map(|(_, values)| values.iter().map(String::as_str))
            .collect();
        let ours = |value: &str| names.contains(&value) && value.starts_with("netcause-lab-");
        self.list(|sample| sample.name == name && sample.labels.values().any(ours))
    }
}

/// Checks over successive scrapes that no counter decreases. A series that is absent from a scrape may start again from
/// zero: the counts of an edge that was folded stay in `other`.
#[derive(Default)]
pub(crate) struct Watch {
    last: HashMap<String, f64>,
}

impl Watch {
    /// Checks the next scrape against the last one.
    pub(crate) fn see(&mut self, metrics: &Metrics) -> Result<()> {
        let mut now = HashMap::new();
        for sample in &metrics.samples {
            if ["_total", "_count", "_bucket", "_sum"].iter().any(|suffix| sample.name.ends_with(suffix)) {
                let series = format!("{}{:?}", sample.name, sample.labels);
                if let Some(last) = self.last.get(&series) {
                    ensure!(sample.value >= *last, "it was {last} before: {sample:?}");
                }
                now.insert(series, sample.value);
            }
        }
        self.last = now;
        Ok(())
    }
}

/// A count as the exposition has it.
pub(crate) fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the lab's counts stay far below 2^53")]
    let float = count as f64;
    float
}

/// The workload at the end where the sample was counted.
fn local_workload(sample: &Sample) -> &str {
    let label = match sample.labels.get("reporter") {
        Some("source") => "source_workload",
        Some("destination") => "destination_workload",
        _ => return "",
    };
    sample.labels.get(label).unwrap_or_default()
}

/// The agent's name of a namespace, for packets without a socket and so without a cgroup.
pub(crate) fn netns_workload(namespace: &Namespace) -> Result<String> {
    Ok(format!("netns:{}", namespace.inode()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_goes_backwards_is_seen() {
        let mut watch = Watch::default();
        for text in ["a_total{x=\"1\"} 2\ng 9\n", "g 1\n", "a_total{x=\"1\"} 1\na_total{x=\"2\"} 0\n"] {
            watch.see(&Metrics::parse(text).unwrap()).unwrap();
        }
        assert!(watch.see(&Metrics::parse("a_total{x=\"1\"} 0\n").unwrap()).is_err());
    }

    #[test]
    fn only_what_was_hidden_may_be_missing() {
        let skipped = "netcause_bpf_recursion_misses_total{program=\"p\"} 3\nnetcause_bpf_recursion_misses_total{program=\"p_again\"} 2\n";
        let (sound, hidden) = (Metrics::parse("").unwrap(), Metrics::parse(skipped).unwrap());
        assert!(sound.is_all(10.0, 10.0, 5.0) && !sound.is_all(9.0, 10.0, 5.0));
        assert!(hidden.is_all(90.0, 100.0, 5.0) && !hidden.is_all(89.0, 100.0, 5.0));
        assert!(!hidden.is_all(101.0, 100.0, 5.0));
    }

    #[test]
    fn samples_with_and_without_labels_are_read() {
        let text = "# HELP a b\na 1\nb{x=\"1\",y=\"q\\\"\\\\\\n}\"} 2.5\nc_bucket{le=\"+Inf\"} +Inf\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.samples.len(), 3);
        assert_eq!(metrics.sum("a", &[]), 1.0);
        assert_eq!(metrics.sum("b", &[("x", "1")]), 2.5);
        assert_eq!(metrics.sum("b", &[("x", "2")]), 0.0);
        assert_eq!(metrics.samples[1].labels.get("y"), Some("q\"\\\n}"));
        assert!(Metrics::parse("b{x=\"1} 2").is_err());
        assert!(Metrics::parse("b").is_err());
    }
}
