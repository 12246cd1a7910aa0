//! Resolvers that programs use, and servers beside unbound: the agent's counts are compared with what each of them counts itself.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{
        PORT, Tally,
        clients::{ByGo, ONE_TRY, Resolver, dig},
        counted::{Counted, Served, exactly},
        dnsmasq::{Dnsmasq, Sent},
        nsd::{Nsd, Statistics},
        resolved::{Resolved, STUB},
    },
    faults::Fault,
    metrics::{Edge, Metrics},
    topology::Net,
};

/// The programs of each scenario, with an argument that makes them succeed.
pub(in super::super) const MUSL: &[(&str, &str)] = &[("musl-resolve", "127.0.0.1"), NSD];
pub(in super::super) const C_ARES: &[(&str, &str)] = &[("c-ares-resolve", "127.0.0.1"), NSD];
pub(in super::super) const FAILING: &[(&str, &str)] = &[MUSL[0], C_ARES[0], NSD];
pub(in super::super) const GO: &[(&str, &str)] = &[("promtool", "--version"), NSD];
pub(in super::super) const DNSMASQ: &[(&str, &str)] = &[("dnsmasq", "--version"), NSD];
pub(in super::super) const RESOLVED: &[(&str, &str)] = &[("systemd-resolved", "--version"), NSD];
const NSD: (&str, &str) = ("nsd", "-h");

/// `resolv.conf` beside the servers.
const SEARCH: &str = "search here.test lab.test";

/// What is dropped at a silent server.
const SILENT: &[&str] = &["udp dport 53 drop"];

/// musl asks all servers at once and takes the first answer: a silent second server is not to blame, a silent only one is. A
/// truncated answer is the last one: this musl has no TCP.
pub(in super::super) fn musl(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, waiting) = (net.pod("client")?, net.pod("waiting")?);
    let (live, silent) = (net.pod("live")?, net.pod("silent")?);
    let _fault = Fault::on_input(&silent, SILENT)?;
    let server = Nsd::start(&live)?;
    let resolver = Resolver::new(&client, &[live.v4.into(), silent.v4.into()], SEARCH)?;
    // Two lookups with the same unrelated domains show that these are a search list.
    let names = ["web.lab.test", "web", "only4", "nowhere.lab.test", "wide.lab.test"];
    let outcome = resolver.resolve_by("musl-resolve", &names)?;
    ensure!((outcome.count("resolved"), outcome.count("addresses")) == (3, 5), "{outcome:?}");
    ensure!((outcome.count("absent"), outcome.count("again")) == (2, 0), "{outcome:?}");
    let resolver = Resolver::new(&waiting, &[silent.v4.into()], "options timeout:3 attempts:2")?;
    let outcome = resolver.resolve_by("musl-resolve", &["web.lab.test"])?;
    ensure!(outcome.count("again") == 1, "{outcome:?}");
    let statistics = server.finish()?;
    ensure!(statistics.answers == Tally::of([("NOERROR", 8), ("NXDOMAIN", 6)]), "{statistics:?}");
    ensure!((statistics.truncated, statistics.over_tcp) == (1, 0), "{statistics:?}");

    let both = |count| [("A", count), ("AAAA", count)];
    let at_live = counted(&statistics);
    let at_silent = Counted { abandoned: 14, ..Counted::of(&both(7), &[]) };
    let in_vain = Counted { timeouts: 4, retries: 2, ..Counted::of(&both(2), &[]) };
    agent.until("a silent second server is not to blame", |metrics| {
        at_live.expect_at_client(metrics, &Ends::v4(&client, &live, PORT).client)?;
        Served::to(&at_live).expect_at_server(metrics, &Edge::listener(&live, PORT))?;
        at_silent.expect_at_client(metrics, &Ends::v4(&client, &silent, PORT).client)?;
        in_vain.expect_at_client(metrics, &Ends::v4(&waiting, &silent, PORT).client)?;
        searched(metrics, &Edge::source(&client), 2, 4)
    })
}

/// c-ares, as curl, Node.js and Envoy use it, has one socket for each server.
pub(in super::super) fn c_ares(name: &str) -> Result<()> {
    in_turn(name, "wide.lab.test", "options retrans:1000 retry:2", |resolver, names, timeouts| {
        let outcome = resolver.resolve_by("c-ares-resolve", names)?;
        ensure!(outcome.count("timeouts") == timeouts, "{outcome:?}");
        Ok(["resolved", "absent"].map(|count| outcome.count(count)))
    })
}

/// Go's own resolver has a socket for each query, and asks with EDNS.
pub(in super::super) fn go(name: &str) -> Result<()> {
    in_turn(name, "wider.lab.test", "options timeout:1 attempts:1", |resolver, names, _| {
        let ByGo { resolved, absent } = resolver.resolve_by_go(names)?;
        Ok([resolved, absent])
    })
}

