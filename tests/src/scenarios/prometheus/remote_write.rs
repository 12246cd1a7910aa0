//! A real Prometheus that writes what it scrapes to a real InfluxDB.

use anyhow::{Result, ensure};

use crate::lab::{agent, eventually, influxdb::Influxdb, metrics::OPENED, promql::Prometheus, topology::Net};

/// What the scenario needs.
pub(in super::super) const PROGRAMS: &[(&str, &str)] = &[("prometheus", "--version"), ("influxd", "version")];

/// By remote write the lab's number arrives in InfluxDB, as a measurement with the labels as tags.
pub(in super::super) fn influxdb(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let influxdb = Influxdb::start(name)?;
    let _prometheus = Prometheus::start_writing(name, agent.address(), &influxdb.write_url())?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    client.connect(server.at(8080), &["--count", "17"])?;
    let query = format!(
        "SELECT last(value) FROM {OPENED} WHERE reporter='source' AND source_workload='{}' AND job='netcause'",
        client.workload()
    );
    eventually("InfluxDB answers with the lab's number", || {
        let rows = influxdb.query(&query)?;
        let last = rows.first().and_then(|row| row.get(1)?.as_f64());
        ensure!(last == Some(17.0), "{query}: {rows:?}");
        Ok(())
    })
}
