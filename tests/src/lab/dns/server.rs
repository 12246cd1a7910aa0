//! A real DNS server in a pod: unbound, with a zone of its own, whose log confirms every count.

use std::{fmt::Write as _, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::{PORT, Tally};
use crate::lab::{files::Files, process::Process, scaled, topology::Pod};

/// The zones of every server of the lab; other names do not exist.
///
/// `lab.test` has a record of every type, `many.test` an address for every name in it, `refused.test` is refused,
/// `failing.test` has no server that could be asked, and nothing is ever said of `dropped.test`.
const ZONES: &str = r#"
  local-zone: "." static
  local-zone: "refused.test." refuse
  local-zone: "dropped.test." deny
  local-zone: "failing.test." transparent
  local-zone: "many.test." redirect
  local-data: "many.test. 60 IN A 192.0.2.77"
  local-zone: "lab.test." static
  local-data: "lab.test. 60 IN SOA ns.lab.test. root.lab.test. 1 3600 600 86400 60"
  local-data: "lab.test. 60 IN NS ns.lab.test."
  local-data: "lab.test. 60 IN MX 10 web.lab.test."
  local-data: "lab.test. 60 IN TXT text"
  local-data: "lab.test. 60 IN CAA 0 issue ca.test"
  local-data: "_http._tcp.lab.test. 60 IN SRV 0 0 80 web.lab.test."
  local-data: "alias.lab.test. 60 IN CNAME web.lab.test."
  local-data: "web.lab.test. 60 IN A 192.0.2.1"
  local-data: "web.lab.test. 60 IN AAAA 2001:db8::1"
  local-data: "web.lab.test. 60 IN HTTPS 1 . alpn=h2"
  local-data: "only4.lab.test. 60 IN A 192.0.2.4"
  local-zone: "2.0.192.in-addr.arpa." static
  local-data-ptr: "192.0.2.1 web.lab.test"
  local-zone: "cluster.local." static
  local-data: "web.here.svc.cluster.local. 60 IN A 192.0.2.9"
  local-data: "web.here.svc.cluster.local. 60 IN AAAA 2001:db8::9"
"#;

/// Bytes of text of `big.lab.test`: more than fits a message without EDNS (RFC 1035 §4.2.1), less than one with.
const BIG_TEXT: usize = 3 * 220;

/// How a server is started.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// Where to listen; nothing: at the pod's addresses of both families.
    pub(crate) listen: &'a [IpAddr],
    /// The port, if not 53.
    pub(crate) port: Option<u16>,
    /// Another container of the pod: in this cgroup instead of the pod's.
    pub(crate) cgroup: Option<&'a Path>,
    /// Forward every query to this server and cache nothing: a stub.
    pub(crate) forward: Option<IpAddr>,
    /// Refuse everything.
    pub(crate) refuses: bool,
    /// Write no log: for many queries.
    pub(crate) silent: bool,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    process: Process,
    /// Of its configuration.
    _files: Files,
}

/// The counts of a server, from its log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// Queries by type.
    pub(crate) queries: Tally,
    /// Answers by code.
    pub(crate) answers: Tally,
}

impl Server {
    /// Starts a server at the pod's own addresses.
    pub(crate) fn start(pod: &Pod) -> Result<Self> {
        Self::start_with(pod, &Options::default())
    }

    /// Starts a server and waits until it serves.
    pub(crate) fn start_with(pod: &Pod, options: &Options<'_>) -> Result<Self> {
        let port = options.port.unwrap_or(PORT);
        let files = Files::new(pod, &format!("unbound-{port}"))?;
        let config = files.write("unbound.conf", &config(pod, port, options))?;
        let mut command = match options.cgroup {
            Some(cgroup) => pod.command_in(cgroup, "unbound")?,
            None => pod.command("unbound")?,
        };
        let process = Process::spawn("unbound", command.arg("-d").arg("-c").arg(config))?;
        process.wait_stderr("its service", |line| line.contains("start of service").then_some(()))?;
        Ok(Self { process, _files: files })
    }

