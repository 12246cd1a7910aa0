//! DNS as fast as the machine can, and whether the agent counts every query and every answer.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;

use super::{
    super::{
        memory,
        sites::{Placement, Site},
    },
    dnsperf::Dnsperf,
    server::DnsServer,
};
use crate::lab::{
    agent::{Agent, Options},
    metrics::{EVENTS_LOST, Edge, Metrics, float},
    topology::{Net, Pod},
};

/// Longer than the agent's timeout of a query.
const SETTLED: Duration = Duration::from_secs(20);

/// `netcause-lab bench dns-count`
#[derive(Args)]
pub(crate) struct Counting {
    /// How long to run, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Sockets of each dnsperf
    #[arg(long, default_value_t = 1)]
    sockets: u32,
    /// Where clients and servers run
    #[arg(long, value_enum, default_value = "together")]
    placement: Placement,
}

impl Counting {
    pub(crate) fn run(self) -> Result<()> {
        let agent = Agent::start("dns-count", "agent", &Options::default())?;
        let (_net, client, server) = Net::pair("dns-count")?;
        let mut servers = Vec::new();
        let sites = Site::addresses(&server, super::PORT, self.placement)?;
        for site in &sites {
            let process = DnsServer::start(&server, site.listen)?;
            site.seat_server(process.pid())?;
            servers.push(process);
        }
        let before = Truth::of(&client, &server)?;
        let (began, used) = (Instant::now(), memory::processor_time(agent.pid())?);
        let time = Duration::from_secs(self.seconds);
        let mut running = Vec::new();
        for site in &sites {
            let dnsperf = Dnsperf::start(&client, site.to, time, self.sockets, None)?;
            site.seat_client(dnsperf.pid())?;
            running.push(dnsperf);
        }
        let (mut sent, mut completed, mut lost, mut rate) = (0, 0, 0, 0.0);
        for dnsperf in running {
            let counts = dnsperf.finish()?;
            sent += counts.sent;
            completed += counts.completed;
            lost += counts.lost;
            rate += counts.per_second;
        }
        let elapsed = began.elapsed();
        let used = memory::processor_time(agent.pid())?.saturating_sub(used);
        println!("dnsperf: {sent} sent, {completed} completed, {lost} lost; {rate:.0} /s (at least 50000)");
        let truth = Truth::of(&client, &server)?.since(&before);
        ensure!(truth.queries_sent == sent, "dnsperf sent {sent} queries, the kernel {}", truth.queries_sent);

        let began = Instant::now();
        let counted = loop {
            let counted = Counted::of(agent.scrape()?, &client, &server);
            let complete =
                counted.missing(&truth) == [0.0; 4] && counted.details() >= counted.client("responses");
            if complete || began.elapsed() > SETTLED {
                break counted;
            }
            thread::sleep(Duration::from_millis(500));
        };
        let missing = counted.missing(&truth);
        println!(
            "missing at the client: {} queries, {} answers; at the server: {} queries, {} answers (none may be)",
            missing[0], missing[1], missing[2], missing[3]
        );
        counted.describe(rate);
        println!(
            "the agent: {:.1} % of a processor, not including its eBPF programs",
            used.as_secs_f64() / elapsed.as_secs_f64() * 100.0
        );
        memory::print(agent.pid())?;
        ensure!(
            missing == [0.0; 4],
            "DNS is missing from the counts; there is:\n{}",
            counted
                .metrics
                .list(|sample| sample.name.starts_with("netcause_dns_") && !sample.name.contains("_bucket"))
        );
        Ok(())
    }
}

/// The kernel's counts of the pods, whose only datagrams are DNS. One dropped at a full receive buffer was received.
struct Truth {
    queries_sent: u64,
    queries_received: u64,
    answers_sent: u64,
    answers_received: u64,
}

impl Truth {
    fn of(client: &Pod, server: &Pod) -> Result<Self> {
        let received = |pod: &Pod| {
            Ok::<_, anyhow::Error>(pod.counter("Udp", "InDatagrams")? + pod.counter("Udp", "InErrors")?)
        };
        Ok(Self {
            queries_sent: client.counter("Udp", "OutDatagrams")?,
            queries_received: received(server)?,
            answers_sent: server.counter("Udp", "OutDatagrams")?,
            answers_received: received(client)?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            queries_sent: self.queries_sent - before.queries_sent,
            queries_received: self.queries_received - before.queries_received,
            answers_sent: self.answers_sent - before.answers_sent,
            answers_received: self.answers_received - before.answers_received,
        }
    }
}

/// The agent's counts of the same pods.
struct Counted {
    metrics: Metrics,
    at_client: Edge,
    at_server: Edge,
}

impl Counted {
    fn of(metrics: Metrics, client: &Pod, server: &Pod) -> Self {
        let (at_client, at_server) =
            (Edge::of_client(client, super::PORT), Edge::listener(server, super::PORT));
        Self { metrics, at_client, at_server }
    }

    fn client(&self, name: &str) -> f64 {
        self.metrics.on(&format!("netcause_dns_{name}_total"), &self.at_client)
    }

    fn server(&self, name: &str) -> f64 {
        self.metrics.on(&format!("netcause_dns_server_{name}_total"), &self.at_server)
    }

    /// Queries sent, answers received; queries received, answers sent.
    fn missing(&self, truth: &Truth) -> [f64; 4] {
        [
            float(truth.queries_sent) - self.client("queries"),
            float(truth.answers_received) - self.client("responses") - self.client("unmatched_responses"),
            float(truth.queries_received) - self.server("queries"),
            float(truth.answers_sent) - self.server("responses"),
        ]
    }

    /// Details received, left out and lost, of the whole machine.
    fn outcomes(&self) -> [f64; 3] {
        let details = |outcome: &str| self.metrics.sum("netcause_dns_events_total", &[("outcome", outcome)]);
        [details("received"), details("rate_limited"), self.metrics.sum(EVENTS_LOST, &[("probe", "dns")])]
    }

    fn details(&self) -> f64 {
        self.outcomes().iter().sum()
    }

    /// Prints the rest of what the client's end has, and what became of the details.
    fn describe(&self, per_second: f64) {
        for (name, what) in [
            ("timeouts", "not answered in time"),
            ("late_responses", "of them answered later"),
            ("unmatched_responses", "answers to no query"),
            ("untracked_queries", "queries without a place to wait"),
            ("retries", "repeated queries"),
        ] {
            println!("  {:>10} {what}", self.client(name));
        }
        let [received, left_out, lost] = self.outcomes();
        println!(
            "details: {received} received, {left_out} left out, {lost} lost, of {} answers at {per_second:.0} /s",
            self.client("responses")
        );
    }
}
