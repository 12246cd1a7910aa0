//! NSD in a pod: an authoritative server that counts queries and answers itself.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::Tally;
use crate::lab::{files::Files, process::Process, scaled, topology::Pod};

/// The zone `test`; other names in it do not exist. Beside it the server has the zone `failing.test` without its records, so that
/// all queries there fail.
const ZONE: &str = "\
$TTL 60
@ IN SOA ns root 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.53
web.lab IN A 192.0.2.1
web.lab IN AAAA 2001:db8::1
only4.lab IN A 192.0.2.4
";
/// Addresses of `wide.lab.test` and `wider.lab.test`: more than fit a message without EDNS (512 bytes, RFC 1035 §4.2.1), and more
/// than fit one with EDNS as resolvers ask for it (1232 bytes and more).
const WIDE: u8 = 40;
const WIDER: u8 = 120;

/// A running server; killed when dropped.
pub(crate) struct Nsd<'a> {
    pod: &'a Pod,
    process: Process,
    files: Files,
}

/// The counts of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Queries by type.
    pub(crate) queries: Tally,
    /// Answers by code, truncated ones included.
    pub(crate) answers: Tally,
    pub(crate) truncated: u64,
    /// Queries over TCP.
    pub(crate) over_tcp: u64,
}

impl<'a> Nsd<'a> {
    /// Starts a server at the pod's address of IPv4 and waits until it serves.
    pub(crate) fn start(pod: &'a Pod) -> Result<Self> {
        let files = Files::new(pod, "nsd")?;
        let mut zone = ZONE.to_owned();
        for (name, count) in [("wide", WIDE), ("wider", WIDER)] {
            for last in 1..=count {
                // Writing to a string cannot fail.
                let _ = writeln!(zone, "{name}.lab IN A 198.51.100.{last}");
            }
        }
        let zone = files.write("zone", &zone)?;
        let directory = files.path().display();
        // Without a limit of the same answers to the same network.
        let config = format!(
            r#"server:
  server-count: 1
  ip-address: {}
  username: ""
  chroot: ""
  zonesdir: ""
  database: ""
  pidfile: ""
  xfrdfile: ""
  xfrdir: "{directory}"
  zonelistfile: "{directory}/zone.list"
  rrl-ratelimit: 0
remote-control:
  control-enable: yes
  control-interface: "{directory}/control"
zone:
  name: "test"
  zonefile: "{}"
zone:
  name: "failing.test"
  zonefile: "{directory}/absent"
"#,
            pod.v4,
            zone.display()
        );
        let config = files.write("nsd.conf", &config)?;
        let mut command = pod.command("nsd")?;
        let process = Process::spawn("nsd", command.arg("-d").arg("-c").arg(config))?;
        process.wait_stderr("its service", |line| line.contains("nsd started").then_some(()))?;
        Ok(Self { pod, process, files })
    }

    /// Reads its counts and ends it.
    pub(crate) fn finish(self) -> Result<Statistics> {
        let config = self.files.path().join("nsd.conf");
        let said = self.pod.run("nsd-control", &["-c", &config.to_string_lossy(), "stats"], "")?;
        self.process.signal(Signal::TERM)?;
        let end = self.process.finish_within(Duration::from_secs(scaled(10, 60)))?;
        ensure!(end.status.success(), "nsd ended with {}:\n{}", end.status, end.stderr);
        Statistics::read(&said)
    }
}

impl Statistics {
    /// Reads lines `num.type.A=3`.
    fn read(text: &str) -> Result<Self> {
        let mut statistics = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let Some(name) = name.strip_prefix("num.") else { continue };
            let value = value.parse().with_context(|| format!("nsd says {name}={value}"))?;
            match name.split_once('.') {
                Some(("type", kind)) => statistics.queries.add(kind, value),
                Some(("rcode", code)) => statistics.answers.add(code, value),
                None if name == "truncated" => statistics.truncated = value,
                None if name == "tcp" || name == "tcp6" => statistics.over_tcp += value,
                _ => {}
            }
        }
        let (queries, answers) = (statistics.queries.all(), statistics.answers.all());
        ensure!(queries == answers, "nsd has {queries} queries and {answers} answers:\n{text}");
        Ok(statistics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read() {
        let text = "server0.queries=3\nnum.queries=3\ntime.boot=5.7\nnum.type.A=2\nnum.type.AAAA=1\nnum.type.NS=0\n\
                    num.rcode.NOERROR=2\nnum.rcode.NXDOMAIN=1\nnum.udp=2\nnum.tcp=1\nnum.truncated=1\n";
        let statistics = Statistics::read(text).unwrap();
        assert_eq!(statistics.queries, Tally::of([("A", 2), ("AAAA", 1)]));
        assert_eq!(statistics.answers, Tally::of([("NOERROR", 2), ("NXDOMAIN", 1)]));
        assert_eq!((statistics.truncated, statistics.over_tcp), (1, 1));
        assert!(Statistics::read("num.type.A=1\n").is_err(), "a query without an answer");
        assert!(Statistics::read("num.type.A=x\n").is_err());
    }
}
