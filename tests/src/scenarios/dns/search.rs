//! Search domains: the names that glibc tries before the one that was meant.

use anyhow::{Result, ensure};

use super::Pair;
use crate::lab::{
    agent,
    crossed::Ends,
    dns::{
        PORT,
        clients::Resolver,
        counted::{Counted, Served, exactly},
        server::Server,
    },
    metrics::Edge,
    topology::Net,
};

const EXPANSIONS: &str = "netcause_dns_search_expansions_total";
const WASTED: &str = "netcause_dns_search_wasted_queries_total";

/// The lines that Kubernetes writes into a pod's `resolv.conf`.
const KUBERNETES: &str =
    "search here.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:60";

/// Names that glibc first tries in search domains count as search expansions, with the queries wasted on them.
pub(in super::super) fn ndots(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (wasteful, thrifty, pod) = (net.pod("wasteful")?, net.pod("thrifty")?, net.pod("server")?);
    let server = Server::start(&pod)?;
    let servers = [pod.v4.into()];
    let resolver = Resolver::new(&wasteful, &servers, KUBERNETES)?;
    resolver.resolve_all(&["web.lab.test", "only4.lab.test", "web"])?;
    let resolver = Resolver::new(&thrifty, &servers, KUBERNETES)?;
    resolver.resolve_all(&["web", "web.lab.test.", "web.here.svc.cluster.local"])?;
    let log = server.finish()?;
    // Two names that each cost four lookups, and one that costs one; then three of one, but for the last: it has four
    // dots, so it is looked up in three domains as well.
    ensure!(log.answers.get("NXDOMAIN") == 2 * (6 + 3) && log.answers.get("NOERROR") == 2 * 6, "{log:?}");

    let both = |count| [("A", count), ("AAAA", count)];
    let by_wasteful = Counted::of(&both(9), &[("NXDOMAIN", 12), ("NOERROR", 6)]);
    let by_thrifty = Counted::of(&both(6), &[("NXDOMAIN", 6), ("NOERROR", 6)]);
    let served = Served::to(&by_wasteful).and(&by_thrifty);
    agent.until("wasted queries are counted", |metrics| {
        for (client, counted, expansions) in [(&wasteful, &by_wasteful, 6), (&thrifty, &by_thrifty, 3)] {
            counted.expect_at_client(metrics, &Ends::v4(client, &pod, PORT).client)?;
            let of_client = Edge::source(client);
            exactly(metrics, EXPANSIONS, &of_client, expansions)?;
            exactly(metrics, WASTED, &of_client, 2 * expansions)?;
        }
        served.expect_at_server(metrics, &Edge::listener(&pod, PORT))
    })
}

/// Failed lookups of names that end with a dot waste no queries on search domains.
pub(in super::super) fn no_search(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = Server::start(&pod)?;
    let resolver = Resolver::new(&client, &[pod.v4.into()], KUBERNETES)?;
    let outcome = resolver.resolve(&["one.nowhere.test.", "two.nowhere.test."])?;
    ensure!(outcome.count("resolved") == 0, "{outcome:?}");
    resolver.resolve_all(&["web.lab.test."])?;

    let v4 = Counted::of(&[("A", 3), ("AAAA", 3)], &[("NXDOMAIN", 4), ("NOERROR", 2)]);
    let pair = Pair { client: &client, server: &pod, v4, v6: Counted::default() };
    agent.until("no query is counted as wasted", |metrics| {
        pair.expect(metrics)?;
        for name in [EXPANSIONS, WASTED] {
            exactly(metrics, name, &Edge::source(&client), 0)?;
        }
        Ok(())
    })
}
