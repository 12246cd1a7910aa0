//! Messages that are right and rare: codes of EDNS, errors without a question, several questions under one id.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{PORT, counted::Counted},
    eventually,
    topology::Net,
};

/// An error whose code is partly in the record of EDNS counts by its name, at both ends.
pub(in super::super) fn extended_code(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = pod.answer_dns(pod.at(PORT), &["--kind", "badvers"])?;
    let outcome = client.ask_dns(pod.at(PORT), &["--count", "10"])?;
    ensure!(outcome.count("answers") == 10, "{outcome:?}");
    let v4 = Counted::of(&[("A", 10)], &[("BADVERS", 10)]);
    let pair = super::Pair { client: &client, server: &pod, v4, v6: Counted::default() };
    agent.until("the error has its name", |metrics| pair.expect(metrics))
}

/// An error that has no question is of the name in the query.
pub(in super::super) fn no_question(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = pod.answer_dns(pod.at(PORT), &["--kind", "bare"])?;
    let outcome = client.ask_dns(pod.at(PORT), &["--count", "1"])?;
    ensure!(outcome.count("answers") == 1, "{outcome:?}");
    let v4 = Counted::of(&[("A", 1)], &[("FORMERR", 1)]);
    let pair = super::Pair { client: &client, server: &pod, v4, v6: Counted::default() };
    agent.until("the error counts", |metrics| pair.expect(metrics))?;
    eventually("the API has the name that failed", || {
        let response = agent.get("/api/v1/dns", "application/json")?;
        let said: Value = serde_json::from_str(&response.body).context("reading /api/v1/dns")?;
        let workloads = said["workloads"].as_array().context("no workloads")?;
        let of_client = workloads.iter().find(|of| of["workload"] == client.workload());
        let failed = &of_client.context("nothing of the client")?["names"]["by_failures"][0];
        ensure!(failed["name"] == "n0.lab.test" && failed["failures"] == 1, "{failed}");
        Ok(())
    })
}

/// Messages behind IPv6 extension headers are read.
pub(in super::super) fn extension_headers(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = pod.answer_dns(pod.at_v6(PORT), &[])?;
    let outcome = client.ask_dns(pod.at_v6(PORT), &["--count", "10", "--options-bytes", "24"])?;
    ensure!(outcome.count("answers") == 10, "{outcome:?}");
    let v6 = Counted::of(&[("A", 10)], &[("NOERROR", 10)]);
    let pair = super::Pair { client: &client, server: &pod, v4: Counted::default(), v6 };
    agent.until("both ends count them", |metrics| pair.expect(metrics))
}

/// A and AAAA under one id from one socket are two questions with an answer each.
pub(in super::super) fn one_id(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = pod.answer_dns(pod.at(PORT), &["--delay-ms", "20"])?;
    let outcome = client.ask_dns(pod.at(PORT), &["--count", "10", "--both"])?;
    ensure!((outcome.count("queries"), outcome.count("answers")) == (20, 20), "{outcome:?}");
    let counted = Counted::of(&[("A", 10), ("AAAA", 10)], &[("NOERROR", 20)]);
    agent.until("each question has its answer", |metrics| {
        counted.expect_at_client(metrics, &Ends::v4(&client, &pod, PORT).client)
    })
}
