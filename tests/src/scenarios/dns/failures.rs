//! Answers with failure codes.

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

/// Every failure code that a real server returns to `dig` is counted at both ends.
pub(in super::super) fn codes(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = Server::start(&pod)?;
    let questions = [
        "nowhere.lab.test",
        "also.nowhere.lab.test",
        "a.refused.test",
        "a.failing.test",
        "web.lab.test",
        "+opcode=STATUS",
    ];
    let v4 = dig(&client, pod.at(PORT), &[&ONE_TRY[..], &questions].concat())?;
    v4.expect(&[("NXDOMAIN", 2), ("REFUSED", 1), ("SERVFAIL", 1), ("NOTIMP", 1)])?;
    // A head, and no question.
    let v6 = dig(&client, pod.at_v6(PORT), &[&ONE_TRY[..], &["+header-only", "web.lab.test"]].concat())?;
    v6.expect(&[("FORMERR", 1)])?;

    let codes = [("NXDOMAIN", 2), ("REFUSED", 1), ("SERVFAIL", 1), ("NOTIMP", 1)];
    let pair = Pair {
        client: &client,
        server: &pod,
        v4: Counted::of(&[("A", 5)], &codes),
        v6: Counted::of(&[("other", 1)], &[("FORMERR", 1)]),
    };
    agent.until("every code is counted at both ends", |metrics| pair.expect(metrics))
}

/// The queries that glibc repeats after SERVFAIL and REFUSED, but not after NXDOMAIN, are counted as the server
/// counts them.
pub(in super::super) fn glibc(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let server = Server::start(&pod)?;
    let resolver = Resolver::new(&client, &[pod.v4.into()], "options timeout:60 attempts:1")?;
    let outcome = resolver.resolve(&["nowhere.lab.test", "a.refused.test", "a.failing.test"])?;
    ensure!(outcome.count("resolved") == 0, "{outcome:?}");
    let log = server.finish()?;
    ensure!(log.answers.get("NXDOMAIN") == 2 && log.answers.all() == log.queries.all(), "{log:?}");

    let counted = Counted { queries: log.queries, responses: log.answers, ..Counted::default() };
    let pair = Pair { client: &client, server: &pod, v4: counted, v6: Counted::default() };
    agent.until("what the server answered is counted", |metrics| pair.expect(metrics))
}
