//! As fast as `dnsperf` can.

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

/// Thousands of queries, a hundred at a time, over both families: the count is that of `dnsperf`.
pub(in super::super) fn dnsperf_agrees(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, pod) = (net.pod("client")?, net.pod("server")?);
    let _server = Server::start_with(&pod, &Options { silent: true, ..Options::default() })?;
    let count = scaled(20_000, 1000);
    let ask = |to, more: &[&str]| -> Result<Counted> {
        // It waits longer than the agent, so that what it gives up the agent has given up before.
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
