//! Queries without an answer: dead and missing servers, lost answers, and a second server.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{
        PORT, Tally,
        clients::{Dig, Resolver, dig},
        counted::{Counted, Served},
        server::{self, Server},
    },
    faults::Fault,
    metrics::Edge,
    scaled,
    topology::Net,
};

/// The seconds that a client waits before it asks again: more than an answer takes, also in an emulated VM.
fn again() -> &'static str {
    scaled("1", "4")
}

/// Queries of two pods that a server never answers count as timeouts, and repeated queries as retries.
pub(in super::super) fn dead_server(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (clients, pod) = ([net.pod("one")?, net.pod("two")?], net.pod("server")?);
    let _fault = Fault::on_input(&pod, &["udp dport 53 drop"])?;
    let timeout = format!("+timeout={}", again());
    let args = ["+tries=3", &timeout, "web.lab.test"];
    let digs = clients.each_ref().map(|client| Dig::start(client, pod.at(PORT), &args));
    for dig in digs {
        let dug = dig?.finish()?;
        ensure!((dug.queries(), dug.timed_out) == (3, 3), "{dug:?}");
    }

    let counted = Counted { timeouts: 3, retries: 2, ..Counted::of(&[("A", 3)], &[]) };
    agent.until("three timeouts, two of them of repetitions", |metrics| {
        for client in &clients {
            counted.expect_at_client(metrics, &Ends::v4(client, &pod, PORT).client)?;
        }
        Served::default().expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}

/// A query to a port without a server counts as a timeout that was refused, although the client does not wait: ICMP reports it at once. On a
/// kernel that does not say so to programs (before 5.14), the client seems to have abandoned it.
pub(in super::super) fn no_server(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let is_refusal_seen = agent.scrape()?.sum("netcause_probe_up", &[("probe", "dns_refused")]) == 1.0;
    let dug = dig(&client, pod.at_v6(PORT), &["+tries=1", "web.lab.test", "AAAA"])?;
    ensure!((dug.queries(), dug.refused) == (1, 1), "{dug:?}");

    let asked = Counted::of(&[("AAAA", 1)], &[]);
    let counted = if is_refusal_seen {
        Counted { timeouts: 1, refused: 1, ..asked }
    } else {
        Counted { abandoned: 1, ..asked }
    };
    let ends = Ends::v6(&client, &pod, PORT);
    agent.until("a query without an answer", |metrics| counted.expect_at_client(metrics, &ends.client))
}

/// An answer lost on the way counts as a timeout and a retry at the client, whether it is repeated from another port
/// (`dig`) or the same (glibc).
pub(in super::super) fn lost_answers(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (digger, program, pod) = (net.pod("dig")?, net.pod("glibc")?, net.pod("server")?);
    let server = Server::start(&pod)?;
    let lose_one = |client: std::net::Ipv4Addr| {
        format!("ip daddr {client} udp sport 53 numgen inc mod 1000000 < 1 drop")
    };
    let rules = [lose_one(digger.v4), lose_one(program.v4)];
    let _fault = Fault::on_path(&net, &pod, &[&rules[0], &rules[1]])?;
    let timeout = format!("+timeout={}", again());
    let dug = dig(&digger, pod.at(PORT), &["+tries=2", &timeout, "web.lab.test"])?;
    ensure!((dug.queries(), dug.timed_out, dug.answers.get("NOERROR")) == (2, 1, 1), "{dug:?}");
    let options = format!("options timeout:{} attempts:2", again());
    Resolver::new(&program, &[pod.v4.into()], &options)?.resolve_all(&["web.lab.test"])?;
    let log = server.finish()?;
    ensure!(log.queries.all() == log.answers.all(), "the server says {log:?}");

    let by_dig = Counted { timeouts: 1, retries: 1, ..Counted::of(&[("A", 2)], &[("NOERROR", 1)]) };
    // The other queries at the server are glibc's, which repeats one question or both.
    let mut by_glibc = Counted {
        queries: Tally::of([("A", log.queries.get("A") - 2), ("AAAA", log.queries.get("AAAA"))]),
        timeouts: 1,
        retries: 1,
        ..Counted::default()
    };
    by_glibc.responses.add("NOERROR", by_glibc.queries.all() - 1);
    let served = Served { queries: log.queries, responses: log.answers, unanswered: 0 };
    agent.until("the lost answer is missing at the client", |metrics| {
        by_dig.expect_at_client(metrics, &Ends::v4(&digger, &pod, PORT).client)?;
        by_glibc.expect_at_client(metrics, &Ends::v4(&program, &pod, PORT).client)?;
        served.expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}

/// When the first of two servers is dead, the timeouts count on its edge and the retries on the edge of the second.
pub(in super::super) fn second_server(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, dead, live) = (net.pod("client")?, net.pod("dead")?, net.pod("live")?);
    let _fault = Fault::on_input(&dead, &["udp dport 53 drop"])?;
    let server = Server::start(&live)?;
    let options = format!("options timeout:{} attempts:1", again());
    let sent_before = client.counter("Udp", "OutDatagrams")?;
    Resolver::new(&client, &[dead.v4.into(), live.v4.into()], &options)?
        .resolve_all(&["web.lab.test", "only4.lab.test"])?;
    let sent = client.counter("Udp", "OutDatagrams")? - sent_before;
    let log = server.finish()?;
    ensure!(sent == 8 && log.answers.get("NOERROR") == 4, "{sent} sent; the server says {log:?}");

    let both = [("A", 2), ("AAAA", 2)];
    let at_dead = Counted { timeouts: 4, ..Counted::of(&both, &[]) };
    let at_live = Counted { retries: 4, ..Counted::of(&both, &[("NOERROR", 4)]) };
    agent.until("one server never answers, the other always", |metrics| {
        at_dead.expect_at_client(metrics, &Ends::v4(&client, &dead, PORT).client)?;
        at_live.expect_at_client(metrics, &Ends::v4(&client, &live, PORT).client)?;
        Served::to(&at_live).expect_at_server(metrics, &Edge::listener(&live, PORT))
    })
}

/// When the first of two servers refuses, the repeated queries count as retries on the edge of the second.
pub(in super::super) fn after_failure(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, failing, live) = (net.pod("client")?, net.pod("failing")?, net.pod("live")?);
    let first = Server::start_with(&failing, &server::Options { refuses: true, ..Default::default() })?;
    let second = Server::start(&live)?;
    let servers = [failing.v4.into(), live.v4.into()];
    Resolver::new(&client, &servers, "options timeout:60 attempts:1")?.resolve_all(&["web.lab.test"])?;
    let (refused, answered) = (first.finish()?, second.finish()?);
    let refusals = refused.answers.get("REFUSED");
    ensure!(refusals > 0 && refusals == refused.answers.all(), "the first says {refused:?}");
    ensure!(answered.queries.all() > 0, "the second says {answered:?}");

    // Every query to the second server was refused by the first.
    let retries = answered.queries.all();
    let at_first = Counted { queries: refused.queries, responses: refused.answers, ..Counted::default() };
    let at_second =
        Counted { queries: answered.queries, responses: answered.answers, retries, ..Counted::default() };
    agent.until("refused queries are repeated at the second server", |metrics| {
        for (pod, counted) in [(&failing, &at_first), (&live, &at_second)] {
            counted.expect_at_client(metrics, &Ends::v4(&client, pod, PORT).client)?;
            Served::to(counted).expect_at_server(metrics, &Edge::listener(pod, PORT))?;
        }
        Ok(())
    })
}
