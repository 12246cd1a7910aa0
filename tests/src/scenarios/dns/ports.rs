//! Configured DNS ports.

use std::net::SocketAddr;

use anyhow::Result;
use rustix::process::Signal;

use crate::lab::{
    agent::{Agent, Options, ROOM},
    crossed::Ends,
    dns::{
        clients::{ONE_TRY, dig},
        counted::{Counted, Served},
        server::{self, Server},
    },
    metrics::Edge,
    topology::Net,
};

/// Only the configured ports are counted as DNS, over UDP and TCP, even where another port carries DNS.
pub(in super::super) fn configured(name: &str) -> Result<()> {
    let env = [("NETCAUSE_DNS_PORTS", "53,5353"), ROOM];
    let agent = Agent::start(name, "agent", &Options { env: &env, ..Options::default() })?;
    let (_net, client, pod) = Net::pair(name)?;
    let start = |port| Server::start_with(&pod, &server::Options { port: Some(port), ..Default::default() });
    let _servers = [start(53)?, start(5353)?, start(5354)?];
    let ask = |to: SocketAddr, over: &str| -> Result<()> {
        dig(&client, to, &[&ONE_TRY[..], &[over, "web.lab.test"]].concat())?.expect(&[("NOERROR", 1)])
    };
    for port in [53, 5353, 5354] {
        ask(pod.at(port), "+notcp")?;
        ask(pod.at(port), "+tcp")?;
    }
    let counted = Counted::of(&[("A", 2)], &[("NOERROR", 2)]);
    agent.until("two ports of three are DNS", |metrics| {
        for (port, counted) in [(53, &counted), (5353, &counted), (5354, &Counted::default())] {
            counted.expect_at_client(metrics, &Ends::v4(&client, &pod, port).client)?;
            Served::to(counted).expect_at_server(metrics, &Edge::listener(&pod, port))?;
        }
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}
