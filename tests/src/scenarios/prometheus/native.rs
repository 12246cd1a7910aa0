//! A real Prometheus that stores native histograms, beside one that stores classic ones of the same agent.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options},
    eventually,
    metrics::{CONNECT_DURATION, float},
    promql::Prometheus,
    topology::{Net, Pod},
};
use crate::scenarios::quality::{MIN_RTT, RTT};

/// Histograms of a client's edge; the first is observed once for each connection.
const HISTOGRAMS: [&str; 4] = [CONNECT_DURATION, RTT, MIN_RTT, "netcause_tcp_response_duration_seconds"];

/// Connections that open and close, and connections that ask a server which takes 80 ms to answer.
const CONNECTIONS: [u64; 2] = [70, 3];

/// Both have the same observations, sum, quantiles and shares below a bound; a native histogram is one series.
pub(in super::super) fn native_histograms(name: &str) -> Result<()> {
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    let classic = Prometheus::start(name, agent.address())?;
    let native = Prometheus::start_native(&format!("{name}-native"), agent.address())?;
    for prometheus in [&classic, &native] {
        eventually("Prometheus has scraped twice", || {
            let scrapes = one(prometheus, "sum_over_time(up{job=\"netcause\"}[1m])")?;
            ensure!(scrapes >= 2.0, "{scrapes} scrapes");
            Ok(())
        })?;
    }
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo", "--think-ms", "80"])?;
    let [brief, held] = CONNECTIONS.map(|count| count.to_string());
    let connected = client.connect(server.at(8080), &["--count", &brief])?;
    ensure!(connected.count("connected") == CONNECTIONS[0], "{connected:?}");
    let mut held = client.hold(server.at(8080), &["--count", &held])?;
    for _ in 0..3 {
        held.run_command("echo 64")?;
        // The last answer of each connection before a sweep is observed, and each scrape may be one.
        thread::sleep(Duration::from_secs(2));
    }
    held.finish()?;
    let connections = float(CONNECTIONS.iter().sum());
    eventually("both have all observations, which are the same", || {
        let count = one(&native, &format!("histogram_count({})", of(CONNECT_DURATION, "", &client)))?;
        ensure!(count == connections, "{count} of {connections} connections");
        HISTOGRAMS.iter().try_for_each(|histogram| expect_same(&classic, &native, histogram, &client))
    })?;
    let series = |prometheus, matchers: &str| {
        let edge = format!("reporter=\"source\",source_workload=\"{}\"", client.workload());
        one(prometheus, &format!("count({{{edge},{matchers}}}) or vector(0)"))
    };
    let histograms = series(&classic, "__name__=~\".*_count\"")?;
    let buckets = series(&classic, "__name__=~\".*_bucket\"")?;
    ensure!(histograms >= 4.0 && buckets >= 13.0 * histograms, "{histograms} histograms, {buckets} buckets");
    let everything = "__name__=~\"netcause_.*\"";
    let (all, fewer) = (series(&classic, everything)?, series(&native, everything)?);
    // Buckets, sum and count are one series.
    ensure!(
        fewer == all - buckets - histograms,
        "{fewer} series instead of {all} with {histograms} histograms"
    );
    eprintln!("the client's edge: {all} series, {fewer} with native histograms");
    agent.stop(Signal::TERM)
}

/// Fails unless a histogram is the same in both.
fn expect_same(classic: &Prometheus, native: &Prometheus, histogram: &str, client: &Pod) -> Result<()> {
    let whole = of(histogram, "", client);
    let [count, sum] = ["_count", "_sum"].map(|suffix| one(classic, &of(histogram, suffix, client)));
    let (count, sum) = (count?, sum?);
    for (what, value) in [("histogram_count", count), ("histogram_sum", sum)] {
        let answer = one(native, &format!("{what}({whole})"))?;
        ensure!(answer == value, "{what}({whole}) is {answer} instead of {value}");
    }
    let buckets = of(histogram, "_bucket", client);
    // Where all are in the first bin, Prometheus takes it to reach as far below zero (`histogramQuantile`, promql/quantile.go).
    let is_flat = one(classic, &format!("min({buckets})"))? == count;
    for quantile in [0.1, 0.5, 0.8, 0.99].into_iter().filter(|_| !is_flat) {
        let ask = |prometheus, series: &str| {
            one(prometheus, &format!("histogram_quantile({quantile}, rate({series}[10m]))"))
        };
        let (expected, answer) = (ask(classic, &buckets)?, ask(native, &whole)?);
        // Buckets up to 8 ms are one bin each, further ones up to two.
        let most = if expected <= 0.007_812_5 { 1.000_001 } else { 4.0 };
        ensure!(
            (expected / most..=expected * most).contains(&answer),
            "quantile {quantile} of {whole} is {answer} instead of {expected}"
        );
    }
    let below = one(classic, &buckets.replace('}', ",le=\"0.0078125\"}"))?;
    let share = one(native, &format!("histogram_fraction(-1, 0.0078125, {whole})"))?;
    ensure!(
        (share - below / count).abs() < 1e-9,
        "{share} of {whole} are up to 8 ms, not {below} of {count}"
    );
    Ok(())
}

/// Selects the series of the client's edge.
fn of(histogram: &str, suffix: &str, client: &Pod) -> String {
    format!("{histogram}{suffix}{{reporter=\"source\",source_workload=\"{}\"}}", client.workload())
}

/// The only sample that answers a query.
fn one(prometheus: &Prometheus, promql: &str) -> Result<f64> {
    let answer = prometheus.query(promql).with_context(|| promql.to_owned())?;
    let [(_, value)] = answer[..] else { bail!("{promql} is {answer:?}") };
    Ok(value)
}
