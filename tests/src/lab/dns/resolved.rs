//! systemd-resolved in a pod, in a container of its own: the stub resolver that programs ask at 127.0.0.53. It runs without D-Bus,
//! where `resolvectl statistics` is; its log has every query.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::Tally;
use crate::lab::{cgroup::Cgroup, files::Files, process::Process, scaled, topology::Pod};

/// Where it is asked.
pub(crate) const STUB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// A running resolver; killed when dropped.
pub(crate) struct Resolved {
    process: Process,
    cgroup: Cgroup,
    _etc: Files,
    _run: Files,
}

/// The counts of a resolver, from its log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// Queries of its clients by type.
    pub(crate) asked: Tally,
    /// Those of them over TCP.
    pub(crate) asked_over_tcp: u64,
    /// Queries that it sent.
    pub(crate) sent: u64,
    /// Answers to them by code.
    pub(crate) answers: Tally,
    /// Answers that were truncated.
    pub(crate) truncated: u64,
}

impl Resolved {
    /// Starts one, without a cache, that asks this server, and waits until it serves.
    pub(crate) fn start(scenario: &str, pod: &Pod, server: IpAddr) -> Result<Self> {
        let (etc, run) = (Files::new(pod, "resolved-etc")?, Files::new(pod, "resolved-run")?);
        for directory in [etc.path(), run.path()] {
            fs::create_dir(directory.join("systemd")).context("making a directory of systemd")?;
        }
        etc.write(
            "systemd/resolved.conf",
            &format!(
                "[Resolve]\nDNS={server}\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\nDNSSEC=no\nDNSOverTLS=no\nCache=no\n"
            ),
        )?;
        // Its user is root: a change of the user would end the tie to the lab's life.
        etc.write("passwd", "root:x:0:0:root:/:/bin/sh\nsystemd-resolve:x:0:0::/:/bin/false\n")?;
        etc.write("group", "root:x:0:\n")?;
        let cgroup = Cgroup::new(scenario, "resolved")?;
        let over = [(etc.path(), "/etc"), (run.path(), "/run")];
        let mut command = pod.command_over(&over, Some(cgroup.path()), "systemd-resolved")?;
        command.env("SYSTEMD_LOG_LEVEL", "debug").env("SYSTEMD_LOG_TARGET", "console");
        let process = Process::spawn("systemd-resolved", &mut command)?;
        process.wait_stderr("its stub", |line| line.contains("Creating stub listener").then_some(()))?;
        Ok(Self { process, cgroup, _etc: etc, _run: run })
    }

    /// Its name in the agent's metrics.
    pub(crate) fn workload(&self) -> &str {
        self.cgroup.name()
    }

    /// Ends it and reads its log.
    pub(crate) fn finish(self) -> Result<Log> {
        self.process.signal(Signal::TERM)?;
        let end = self.process.finish_within(Duration::from_secs(scaled(10, 60)))?;
        ensure!(end.status.success(), "systemd-resolved ended with {}:\n{}", end.status, end.stderr);
        Ok(Log::read(&end.stderr))
    }
}

impl Log {
    fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            if let Some(question) = line.strip_prefix("Looking up RR for ") {
                // `web.lab.test IN A.`
                log.asked.add(question.trim_end_matches('.').rsplit(' ').next().unwrap_or_default(), 1);
            } else if line.starts_with("Got DNS stub TCP query packet") {
                log.asked_over_tcp += 1;
            } else if line.starts_with("Using feature level ") {
                log.sent += 1;
            } else if line.starts_with("Processing incoming packet ") {
                let code = line
                    .rsplit_once("(rcode=")
                    .map(|(_, code)| code.trim_end_matches(")."))
                    .unwrap_or_default();
                log.answers.add(if code == "SUCCESS" { "NOERROR" } else { code }, 1);
            } else if line.starts_with("Reply truncated") {
                log.truncated += 1;
            }
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_queries_and_answers() {
        let log = Log::read(
            "Got DNS stub UDP query packet for id 7\nLooking up RR for web.lab.test IN A.\n\
             Using feature level UDP+EDNS0 for transaction 1.\n\
             Processing incoming packet of size 43 on transaction 1 (rcode=SUCCESS).\n\
             Reply truncated, retrying via TCP.\nUsing feature level UDP+EDNS0 for transaction 1.\n\
             Processing incoming packet of size 1996 on transaction 1 (rcode=SUCCESS).\n\
             Got DNS stub TCP query packet for id 8\nLooking up RR for x.test IN AAAA.\n\
             Using feature level UDP for transaction 2.\n\
             Processing incoming packet of size 34 on transaction 2 (rcode=NXDOMAIN).\n",
        );
        let expected = Log {
            asked: Tally::of([("A", 1), ("AAAA", 1)]),
            asked_over_tcp: 1,
            sent: 3,
            answers: Tally::of([("NOERROR", 2), ("NXDOMAIN", 1)]),
            truncated: 1,
        };
        assert_eq!(log, expected);
    }
}
