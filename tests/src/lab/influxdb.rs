//! A real InfluxDB that a Prometheus writes to.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    eventually,
    namespace::tethered,
    process::Process,
    promql::{Directory, free_port},
    timeout,
};

const DATABASE: &str = "netcause";

/// A running InfluxDB 1.x; killed when dropped.
pub(crate) struct Influxdb {
    process: Process,
    at: SocketAddr,
    _directory: Directory,
}

impl Influxdb {
    /// With an empty database.
    pub(crate) fn start(scenario: &str) -> Result<Self> {
        let name = format!("netcause-lab-{}-{scenario}-influxdb", std::process::id());
        let directory = Directory(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).context("making a directory for InfluxDB")?;
        let (at, backup) = (free_port()?, free_port()?);
        let path = |name: &str| directory.0.join(name).display().to_string();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"{backup}\"\n[meta]\ndir = {:?}\n[data]\ndir = {:?}\nwal-dir = {:?}\n\
             [monitor]\nstore-enabled = false\n[http]\nbind-address = \"{at}\"\n",
            path("meta"),
            path("data"),
            path("wal")
        );
        let config = directory.0.join("influxdb.conf");
        fs::write(&config, text).context("writing influxdb.conf")?;
        let mut command = tethered(None, None, &[])?;
        command.args(["influxd", "run", "-config"]).arg(&config);
        let process = Process::spawn("influxd", &mut command)?;
        let influxdb = Self { process, at, _directory: directory };
        eventually("InfluxDB makes a database", || {
            influxdb.ask("POST", &format!("CREATE DATABASE {DATABASE}")).map(drop)
        })?;
        Ok(influxdb)
    }

    /// Where Prometheus writes.
    pub(crate) fn write_url(&self) -> String {
        format!("http://{}/api/v1/prom/write?db={DATABASE}", self.at)
    }

    /// The rows of the answer to a query.
    pub(crate) fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = self.ask("GET", query)?;
        let rows = answer.pointer("/results/0/series/0/values").and_then(Value::as_array);
        rows.cloned().with_context(|| format!("{query}: {answer}"))
    }

    fn ask(&self, method: &str, query: &str) -> Result<Value> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut stream = TcpStream::connect(self.at).with_context(|| self.process.said())?;
        stream.set_read_timeout(Some(timeout()))?;
        write!(
            stream,
            "{method} /query?db={DATABASE}&q={escaped} HTTP/1.0\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
            self.at
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no body")?;
        ensure!(head.contains(" 200 "), "{text}");
        serde_json::from_str(body).with_context(|| format!("reading {text}"))
    }
}
