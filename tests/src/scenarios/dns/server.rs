//! The server's end: all its clients together, and the queries that it leaves without an answer.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{
        PORT,
        clients::{Resolver, dig},
        counted::{Counted, Served},
        server::Server,
    },
    metrics::Edge,
    topology::Net,
};

/// Longer than the half minute after which the agent counts a query as unanswered by its server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(120);

/// Each client in two pods and in the server's own has its counts, and the server's end has their sum.
pub(in super::super) fn several_clients(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (one, two, pod) = (net.pod("one")?, net.pod("two")?, net.pod("server")?);
    let server = Server::start(&pod)?;
    let options = "options timeout:60";
    Resolver::new(&one, &[pod.v4.into()], options)?.resolve_all(&["web.lab.test"])?;
    Resolver::new(&two, &[pod.v6.into()], options)?.resolve_all(&["web.lab.test", "only4.lab.test"])?;
    Resolver::new(&pod, &[pod.v4.into()], options)?.resolve_all(&["web.lab.test"])?;
    let log = server.finish()?;
    ensure!((log.queries.get("A"), log.answers.get("NOERROR")) == (4, 8), "the server says {log:?}");

    let by = |names| Counted::of(&[("A", names), ("AAAA", names)], &[("NOERROR", 2 * names)]);
    let served = Served::to(&by(4));
    agent.until("the server's sum is that of its clients", |metrics| {
        by(1).expect_at_client(metrics, &Ends::v4(&one, &pod, PORT).client)?;
        by(2).expect_at_client(metrics, &Ends::v6(&two, &pod, PORT).client)?;
        by(1).expect_at_client(metrics, &Ends::v4(&pod, &pod, PORT).client)?;
        served.expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}

/// Queries that the server drops count as timeouts at the client and as unanswered at the server.
pub(in super::super) fn unanswered(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let args = ["+tries=1", "+timeout=1", "a.dropped.test", "b.dropped.test", "web.lab.test"];
    let dug = dig(&client, pod.at(PORT), &args)?;
    ensure!((dug.timed_out, dug.answers.all()) == (2, 1), "{dug:?}");
    let log = server.finish()?;
    ensure!((log.queries.all(), log.answers.all()) == (3, 1), "the server says {log:?}");

    let counted = Counted { timeouts: 2, ..Counted::of(&[("A", 3)], &[("NOERROR", 1)]) };
    let served = Served { unanswered: 2, ..Served::to(&counted) };
    agent.until_within(SERVER_TIMEOUT, "both ends miss the same answers", |metrics| {
        counted.expect_at_client(metrics, &Ends::v4(&client, &pod, PORT).client)?;
        served.expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}
