//! Real DNS clients in a pod, and the counts that they print: `dig`, `dnsperf`, and the resolvers of glibc, musl, c-ares and Go.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::Tally;
use crate::lab::{
    files::Files,
    machine,
    process::Process,
    scaled,
    topology::{Outcome, Pod},
};

/// How long a client may take in all.
fn limit() -> Duration {
    scaled(Duration::from_secs(40), Duration::from_secs(240))
}

/// Arguments with which `dig` sends each query once and waits as long as a scenario may take.
pub(crate) const ONE_TRY: [&str; 2] = ["+tries=1", "+timeout=200"];

/// The counts of `dig`, from its output.
#[derive(Debug, Default)]
pub(crate) struct Dug {
    /// Answers by code.
    pub(crate) answers: Tally,
    /// Queries that timed out.
    pub(crate) timed_out: u64,
    /// Queries to a port where no server listens.
    pub(crate) refused: u64,
    /// Truncated answers, after which it asked again over TCP; not among the answers.
    pub(crate) truncated: u64,
    /// The latency of each answer in milliseconds.
    pub(crate) took_ms: Vec<u64>,
}

impl Dug {
    fn read(output: &str) -> Result<Self> {
        let mut dug = Self::default();
        for line in output.lines() {
            if let Some((_, rest)) = line.split_once(", status: ") {
                let code = rest.split(',').next().unwrap_or_default();
                dug.answers.add(code, 1);
            } else if let Some(rest) = line.strip_prefix(";; Query time: ") {
                let number = rest.split(' ').next().unwrap_or_default();
                dug.took_ms.push(number.parse().with_context(|| format!("reading {line:?}"))?);
            } else if line.starts_with(";; communications error") {
                ensure!(line.ends_with("timed out") || line.ends_with("refused"), "{line}");
                let count = if line.ends_with("refused") { &mut dug.refused } else { &mut dug.timed_out };
                *count += 1;
            } else if line.starts_with(";; Truncated, retrying in TCP mode") {
                dug.truncated += 1;
            }
        }
        Ok(dug)
    }

    /// All queries that it sent.
    pub(crate) fn queries(&self) -> u64 {
        self.answers.all() + self.timed_out + self.refused + self.truncated
    }

    /// Fails unless every query was answered, with these codes.
    pub(crate) fn expect(&self, answers: &[(&str, u64)]) -> Result<()> {
        let expected = Tally::of(answers.iter().copied());
        ensure!(
            self.answers == expected && (self.timed_out, self.refused) == (0, 0),
            "not {expected:?} but {self:?}"
        );
        Ok(())
    }
}

/// A running `dig`.
pub(crate) struct Dig {
    process: Process,
}

impl Dig {
    /// Starts `dig`, which asks `server` one thing after the other: names, types and options as on its command line.
    pub(crate) fn start(pod: &Pod, server: SocketAddr, args: &[&str]) -> Result<Self> {
        let mut command = pod.command("dig")?;
        command.arg("-r").arg("+noall").arg("+comments").arg("+stats");
        command.arg(format!("@{}", server.ip())).arg("-p").arg(server.port().to_string()).args(args);
        Ok(Self { process: Process::spawn("dig", &mut command)? })
    }

    /// Waits for its end. Its exit code says that a server did not answer; so does its output.
    pub(crate) fn finish(self) -> Result<Dug> {
        let end = self.process.finish_within(limit())?;
        ensure!(matches!(end.status.code(), Some(0 | 9)), "dig: {end:?}");
        Dug::read(&end.stdout).with_context(|| format!("dig: {end:?}"))
    }
}

/// Runs `dig` to its end.
pub(crate) fn dig(pod: &Pod, server: SocketAddr, args: &[&str]) -> Result<Dug> {
    Dig::start(pod, server, args)?.finish()
}

/// The counts of `dnsperf`, from its output.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) lost: u64,
}

