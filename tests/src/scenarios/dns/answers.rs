//! Successful answers: queries of every type, over both families, with EDNS and without, of `dig` and of glibc.

use anyhow::{Result, ensure};

use super::Pair;
use crate::lab::{
    agent,
    dns::{
        PORT,
        clients::{ONE_TRY, Resolver, dig},
        counted::Counted,
        server::Server,
    },
    topology::Net,
};

/// A name of every type that has a label value of its own, and one of those that share one.
const EVERY_TYPE: [(&str, &str); 11] = [
    ("web.lab.test", "A"),
    ("web.lab.test", "AAAA"),
    ("alias.lab.test", "CNAME"),
    ("web.lab.test", "HTTPS"),
    ("lab.test", "MX"),
    ("lab.test", "NS"),
    ("1.2.0.192.in-addr.arpa", "PTR"),
    ("lab.test", "SOA"),
    ("_http._tcp.lab.test", "SRV"),
    ("lab.test", "TXT"),
    ("lab.test", "CAA"),
];

/// Queries of every type are counted by type at both ends, over IPv4 with EDNS and over IPv6 without.
pub(in super::super) fn types(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let questions: Vec<&str> = EVERY_TYPE.iter().flat_map(|(name, kind)| ["-q", name, "-t", kind]).collect();
    let all = EVERY_TYPE.len() as u64;
    let ask = |to, more: &[&str]| dig(&client, to, &[&ONE_TRY[..], more, &questions].concat());
    ask(pod.at(PORT), &["+bufsize=1232"])?.expect(&[("NOERROR", all)])?;
    ask(pod.at_v6(PORT), &["+noedns"])?.expect(&[("NOERROR", all)])?;
    let log = server.finish()?;
    ensure!(log.queries.all() == 2 * all && log.queries.get("CAA") == 2, "the server says {log:?}");
    ensure!(log.answers.get("NOERROR") == 2 * all, "the server says {log:?}");

    let labels = EVERY_TYPE.map(|(_, kind)| (if kind == "CAA" { "other" } else { kind }, 1));
    let counted = Counted::of(&labels, &[("NOERROR", all)]);
    let pair = Pair { client: &client, server: &pod, v4: counted.clone(), v6: counted };
    agent.until("every type is counted at both ends", |metrics| pair.expect(metrics))
}

/// `getaddrinfo` is counted as two queries for each name, for names with addresses of both families and of one.
pub(in super::super) fn glibc(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let names = ["web.lab.test", "only4.lab.test", "WEB.lab.test"];
    for address in [pod.v4.into(), pod.v6.into()] {
        Resolver::new(&client, &[address], "options timeout:60")?.resolve_all(&names)?;
    }
    let log = server.finish()?;
    ensure!((log.queries.get("A"), log.queries.get("AAAA")) == (6, 6), "the server says {log:?}");

    let counted = Counted::of(&[("A", 3), ("AAAA", 3)], &[("NOERROR", 6)]);
    let pair = Pair { client: &client, server: &pod, v4: counted.clone(), v6: counted };
    agent.until("two queries for a name", |metrics| pair.expect(metrics))
}
