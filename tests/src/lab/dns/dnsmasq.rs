//! dnsmasq in a pod: it forwards each query to all of its servers at once, and counts what it forwards.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::PORT;
use crate::lab::{process::Process, scaled, topology::Pod};

/// A running forwarder; killed when dropped.
pub(crate) struct Dnsmasq {
    process: Process,
    servers: Vec<IpAddr>,
}

/// The counts of a forwarder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Queries of its clients that it forwarded.
    pub(crate) forwarded: u64,
    /// Queries of its clients that it answered itself.
    pub(crate) local: u64,
    /// What it sent to each server, in the order of the servers.
    pub(crate) servers: Vec<Sent>,
}

/// What a forwarder sent to one server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) queries: u64,
    pub(crate) retried: u64,
    pub(crate) failed: u64,
    /// Answers that it took from this server with the code NXDOMAIN.
    pub(crate) nxdomain: u64,
}

impl Dnsmasq {
    /// Starts one at the pod's address of IPv4, without a cache, and waits until it serves. It has an address of
    /// either family for `here.test` itself.
    pub(crate) fn start(pod: &Pod, servers: &[IpAddr]) -> Result<Self> {
        let mut command = pod.command("dnsmasq")?;
        command
            .args(["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file"])
            .args(["--user=root", "--no-hosts", "--no-resolv", "--bind-interfaces", "--cache-size=0"])
            .args(["--address=/here.test/192.0.2.9", "--address=/here.test/2001:db8::9"])
            .arg(format!("--listen-address={}", pod.v4))
            .arg("--all-servers")
            .args(servers.iter().map(|server| format!("--server={server}")));
        let process = Process::spawn("dnsmasq", &mut command)?;
        process.wait_stderr("its start", |line| line.contains("started, version").then_some(()))?;
        Ok(Self { process, servers: servers.to_vec() })
    }

    /// Has it write its counts, reads them and ends it.
    pub(crate) fn finish(self) -> Result<Statistics> {
        self.process.signal(Signal::USR1)?;
        for server in &self.servers {
            let line = beginning_of(server);
            self.process.wait_stderr("its counts", |said| said.contains(&line).then_some(()))?;
        }
        self.process.signal(Signal::TERM)?;
        let end = self.process.finish_within(Duration::from_secs(scaled(10, 60)))?;
        ensure!(end.status.success(), "dnsmasq ended with {}:\n{}", end.status, end.stderr);
        Statistics::read(&end.stderr, &self.servers).with_context(|| format!("reading\n{}", end.stderr))
    }
}

/// Of the line with the counts of a server.
fn beginning_of(server: &IpAddr) -> String {
    format!("server {server}#{PORT}: queries sent ")
}

impl Statistics {
    fn read(log: &str, servers: &[IpAddr]) -> Result<Self> {
        let number = |after: &str, word: &str| {
            let (_, rest) = log.split_once(after)?;
            let (_, rest) = rest.lines().next()?.split_once(word)?;
            rest.split([',', ' ']).next()?.parse().ok()
        };
        let one = |after: &str, word: &str| {
            number(after, word).with_context(|| format!("no number after {after:?} and {word:?}"))
        };
        let sent = |server: &IpAddr| {
            let line = format!("server {server}#{PORT}:");
            Ok(Sent {
                queries: one(&line, "queries sent ")?,
                retried: one(&line, ", retried ")?,
                failed: one(&line, ", failed ")?,
                nxdomain: one(&line, ", nxdomain replies ")?,
            })
        };
        Ok(Self {
            forwarded: one("queries", " forwarded ")?,
            local: one("queries forwarded", " queries answered locally ")?,
            servers: servers.iter().map(sent).collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read() {
        let log = "dnsmasq[1]: started, version 2.90 cache disabled\n\
                   dnsmasq[1]: queries forwarded 6, queries answered locally 1\n\
                   dnsmasq[1]: server 10.77.0.2#53: queries sent 6, retried 1, failed 0, nxdomain replies 2, avg. latency 0ms\n";
        let server = IpAddr::from([10, 77, 0, 2]);
        let sent = Sent { queries: 6, retried: 1, failed: 0, nxdomain: 2 };
        let expected = Statistics { forwarded: 6, local: 1, servers: vec![sent] };
        assert_eq!(Statistics::read(log, &[server]).unwrap(), expected);
        assert!(Statistics::read(log, &[IpAddr::from([10, 77, 0, 3])]).is_err());
    }
}
