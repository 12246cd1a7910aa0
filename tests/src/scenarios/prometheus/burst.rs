//! The first burst on a quiet edge, and a restart of the agent: what a real Prometheus makes of them.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    cgroup::Cgroup,
    crossed::SENT,
    eventually, eventually_within,
    metrics::{Edge, FAILURES},
    promql::Prometheus,
    scaled,
    topology::Net,
};

const DURATION: &str = "netcause_tcp_connect_duration_seconds";

/// Connects that are refused, and ones that succeed.
const REFUSED: u32 = 100;
const CONNECTED: u32 = 30;

/// 100 refused connects within a second, on an edge that was never seen: `increase()` over a window that holds them is 100 for
/// two Prometheus that scrape out of phase, one of them in protobuf with native histograms, and the same holds for a histogram, all
/// of its buckets and its sum. Neither stores the starts of series as series.
pub(in super::super) fn first_burst(name: &str) -> Result<()> {
    let interval = scaled(3, 6);
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    let [one, other] = out_of_phase(name, &agent, interval)?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    let refused = client.connect(server.at(8085), &["--count", &REFUSED.to_string()])?;
    ensure!(refused.failed("ECONNREFUSED") == u64::from(REFUSED), "{refused:?}");
    let connected = client.connect(server.at(8080), &["--count", &CONNECTED.to_string()])?;
    ensure!(connected.count("connected") == u64::from(CONNECTED), "{connected:?}");

    let of = |metric: &str, more: &str| {
        format!("{metric}{{reporter=\"source\",source_workload=\"{}\"{more}}}", client.workload())
    };
    let classic = [
        ("", of(FAILURES, ",reason=\"refused\""), REFUSED),
        ("", of(&format!("{DURATION}_count"), ""), CONNECTED),
        ("", of(&format!("{DURATION}_bucket"), ",le=\"+Inf\""), CONNECTED),
    ];
    let [failures, ..] = classic.clone();
    let native = [failures, ("histogram_count", of(DURATION, ""), CONNECTED)];
    let buckets = of(&format!("{DURATION}_bucket"), "");
    for (prometheus, expected, sum, quantile) in [
        (&one, &classic[..], format!("increase({}[10m])", of(&format!("{DURATION}_sum"), "")), buckets),
        (
            &other,
            &native[..],
            format!("histogram_sum(increase({}[10m]))", of(DURATION, "")),
            of(DURATION, ""),
        ),
    ] {
        for (part, series, count) in expected {
            let limit = Duration::from_secs(scaled(60, 300));
            eventually_within(limit, "increase() has the whole burst", || {
                expect_increase(prometheus, part, series, f64::from(*count))
            })?;
        }
        let starts = prometheus.query("count({__name__=~\"netcause_.*_created\"})")?;
        ensure!(starts.is_empty(), "Prometheus stores {starts:?} starts");
        let sum = prometheus.query(&sum)?;
        ensure!(matches!(sum[..], [(_, sum)] if sum > 0.0), "the sum of durations grew by {sum:?}");
        let quantile = prometheus.query(&format!("histogram_quantile(0.9, rate({quantile}[10m]))"))?;
        ensure!(matches!(quantile[..], [(_, value)] if value > 0.0), "{quantile:?}");
    }
    // People get the value at once, and so do the agent's own answers.
    let edge = Edge::at_client(&client, server.v4, 8085);
    agent.scrape()?.expect(FAILURES, &edge, REFUSED.into())?;
    agent.stop(Signal::TERM)
}

/// Fails unless a series, or a part of a native histogram, grew by this. Prometheus extrapolates to the end of the window by up to one interval, which is
/// less, the more samples it has.
fn expect_increase(prometheus: &Prometheus, part: &str, series: &str, expected: f64) -> Result<()> {
    let grown = prometheus.query(&format!("{part}(increase({series}[10m]))"))?;
    let samples = prometheus.query(&format!("count_over_time({series}[10m])"))?;
    let ([(_, grown)], [(_, samples)]) = (&grown[..], &samples[..]) else {
        anyhow::bail!("{series} grew by {grown:?} in {samples:?} samples");
    };
    let most = expected * (1.0 + 1.1 / (samples - 1.0)) + 0.01;
    ensure!(
        *samples >= 4.0 && (expected..=most).contains(grown),
        "{series} grew by {grown} in {samples} samples, not by {expected}"
    );
    Ok(())
}

/// With these, Prometheus asks for protobuf; the second is for versions that read starts.
const PROTOBUF: &str = "native-histograms,created-timestamp-zero-ingestion";