/// A resolver that asks one server after the other: a silent first server has timed out, the next one is asked again, and the
/// truncated answer with the addresses of `wide` is repeated over TCP. Names that do not exist it looks up with both domains.
///
/// `resolve` looks names up, of which so many queries must have timed out, and returns how many were resolved and how many do
/// not exist.
fn in_turn(
    name: &str,
    wide: &str,
    options: &str,
    resolve: impl Fn(&Resolver<'_>, &[&str], u64) -> Result<[u64; 2]>,
) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, waiting) = (net.pod("client")?, net.pod("waiting")?);
    let (live, silent) = (net.pod("live")?, net.pod("silent")?);
    let _fault = Fault::on_input(&silent, SILENT)?;
    let server = Nsd::start(&live)?;
    let resolver = Resolver::new(&client, &[live.v4.into()], SEARCH)?;
    let outcome = resolve(&resolver, &["web.lab.test", "web", "nowhere.lab.test", wide], 0)?;
    ensure!(outcome == [3, 1], "{outcome:?}");
    let resolver = Resolver::new(&waiting, &[silent.v4.into(), live.v4.into()], options)?;
    let outcome = resolve(&resolver, &["web.lab.test"], 2)?;
    ensure!(outcome == [1, 0], "{outcome:?}");
    let statistics = server.finish()?;
    ensure!((statistics.truncated, statistics.over_tcp) == (1, 1), "{statistics:?}");

    let both = [("A", 1), ("AAAA", 1)];
    let at_silent = Counted { timeouts: 2, ..Counted::of(&both, &[]) };
    let after_silent = Counted { retries: 2, ..Counted::of(&both, &[("NOERROR", 2)]) };
    // Beside one lookup of each kind: the first domain of `web`, two of the name that does not exist, the query over TCP.
    let codes = [("NOERROR", 2 + 2 + 3), ("NXDOMAIN", 2 + 2 + 2 * 2)];
    let at_live = Counted::of(&[("A", 1 + 2 + 3 + 2), ("AAAA", 1 + 2 + 3 + 1)], &codes);
    let at_live = Counted { truncated: 1, ..at_live };
    let served = Served { queries: statistics.queries, responses: statistics.answers, unanswered: 0 };
    agent.until("resolver and server have counted the same", |metrics| {
        at_live.expect_at_client(metrics, &Ends::v4(&client, &live, PORT).client)?;
        at_silent.expect_at_client(metrics, &Ends::v4(&waiting, &silent, PORT).client)?;
        after_silent.expect_at_client(metrics, &Ends::v4(&waiting, &live, PORT).client)?;
        served.expect_at_server(metrics, &Edge::listener(&live, PORT))?;
        searched(metrics, &Edge::source(&client), 3, 6)
    })
}