    /// Stops the server's process: queries wait, as in a server that gets no CPU time.
    pub(crate) fn pause(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Continues it, so that it answers the queries that wait.
    pub(crate) fn resume(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Ends it and reads its log.
    pub(crate) fn finish(self) -> Result<Log> {
        self.process.signal(Signal::TERM)?;
        let end = self.process.finish_within(Duration::from_secs(scaled(5, 60)))?;
        ensure!(end.status.success(), "unbound ended with {}:\n{}", end.status, end.stderr);
        let mut log = Log::default();
        for line in end.stderr.lines() {
            log.take(line).with_context(|| format!("reading unbound's {line:?}"))?;
        }
        Ok(log)
    }
}

impl Log {
    /// Takes a line: `... info: CLIENT NAME TYPE CLASS` is a query; with the code and more after that it is an answer.
    fn take(&mut self, line: &str) -> Result<()> {
        let Some((_, message)) = line.split_once(" info: ") else { return Ok(()) };
        let words: Vec<&str> = message.split(' ').collect();
        if words.first().is_none_or(|word| word.parse::<IpAddr>().is_err()) {
            return Ok(());
        }
        match words[..] {
            [_, _, kind, "IN"] => self.queries.add(kind, 1),
            [_, _, _, "IN", code, ..] => self.answers.add(code, 1),
            _ => anyhow::bail!("neither a query nor an answer"),
        }
        Ok(())
    }
}

fn config(pod: &Pod, port: u16, options: &Options<'_>) -> String {
    let own = [IpAddr::V4(pod.v4), IpAddr::V6(pod.v6)];
    let listen = if options.listen.is_empty() { &own[..] } else { options.listen };
    let log = if options.silent { "no" } else { "yes" };
    // Few outgoing ports: unbound shuffles all of them when it starts, with a system call for each.
    let mut text = format!(
        r#"server:
  chroot: ""
  username: ""
  directory: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  log-queries: {log}
  log-replies: {log}
  verbosity: 1
  num-threads: 1
  outgoing-range: 64
  outgoing-port-avoid: 0-65535
  outgoing-port-permit: 20000-20255
  msg-cache-size: 64k
  rrset-cache-size: 64k
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  module-config: "iterator"
  access-control: 0.0.0.0/0 allow
  access-control: ::0/0 allow
  so-rcvbuf: 1m
"#
    );
    // Writing to a string cannot fail.
    for address in listen {
        let _ = writeln!(text, "  interface: {address}@{port}");
    }
    match options.forward {
        Some(server) => {
            // Forward the names that unbound would answer itself.
            let _ = writeln!(text, "  local-zone: \"test.\" nodefault");
            let _ = writeln!(text, "forward-zone:\n  name: \".\"\n  forward-addr: {server}");
        }
        // `test.` has a zone of its own by default.
        None if options.refuses => text.push_str("  local-zone: \"test.\" refuse\n"),
        None => {
            text.push_str(ZONES);
            for letter in ["a", "b", "c"] {
                let words = letter.repeat(BIG_TEXT / 3);
                let _ = writeln!(text, "  local-data: \"big.lab.test. 60 IN TXT {words}\"");
            }
            // unbound never forwards to loopback, so this zone has no server.
            text.push_str("forward-zone:\n  name: \"failing.test.\"\n  forward-addr: 127.0.0.1\n");
        }
    }
    text.push_str("remote-control:\n  control-enable: no\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_queries_and_answers() {
        let mut log = Log::default();
        for line in [
            "[1] unbound[2:0] notice: init module 0: iterator",
            "[1] unbound[2:0] info: start of service (unbound 1.17.1).",
            "[1] unbound[2:0] info: 10.0.0.1 a.test. A IN",
            "[1] unbound[2:0] info: 10.0.0.1 a.test. A IN NXDOMAIN 0.000000 1 86",
            "[1] unbound[2:0] info: ::1 a.test. AAAA IN",
        ] {
            log.take(line).unwrap();
        }
        assert_eq!(log.queries, Tally::of([("A", 1), ("AAAA", 1)]));
        assert_eq!(log.answers, Tally::of([("NXDOMAIN", 1)]));
    }
}
