//! Queries as fast as `dnsperf` can send them.

use anyhow::{Result, ensure};

use super::Pair;
use crate::lab::{
    agent,
    dns::{
        PORT,
        clients::dnsperf,
        counted::Counted,
        server::{Options, Server},
    },
    scaled,
    topology::Net,
};

/// Thousands of queries, a hundred at a time over both families, are counted as `dnsperf` counts them.
pub(in super::super) fn dnsperf_agrees(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, pod) = Net::pair(name)?;
    let _server = Server::start_with(&pod, &Options { silent: true, ..Options::default() })?;
    let count = scaled(20_000, 1000);
    let ask = |to, more: &[&str]| -> Result<Counted> {
        // It waits longer than the agent, so that the agent has counted a timeout for every query that it gives up.
        let load = dnsperf(&client, to, count, &[&["-q", "100", "-c", "4", "-t", "30"], more].concat())?;
        ensure!(load.sent == count && load.completed + load.lost == count, "{load:?}");
        Ok(Counted {
            timeouts: load.lost,
            ..Counted::of(&[("A", load.sent)], &[("NOERROR", load.completed)])
        })
    };
    let (v4, v6) = (ask(pod.at(PORT), &[])?, ask(pod.at_v6(PORT), &["-e"])?);
    ensure!(v4.timeouts + v6.timeouts == 0, "the lab has lost queries: {v4:?} {v6:?}");
    let pair = Pair { client: &client, server: &pod, v4, v6 };
    agent.until("the agent's count is that of dnsperf", |metrics| pair.expect(metrics))
}
