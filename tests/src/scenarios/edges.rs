//! What edges have counted lately: `/api/v1/edges` and `netcause edges`; how the agent is: `netcause status`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::{
    agent::{self, Agent},
    crossed::Crossed,
    eventually,
    process::Process,
    topology::Net,
};

/// `/api/v1/edges` has what was sent, opened and refused at both ends, and `netcause edges` shows the same.
pub(super) fn lately(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    // Flows that are there already: those of the first reading are in no window.
    agent.scrape()?;
    let args = ["--count", "7", "--send", "20011", "--receive", "20011"];
    let outcome = client.connect(server.at(8080), &args)?;
    ensure!(outcome.count("broken") == 0, "{outcome:?}");
    let sent = Crossed::of(&outcome);
    client.connect(server.at(81), &["--count", "3"])?;
    client.wait_quiet()?;
    server.wait_quiet()?;

    let path = format!("/api/v1/edges?window=10m&sort=bytes&workload={}", client.workload());
    eventually("windows have what was sent", || {
        let answer = json(agent, &path)?;
        let covered = answer["covered_seconds"].as_f64().context("no time is covered")?;
        let row = |port: &str| row(&answer, "source", port);
        let tcp = &row("8080")?["tcp"];
        for (key, count) in
            [("connections_opened", sent.connections), ("sent_bytes", sent.up), ("received_bytes", sent.down)]
        {
            ensure!(tcp[key] == count, "{key}: {}, not {count}", tcp[key]);
            if key != "connections_opened" {
                let rate = tcp[format!("{key}_per_second")].as_f64().context("no rate")?;
                ensure!((rate * covered - count as f64).abs() < 1.0, "{rate} {key}/s in {covered} s");
            }
        }
        ensure!(tcp["rtt_mean_seconds"].as_f64().is_some_and(|rtt| rtt > 0.0), "{tcp}");
        let refused = &row("81")?["tcp"]["connect_failures"]["refused"];
        ensure!(*refused == 3, "3 connects were refused, not {refused}");
        ensure!(answer["edges"][0]["labels"]["destination_port"] == "8080", "the most bytes come first");
        Ok(())
    })?;
    let of_server = format!("/api/v1/edges?window=10m&workload={}", server.workload());
    eventually("the server's end agrees", || {
        let answer = json(agent, &of_server)?;
        let tcp = &row(&answer, "destination", "8080")?["tcp"];
        ensure!(tcp["received_bytes"] == sent.up && tcp["sent_bytes"] == sent.down, "{tcp}");
        Ok(())
    })?;

    let url = format!("http://{}", agent.address());
    let show = |more: &[&str]| -> Result<String> {
        let mut command = agent::command(None, false)?;
        command.args(["edges", "--url", &url, "--window", "10m", "--workload", client.workload()]).args(more);
        Process::run("netcause edges", &mut command, "")?.success()
    };
    let shown: Value = serde_json::from_str(&show(&["-o", "json"])?)?;
    let answered = json(agent, &path)?;
    ensure!(counts(&shown["edges"]) == counts(&answered["edges"]), "{shown}\nis not\n{answered}");
    let text = show(&["--sort", "failures"])?;
    let lines: Vec<&str> = text.lines().collect();
    // The server's end is a row of its own, where it is proved that its client is this one.
    ensure!((4..=5).contains(&lines.len()) && !text.contains('\x1b'), "{text}");
    ensure!(lines[2].contains(":81 ") && lines[3].contains(":8080 "), "failures come first:\n{text}");

    let refused = agent.get("/api/v1/edges?sort=name", "*/*")?;
    ensure!(refused.status == 400, "{}", refused.status);
    ensure!(refused.body.contains("sort=name: one of bytes, retransmits"), "{}", refused.body);
    status(agent, &url)
}

/// `netcause status` says what `/metrics` says, and ends with the code that it documents.
fn status(agent: &Agent, url: &str) -> Result<()> {
    let run = |format: &str| {
        let mut command = agent::command(None, false)?;
        command.args(["status", "--url", url, "-o", format]);
        Process::run("netcause status", &mut command, "")
    };
    let finished = run("json")?;
    let status: Value = serde_json::from_str(&finished.stdout).with_context(|| finished.stderr.clone())?;
    let impaired = status["impaired"].as_array().context("no list of what is impaired")?;
    let code = if impaired.is_empty() { 0 } else { 2 };
    ensure!(finished.status.code() == Some(code), "{}, impaired: {impaired:?}", finished.status);

    let metrics = agent.scrape()?;
    let each = |list: &str| status[list].as_array().with_context(|| format!("no {list}: {status}"));
    let probes = each("probes")?;
    for probe in probes {
        let name = probe["probe"].as_str().context("a probe without a name")?;
        let up = metrics.sum("netcause_probe_up", &[("probe", name)]);
        ensure!(probe["up"] == (up == 1.0), "{probe}, and netcause_probe_up is {up}");
    }
    ensure!(probes.len() as f64 >= metrics.sum("netcause_probe_up", &[]), "{probes:?}");
    for table in each("tables")? {
        let name = table["table"].as_str().context("a table without a name")?;
        let limit = metrics.sum("netcause_map_limit", &[("map", name)]);
        ensure!(table["limit"].as_f64() == Some(limit) && limit > 0.0, "{table}, and the limit is {limit}");
    }
    for lost in each("lost")? {
        let metric = lost["metric"].as_str().context("a loss without a metric")?;
        let counted = metrics.sum(metric, &[]);
        ensure!(lost["count"].as_f64().is_some_and(|count| count <= counted), "{lost} of {counted}");
    }
    let text = run("text")?.stdout;
    ensure!(!text.contains('\x1b') && text.starts_with("netcause "), "{text}");
    for title in ["probes ", "readers ", "names ", "lost ", "tables ", "sweep ", "findings "] {
        ensure!(text.lines().any(|line| line.starts_with(title)), "no {title}in\n{text}");
    }
    Ok(())
}

/// The JSON at a path.
pub(super) fn json(agent: &Agent, path: &str) -> Result<Value> {
    let response = agent.get(path, "application/json")?;
    ensure!(response.status == 200, "{path}: {} {}", response.status, response.body);
    serde_json::from_str(&response.body).with_context(|| response.body)
}

fn row<'a>(answer: &'a Value, reporter: &str, port: &str) -> Result<&'a Value> {
    let rows = answer["edges"].as_array().context("no edges")?;
    let is_it =
        |row: &&Value| row["labels"]["reporter"] == reporter && row["labels"]["destination_port"] == port;
    rows.iter().find(is_it).with_context(|| format!("no edge of port {port}: {answer}"))
}

/// Without rates and averages, which are of the time that each answer covers.
fn counts(value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().map(counts).collect(),
        Value::Object(all) => {
            let is_count = |key: &str| !key.ends_with("_per_second") && key != "waiting_connections";
            let kept = all.iter().filter(|(key, _)| is_count(key));
            Value::Object(kept.map(|(key, value)| (key.clone(), counts(value))).collect())
        }
        other => other.clone(),
    }
}