/// Has `dnsperf` ask for the IPv4 addresses of `count` names in `many.test`, none twice.
pub(crate) fn dnsperf(pod: &Pod, server: SocketAddr, count: u64, args: &[&str]) -> Result<Load> {
    let names: String = (0..count).map(|number| format!("n{number}.many.test A\n")).collect();
    let mut command = pod.command("dnsperf")?;
    command.arg("-s").arg(server.ip().to_string()).arg("-p").arg(server.port().to_string());
    let said = run("dnsperf", command.args(["-n", "1"]).args(args), &names)?;
    let number = |what: &str| {
        let rest = said.lines().find_map(|line| line.trim().strip_prefix(what))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let [sent, completed, lost] = ["Queries sent:", "Queries completed:", "Queries lost:"]
        .map(|what| number(what).with_context(|| format!("no {what} in\n{said}")));
    Ok(Load { sent: sent?, completed: completed?, lost: lost? })
}

/// What Go's resolver said of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ByGo {
    pub(crate) resolved: u64,
    pub(crate) absent: u64,
}

/// A pod's `/etc`, as far as resolvers read it.
pub(crate) struct Resolver<'a> {
    pod: &'a Pod,
    etc: Files,
}

impl<'a> Resolver<'a> {
    /// Asks these servers, in this order; `more` are further lines of `resolv.conf`.
    pub(crate) fn new(pod: &'a Pod, servers: &[IpAddr], more: &str) -> Result<Self> {
        let etc = Files::new(pod, "etc")?;
        let servers: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        etc.write("resolv.conf", &format!("{servers}{more}\n"))?;
        etc.write("nsswitch.conf", "hosts: files dns\n")?;
        etc.write("hosts", "127.0.0.1 localhost\n")?;
        Ok(Self { pod, etc })
    }

    /// Calls glibc's `getaddrinfo` for each name: an A and an AAAA query, at the same time and from the same port.
    pub(crate) fn resolve(&self, names: &[&str]) -> Result<Outcome> {
        let mut command = self.command(&machine()?.exe)?;
        Outcome::read(&run("getaddrinfo", command.args(["traffic", "dns-resolve"]).args(names), "")?)
    }

    /// The same with a program out of `tests/resolvers`.
    pub(crate) fn resolve_by(&self, program: &str, names: &[&str]) -> Result<Outcome> {
        Outcome::read(&run(program, self.command(program)?.args(names), "")?)
    }

    /// Has Go's resolver, in a program that nothing answers, look up these names one after the other; its errors say with which
    /// outcome.
    pub(crate) fn resolve_by_go(&self, names: &[&str]) -> Result<ByGo> {
        let mut outcome = ByGo::default();
        for name in names {
            let mut command = self.command("promtool")?;
            command.args(["query", "instant", &format!("http://{name}:9"), "up"]);
            command.env("GODEBUG", "netdns=go").env("NO_PROXY", "*");
            let end = Process::run_within(limit(), "promtool", &mut command, "")?;
            // The pods have no way out of their network, so no address of a name can be reached.
            if end.stderr.contains("network is unreachable") {
                outcome.resolved += 1;
            } else if end.stderr.contains("no such host") {
                outcome.absent += 1;
            } else {
                anyhow::bail!("promtool, asked for {name}: {end:?}");
            }
        }
        Ok(outcome)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        self.pod.command_over(&[(self.etc.path(), "/etc")], None, program)
    }

    /// Fails unless every name has addresses.
    pub(crate) fn resolve_all(&self, names: &[&str]) -> Result<()> {
        let outcome = self.resolve(names)?;
        ensure!(outcome.count("resolved") == names.len() as u64, "of {names:?}: {outcome:?}");
        Ok(())
    }
}

fn run(name: &str, command: &mut Command, input: &str) -> Result<String> {
    Process::run_within(limit(), name, command, input)?.success().with_context(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_dig_is_read() {
        let dug = Dug::read(
            ";; Truncated, retrying in TCP mode.\n;; Got answer:\n\
             ;; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 47288\n;; Query time: 12 msec\n\
             ;; communications error to 10.0.0.1#53: timed out\n\
             ;; communications error to 10.0.0.1#53: connection refused\n",
        )
        .unwrap();
        assert_eq!(dug.answers, Tally::of([("NXDOMAIN", 1)]));
        assert_eq!((dug.timed_out, dug.refused, dug.truncated), (1, 1, 1));
        assert_eq!(dug.took_ms, [12]);
        assert_eq!(dug.queries(), 4);
        assert!(dug.expect(&[("NXDOMAIN", 1)]).is_err());
        assert!(Dug::read(";; communications error to 10.0.0.1#53: end of file\n").is_err());
    }
}
