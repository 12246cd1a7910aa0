//! Malformed traffic at DNS ports: the agent survives, everything passes, and real queries are counted.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{
        PORT,
        clients::{ONE_TRY, dig},
        counted::{Counted, QUERIES, TIMEOUTS, exactly},
        server::Server,
    },
    metrics::float,
    topology::Net,
};

const MALFORMED: &str = "netcause_dns_malformed_messages_total";
const UNMATCHED: &str = "netcause_dns_unmatched_responses_total";

/// Rounds of each kind: as many as a receive buffer holds when its reader is not in time.
const ROUNDS: [&str; 2] = ["--rounds", "4"];
const HEADERS: u64 = 4;

/// Datagrams that are no DNS, to and from its ports, are counted as that or as unmatched answers, never as queries, and real queries beside them are
/// counted exactly.
pub(in super::super) fn garbage(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (victim, villain, pod) = (net.pod("victim")?, net.pod("villain")?, net.pod("server")?);
    let _server = Server::start(&pod)?;
    // Answers are only unmatched on an edge that exists, so query it once, for another name so that no query is a retry.
    let dug = dig(&victim, villain.at(PORT), &["+tries=1", "first.lab.test"])?;
    ensure!(dug.refused == 1, "{dug:?}");
    let malformed_before = agent.scrape()?.sum(MALFORMED, &[]);
    let (client, server) = (victim.at(40_000), victim.at(PORT));
    let sinks = [client, server].map(|at| victim.serve_udp(at, &["--mode", "sink"]));
    let (mut sent, mut answers, mut malformed) = (0, 0, 0);
    for kind in ["short", "queries", "answers", "noise"] {
        let args = [&ROUNDS[..], &["--kind", kind]].concat();
        let from_port = villain
            .send_garbage(client, &[&args[..], &["--from", &villain.at(PORT).to_string()]].concat())?;
        let to_port = villain.send_garbage(server, &args)?;
        let to_real = villain.send_garbage(pod.at(PORT), &args)?;
        sent += from_port.count("datagrams_sent");
        answers += from_port.count("answers");
        // What is too short, goes in the wrong direction or is no query is not DNS at either end.
        malformed += 2 * (from_port.count("short") + from_port.count("queries"));
        for to_server in [to_port, to_real] {
            malformed +=
                2 * ["short", "answers", "queries"].map(|of| to_server.count(of)).iter().sum::<u64>();
            // One of those in each round is a header without a question, which is DNS.
            malformed -= if kind == "queries" { 2 * HEADERS } else { 0 };
        }
        dig(&victim, pod.at(PORT), &[&ONE_TRY[..], &["web.lab.test"]].concat())?.expect(&[("NOERROR", 1)])?;
    }
    for sink in sinks {
        let outcome = sink?.finish()?;
        ensure!(outcome.count("datagrams_received") == sent, "{sent} sent; {outcome:?}");
    }
    let honest = Counted::of(&[("A", 4)], &[("NOERROR", 4)]);
    agent.until("real queries and garbage are counted", |metrics| {
        honest.expect_at_client(metrics, &Ends::v4(&victim, &pod, PORT).client)?;
        exactly(metrics, UNMATCHED, &Ends::v4(&victim, &villain, PORT).client, answers)?;
        exactly(metrics, QUERIES, &Ends::v4(&villain, &victim, PORT).client, HEADERS)?;
        exactly(metrics, TIMEOUTS, &Ends::v4(&villain, &victim, PORT).client, 0)?;
        let is = metrics.sum(MALFORMED, &[]) - malformed_before;
        ensure!(is == float(malformed), "{is} malformed messages, not {malformed}");
        Ok(())
    })
}