/// Two Prometheus servers that scrape this agent at different times, the second in protobuf. Where in its interval a server
/// scrapes depends on its external labels.
fn out_of_phase(name: &str, agent: &Agent, interval: u64) -> Result<[Prometheus; 2]> {
    let start = |replica: &str, features: &str| {
        let scenario = format!("{name}-{replica}");
        let prometheus = Prometheus::start_every(&scenario, agent.address(), interval, replica, features)?;
        let phase = eventually("Prometheus has scraped", || {
            let up = prometheus.query("timestamp(up{job=\"netcause\"} == 1)")?;
            let [(_, at)] = up[..] else { anyhow::bail!("{up:?}") };
            Ok(at % interval as f64)
        })?;
        anyhow::Ok((prometheus, phase))
    };
    let (one, phase) = start("one", "")?;
    for replica in ["two", "three", "four", "five", "six", "seven", "eight"] {
        let (other, its_phase) = start(replica, PROTOBUF)?;
        let apart = (phase - its_phase).rem_euclid(interval as f64);
        if (0.5..=interval as f64 - 0.5).contains(&apart) {
            return Ok([one, other]);
        }
    }
    anyhow::bail!("eight Prometheus servers scrape at the same time")
}

/// Bytes that cross the connection before the agent starts for the first time.
const EARLY: u64 = 40_000_000;
/// Bytes and pace of what crosses it all the time.
const CHUNK: u64 = 20_000;
const PACE: Duration = Duration::from_millis(100);
/// Seconds that a rate is taken over.
const WINDOW: u64 = 10;
/// A scrape shows what was sent up to this many seconds from its time: a view may be a second old, and the sweep that it shows
/// another, or the scrape takes a moment.
const AGE: f64 = 3.0;

/// The agent restarts while a connection that has carried much carries on. Between any two of its scrapes, also of different
/// agents, Prometheus sees no more growth than was sent between them and in the [`AGE`] around; `rate()` adds its extrapolation
/// alone. It sees the traffic again after the restart.
pub(in super::super) fn restart(name: &str) -> Result<()> {
    let early = scaled(EARLY, EARLY / 4);
    let (_net, client, server) = Net::pair(name)?;
    // One series all the time: a server at a translated port is not found at its client's end.
    let redirect = "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 8080 redirect to :8081; }; }";
    server.run("nft", &["-f", "-"], redirect)?;
    let _echo = server.serve(server.at(8081), &["--mode", "echo"])?;
    let mut held = client.hold(server.at(8080), &["--count", "1"])?;
    held.run_command(&format!("echo {early}"))?;
    let first = Agent::start(name, "first", &Options { without_dns: true, ..Options::default() })?;
    let address = first.address();
    let prometheus = Prometheus::start(name, address)?;
    // So that it has seen the zero: what came before it would be growth within one interval.
    eventually("Prometheus has scraped twice", || {
        let scrapes = prometheus.query("sum_over_time(up{job=\"netcause\"}[1m])")?;
        ensure!(matches!(scrapes[..], [(_, count)] if count >= 2.0), "{scrapes:?}");
        Ok(())
    })?;
    let begin = Instant::now();
    let mut sent = Vec::new();
    let mut load = |seconds: u64| -> Result<()> {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let (next, from) = (Instant::now() + PACE, unix_time()?);
            held.run_command(&format!("echo {CHUNK}"))?;
            sent.push((from, unix_time()?));
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    };
    load(2 * WINDOW)?;
    first.stop(Signal::TERM)?;
    drop(first);
    let cgroup = Cgroup::new(name, "second")?;
    let mut command = agent::command(Some(&cgroup), false)?;
    command.args(["agent", "--listen", &address.to_string()]);
    let second = Agent::begin(cgroup, None, &mut command)?;
    load(3 * WINDOW)?;

    let series = format!(
        "{SENT}{{reporter=\"source\",source_workload=\"{}\",destination_port=\"8080\"}}",
        client.workload()
    );
    let ask = |promql: String| -> Result<f64> {
        let answer = prometheus.query(&promql).context("asking for a rate")?;
        let [(_, value)] = answer[..] else { anyhow::bail!("{promql} is {answer:?}") };
        Ok(value)
    };
    let since = begin.elapsed().as_secs();
    let last = ask(format!("rate({series}[{WINDOW}s])"))?;
    let most = CHUNK as f64 / PACE.as_secs_f64();
    expect_no_more_growth(&prometheus.samples(&format!("{series}[{since}s]"))?, &sent)?;
    ensure!(last > most / scaled(3.0, 30.0), "after the restart the rate is {last} bytes a second of {most}");
    ensure!(ask(format!("resets({series}[{since}s])"))? == 1.0, "the counter did not begin anew");
    held.finish()?;
    second.stop(Signal::TERM)
}

/// Fails if a counter has grown by more between two samples than was sent. `sent`: from and until when each chunk was.
fn expect_no_more_growth(samples: &[(f64, f64)], sent: &[(f64, f64)]) -> Result<()> {
    let age = scaled(AGE, 10.0 * AGE);
    for (first, (begin, _)) in samples.iter().enumerate() {
        let mut growth = 0.0;
        for pair in samples[first..].windows(2) {
            let ((_, before), (end, value)) = (pair[0], pair[1]);
            // As Prometheus takes it: a counter that is smaller has begun at zero.
            growth += if value < before { value } else { value - before };
            let chunks =
                sent.iter().filter(|(from, until)| *from <= end + age && *until >= begin - age).count();
            let most = CHUNK as f64 * chunks as f64;
            ensure!(
                growth <= most,
                "from {begin} to {end} Prometheus saw {growth} bytes, and {most} were sent: {samples:?}"
            );
        }
    }
    Ok(())
}

fn unix_time() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}
