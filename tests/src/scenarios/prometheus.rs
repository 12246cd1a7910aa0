//! A real Prometheus: it scrapes the agent and answers a query with the lab's numbers; promtool has no complaint.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{
    agent, eventually,
    metrics::{Edge, FAILURES, OPENED},
    namespace::tethered,
    patience,
    process::Process,
    topology::Net,
};

/// A directory of this scenario, removed with what is in it.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // In the temporary directory: a leftover harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Scraped every second, asked in PromQL.
pub(super) fn query(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let directory =
        Directory(std::env::temp_dir().join(format!("netcause-lab-{}-{name}", std::process::id())));
    fs::create_dir_all(&directory.0).context("making a directory for Prometheus")?;
    let config = directory.0.join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: netcause\n  static_configs:\n  - targets: ['{}']\n",
        agent.address()
    );
    fs::write(&config, text).context("writing prometheus.yml")?;
    let port = free_port()?;
    let mut command: Command = tethered(None, None, &[])?;
    command.arg("prometheus").arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.0.join("data").display()));
    command.arg(format!("--web.listen-address={port}"));
    let prometheus = Process::spawn("prometheus", &mut command)?;

    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    let _sink = server.serve(server.at(8080), &[])?;
    client.connect(server.at(8080), &["--count", "17"])?;
    let promql =
        format!("sum({OPENED}{{source_workload=\"{}\",destination_port=\"8080\"}})", client.workload());
    eventually("Prometheus answers with the lab's number", || {
        let answer = ask(port, &promql).with_context(|| prometheus.said())?;
        let results = answer.pointer("/data/result").context("no result")?;
        let value = results.pointer("/0/value/1").and_then(serde_json::Value::as_str);
        ensure!(value == Some("17"), "{promql} is {results}");
        Ok(())
    })?;
    let up = ask(port, "up{job=\"netcause\"}")?;
    ensure!(up.pointer("/data/result/0/value/1").and_then(|value| value.as_str()) == Some("1"), "{up}");
    Ok(())
}

/// The text format passes `promtool check metrics`.
pub(super) fn promtool(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, server) = (net.pod("client")?, net.pod("server")?);
    client.connect(server.at(8080), &["--count", "2"])?;
    agent.until("there is something to check", |metrics| {
        metrics.expect(FAILURES, &Edge::at_client(&client, server.v4, 8080), 2)
    })?;
    let text = agent.get("/metrics", "text/plain;version=0.0.4")?.body;
    let end = Process::run("promtool", Command::new("promtool").args(["check", "metrics"]), &text)?;
    ensure!(end.status.success(), "{}\n{}{}", end.status, end.stdout, end.stderr);
    Ok(())
}

/// A loopback port that was free a moment ago.
fn free_port() -> Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .context("finding a free port")
}

/// Puts a query to Prometheus. HTTP/1.0, so that the body comes in one piece.
fn ask(at: SocketAddr, promql: &str) -> Result<serde_json::Value> {
    let query: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(patience()))?;
    write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {at}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
    serde_json::from_str(body).with_context(|| format!("reading {text}"))
}