/// musl and c-ares ask a server that fails again at once, from the same port and under the same id: these are retries.
pub(in super::super) fn failing(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (musl, c_ares, pod) = (net.pod("musl")?, net.pod("c-ares")?, net.pod("server")?);
    let server = Nsd::start(&pod)?;
    let resolver = Resolver::new(&c_ares, &[pod.v4.into()], "options retry:3")?;
    let outcome = resolver.resolve_by("c-ares-resolve", &["a.failing.test"])?;
    ensure!((outcome.count("failed"), outcome.count("timeouts")) == (1, 0), "{outcome:?}");
    let resolver = Resolver::new(&musl, &[pod.v4.into()], "options timeout:1 attempts:1")?;
    let outcome = resolver.resolve_by("musl-resolve", &["a.failing.test"])?;
    ensure!(outcome.count("again") == 1, "{outcome:?}");
    let statistics = server.finish()?;
    // c-ares asks three times for each type; musl twice, and the server again for each of its first four answers.
    ensure!(statistics.answers == Tally::of([("SERVFAIL", 6 + 6)]), "{statistics:?}");

    let failed = |a, aaaa| Counted {
        retries: a + aaaa - 2,
        ..Counted::of(&[("A", a), ("AAAA", aaaa)], &[("SERVFAIL", a + aaaa)])
    };
    let by_c_ares = failed(3, 3);
    let by_musl = failed(statistics.queries.get("A") - 3, statistics.queries.get("AAAA") - 3);
    agent.until("repeated queries are retries", |metrics| {
        by_c_ares.expect_at_client(metrics, &Ends::v4(&c_ares, &pod, PORT).client)?;
        by_musl.expect_at_client(metrics, &Ends::v4(&musl, &pod, PORT).client)?;
        Served::to(&by_c_ares).and(&by_musl).expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}

/// dnsmasq asks all servers at once and closes its sockets with the first answer: both its clients and the faster server count as
/// it does, and the slower server is not to blame.
pub(in super::super) fn dnsmasq(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, forwarder) = (net.pod("client")?, net.pod("forwarder")?);
    let (fast, slow) = (net.pod("fast")?, net.pod("slow")?);
    let server = Nsd::start(&fast)?;
    let late = slow.answer_dns(slow.at(PORT), &["--delay-ms", "300"])?;
    let dnsmasq = Dnsmasq::start(&forwarder, &[fast.v4.into(), slow.v4.into()])?;
    let resolver = Resolver::new(&client, &[forwarder.v4.into()], "options timeout:60")?;
    resolver.resolve_all(&["web.lab.test", "only4.lab.test", "here.test"])?;
    ensure!(resolver.resolve(&["nowhere.lab.test"])?.count("resolved") == 0, "it has an address");
    let (log, statistics) = (dnsmasq.finish()?, server.finish()?);
    let late = late.finish()?.count("answers");
    ensure!((log.forwarded, log.local) == (6, 2), "{log:?}");
    let sent = |nxdomain| Sent { queries: 6, retried: 0, failed: 0, nxdomain };
    ensure!(log.servers == [sent(2), sent(0)], "{log:?}");
    ensure!(statistics.queries.all() == 6 && late == 6, "{statistics:?}, {late} late answers");

    let both = |count| [("A", count), ("AAAA", count)];
    let of_client = Counted::of(&both(4), &[("NOERROR", 6), ("NXDOMAIN", 2)]);
    let to_fast = counted(&statistics);
    let to_slow = Counted { abandoned: 6, ..Counted::of(&both(3), &[]) };
    agent.until("clients, dnsmasq and its servers agree", |metrics| {
        of_client.expect_at_client(metrics, &Ends::v4(&client, &forwarder, PORT).client)?;
        Served::to(&of_client).expect_at_server(metrics, &Edge::listener(&forwarder, PORT))?;
        to_fast.expect_at_client(metrics, &Ends::v4(&forwarder, &fast, PORT).client)?;
        Served::to(&to_fast).expect_at_server(metrics, &Edge::listener(&fast, PORT))?;
        to_slow.expect_at_client(metrics, &Ends::v4(&forwarder, &slow, PORT).client)
    })
}

/// systemd-resolved answers programs at 127.0.0.53 and asks with EDNS, then without it where a name does not exist: both sides
/// count as its log and the server do, a truncated answer on each side included.
pub(in super::super) fn resolved(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Nsd::start(&pod)?;
    let stub = Resolved::start(name, &client, pod.v4.into())?;
    let workload = stub.workload().to_owned();
    let resolver = Resolver::new(&client, &[STUB.into()], "options timeout:60")?;
    resolver.resolve_all(&["web.lab.test", "only4.lab.test"])?;
    ensure!(resolver.resolve(&["nowhere.lab.test"])?.count("resolved") == 0, "it has an address");
    let at_stub = SocketAddr::new(STUB.into(), PORT);
    let dug = dig(&client, at_stub, &[&ONE_TRY[..], &["+noedns", "wider.lab.test"]].concat())?;
    ensure!((dug.truncated, dug.answers.get("NOERROR")) == (1, 1), "{dug:?}");
    let (log, statistics) = (stub.finish()?, server.finish()?);
    ensure!(log.sent == statistics.queries.all(), "{log:?} {statistics:?}");
    ensure!(log.answers == statistics.answers, "{log:?} {statistics:?}");
    ensure!((log.truncated, statistics.truncated) == (2, 2), "{log:?} {statistics:?}");
    let asked = Tally::of([("A", 3 + 2), ("AAAA", 3)]);
    ensure!((&log.asked, log.asked_over_tcp) == (&asked, 1), "{log:?}");

    let to_stub = Counted {
        queries: log.asked,
        truncated: 1,
        ..Counted::of(&[], &[("NOERROR", 2 * 2 + 2), ("NXDOMAIN", 2)])
    };
    let to_server = counted(&statistics);
    agent.until("program, resolver and server agree", |metrics| {
        to_stub.expect_at_client(metrics, &Edge::named("source", client.workload(), &workload, PORT))?;
        Served::to(&to_stub).expect_at_server(metrics, &Edge::listener_of(&workload, PORT))?;
        to_server.expect_at_client(metrics, &Edge::at_workload(&workload, &pod, PORT))?;
        Served::to(&to_server).expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}

/// What the only client of a server must have, by the server's own counts.
fn counted(statistics: &Statistics) -> Counted {
    Counted {
        queries: statistics.queries.clone(),
        responses: statistics.answers.clone(),
        truncated: statistics.truncated,
        ..Counted::default()
    }
}

/// Fails unless so many lookups were of expanded names that do not exist, with so many queries.
fn searched(metrics: &Metrics, of_client: &Edge, expansions: u64, queries: u64) -> Result<()> {
    exactly(metrics, "netcause_dns_search_expansions_total", of_client, expansions)?;
    exactly(metrics, "netcause_dns_search_wasted_queries_total", of_client, queries)
}
