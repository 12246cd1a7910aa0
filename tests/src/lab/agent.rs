//! The agent under test: the real binary, started in the machine's own network namespace, asked over HTTP.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::Signal;

use super::{
    cgroup::Cgroup,
    eventually, eventually_within, machine,
    metrics::{Metrics, SKIPPED_RUNS},
    namespace::{Namespace, connect_in, tethered},
    process::Process,
    scaled, timeout,
};

/// Whether a program can be started in a PID namespace of its own, by trying it.
pub(crate) fn can_have_own_pids() -> bool {
    let mut command = Command::new(OWN_PIDS[0]);
    Process::run("unshare", command.args(&OWN_PIDS[1..]).arg("true"), "")
        .is_ok_and(|end| end.status.success())
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    process: Process,
    address: SocketAddr,
    cgroup: Cgroup,
    /// Written for this agent, removed with it.
    config: Option<PathBuf>,
    /// The network namespace that it listens in, if it is not the lab's own.
    within: Option<File>,
}

/// How an agent is started.
#[derive(Default)]
pub(crate) struct Options<'a> {
    pub(crate) args: &'a [&'a str],
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// The text of a configuration file.
    pub(crate) config: Option<&'a str>,
    /// Without the DNS programs, which take the verifier longer than all others together: half of a start in a VM.
    pub(crate) without_dns: bool,
    /// In a PID namespace of its own, where it sees no process but itself.
    pub(crate) own_pids: bool,
    /// In this network namespace, as if it were the node's; its loopback device must be up.
    pub(crate) within: Option<&'a Namespace>,
    /// Where it listens, if not at a free port of loopback.
    pub(crate) listen: Option<SocketAddr>,
}

/// The command that runs its arguments in a new PID namespace with its own `/proc`.
const OWN_PIDS: [&str; 4] = ["unshare", "-p", "-f", "--mount-proc"];

/// The agent's binary: `$NETCAUSE_BIN`, or `netcause` beside this binary.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("NETCAUSE_BIN") {
        Some(path) => PathBuf::from(path),
        None => machine()?.exe.with_file_name("netcause"),
    };
    ensure!(
        path.is_file(),
        "there is no agent to test at {}: build it (`cargo xtask build`), or say where it is with NETCAUSE_BIN",
        path.display()
    );
    Ok(path)
}

/// A command line of the agent's binary that dies with the lab and inherits none of its configuration.
pub(crate) fn command(cgroup: Option<&Cgroup>, own_pids: bool) -> Result<Command> {
    command_within(None, cgroup, own_pids)
}

fn command_within(within: Option<&Namespace>, cgroup: Option<&Cgroup>, own_pids: bool) -> Result<Command> {
    let mut command = tethered(within.map(Namespace::pid), cgroup.map(Cgroup::path), &[])?;
    if own_pids {
        // Tied to `unshare` in its turn, which in there has the number 0.
        command.args(OWN_PIDS).arg(&machine()?.exe).args(["in-pod", "--parent", "0", "--"]);
    }
    command.arg(binary()?);
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("NETCAUSE_")) {
        command.env_remove(key);
    }
    Ok(command)
}

impl Agent {
    /// Starts an agent of the scenario's own and waits until it is ready.
    pub(crate) fn start(scenario: &str, name: &str, options: &Options<'_>) -> Result<Self> {
        let cgroup = Cgroup::new(scenario, name)?;
        let mut command = command_within(options.within, Some(&cgroup), options.own_pids)?;
        let listen = options.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        command
            .args(["agent", "--listen", &listen.to_string()])
            .args(options.args)
            .envs(options.env.iter().copied());
        let mut text = options.config.unwrap_or_default().to_owned();
        if options.without_dns {
            text.push_str("dns_ports: []\n");
        }
        let config = match &*text {
            "" => None,
            text => {
                let path = std::env::temp_dir().join(format!("{}.yaml", cgroup.name()));
                fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
                command.arg("--config").arg(&path);
                Some(path)
            }
        };
        let within = options.within.map(Namespace::open).transpose()?;
        Self::begin_within(cgroup, config, within, &mut command)
    }

    /// Starts an agent with this command line and waits until it is ready.
    pub(crate) fn begin(cgroup: Cgroup, config: Option<PathBuf>, command: &mut Command) -> Result<Self> {
        Self::begin_within(cgroup, config, None, command)
    }

    fn begin_within(
        cgroup: Cgroup,
        config: Option<PathBuf>,
        within: Option<File>,
        command: &mut Command,
    ) -> Result<Self> {
        let process = Process::spawn("the agent", command)?;
        let (is_guarded, address) = process.wait_stderr("the address of /metrics", metrics_address)?;
        let agent = Self { process, address, cgroup, config, within };
        if is_guarded {
            // Whoever has the certificates asks it.
            return Ok(agent);
        }
        eventually("the agent is ready", || {
            let status = agent.get("/readyz", "*/*")?.status;
            ensure!(status == 200, "/readyz says {status}:\n{}", agent.log());
            Ok(())
        })?;
        Ok(agent)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last lines of its log, for error messages.
    pub(crate) fn log(&self) -> String {
        self.process.said()
    }

    /// One plain HTTP request.
    pub(crate) fn get(&self, path: &str, accept: &str) -> Result<Response> {
        let ask = || -> Result<Response> {
            let mut stream = match &self.within {
                Some(namespace) => connect_in(namespace, self.address)?,
                None => TcpStream::connect(self.address)?,
            };
            stream.set_read_timeout(Some(timeout()))?;
            let host = self.address;
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Response::parse(&text)
        };
        ask().with_context(|| {
            let state = if self.process.is_running() { "runs" } else { "is dead" };
            format!("asking the agent (it {state}) for {path}; its log:\n{}", self.log())
        })
    }

    /// One scrape, as Prometheus text 0.0.4.
    pub(crate) fn scrape(&self) -> Result<Metrics> {
        let response = self.get("/metrics", "text/plain;version=0.0.4")?;
        ensure!(response.status == 200, "/metrics says {}:\n{}", response.status, response.body);
        Metrics::parse(&response.body)
    }

    /// Scrapes until `check` holds, and once more to see that it stays so.
    pub(crate) fn until(&self, what: &str, check: impl Fn(&Metrics) -> Result<()>) -> Result<()> {
        self.until_within(timeout(), what, check)
    }

    /// As [`Self::until`], with a deadline of its own.
    pub(crate) fn until_within(
        &self,
        limit: Duration,
        what: &str,
        check: impl Fn(&Metrics) -> Result<()>,
    ) -> Result<()> {
        eventually_within(limit, what, || check(&self.scrape()?)).with_context(|| self.skipped())?;
        thread::sleep(Duration::from_millis(20));
        check(&self.scrape()?).with_context(|| format!("this was true, but did not stay true: {what}"))
    }

    /// Waits until sweeps have begun and ended since now.
    pub(crate) fn sweep_again(&self) -> Result<()> {
        let count = |metrics: &Metrics| metrics.sum("netcause_sweep_duration_seconds_count", &[]);
        let before = count(&self.scrape()?);
        // The first one that ends may have begun before now.
        eventually("two sweeps", || {
            let swept = count(&self.scrape()?) - before;
            ensure!(swept >= 2.0, "only {swept} sweeps");
            Ok(())
        })
    }

    /// Runs of the agent's programs that the kernel skipped because the same program was running on that CPU already
    /// (`recursion_misses`, kernel 5.12 on): the agent has no way to see what happened then.
    fn skipped(&self) -> String {
        let skipped =
            |metrics: Metrics| metrics.list(|sample| sample.name == SKIPPED_RUNS && sample.value != 0.0);
        format!("runs skipped by the kernel:\n{}", self.scrape().map(skipped).unwrap_or_default())
    }

    /// Sends a signal and nothing else.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it with `signal`; it must exit with 0 within a second (five in an emulated VM).
    pub(crate) fn stop(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)?;
        let status = self.process.wait(Duration::from_secs(scaled(1, 5)))?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", self.log());
        Ok(())
    }

    fn tidy(&self) {
        self.cgroup.remove();
        if let Some(config) = &self.config {
            // In the temporary directory: a leftover does no harm.
            let _ = fs::remove_file(config);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.tidy();
    }
}

/// Finds `http://ADDRESS/metrics` or `https://ADDRESS/metrics` in a line of the log; with TLS or not.
fn metrics_address(line: &str) -> Option<(bool, SocketAddr)> {
    let (before, rest) = line.split_once("://")?;
    let (address, _) = rest.split_once("/metrics")?;
    Some((before.ends_with("https"), address.parse().ok()?))
}

/// The answer to one request.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Response {
    fn parse(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the headers")?;
        let status = head.split_whitespace().nth(1).context("no status")?.parse().context("no status")?;
        let mut content_type = String::new();
        for line in head.lines().skip(1) {
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            match name.to_ascii_lowercase().as_str() {
                "content-type" => value.trim().clone_into(&mut content_type),
                "transfer-encoding" => bail!("{}: the lab reads whole bodies only", line.trim()),
                _ => {}
            }
        }
        Ok(Self { status, content_type, body: body.to_owned() })
    }
}

/// Where the shared agent records to, if it does.
static RECORD_TO: OnceLock<String> = OnceLock::new();

/// Takes `--record-to DIR` out of the arguments: the agent that scenarios share records into the directory.
pub(crate) fn take_record_to(args: &[String]) -> Result<Vec<String>> {
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--record-to" {
            let directory = args.next().context("--record-to DIR: there is no directory")?;
            // Once: it is read when the agent starts.
            let _ = RECORD_TO.set(directory.clone());
        } else {
            rest.push(arg.clone());
        }
    }
    Ok(rest)
}

static SHARED: OnceLock<Result<Agent, String>> = OnceLock::new();

/// The settings of the shared agent that are not defaults: it sweeps at every scrape and reads the node every second, because
/// scenarios wait for that, and has room for the edges of all scenarios.
pub(crate) const SHARED_ENV: [(&str, &str); 3] =
    [("NETCAUSE_SWEEP_CPU_PERCENT", "100"), ("NETCAUSE_NODE_INTERVAL_SECONDS", "1"), ROOM];

/// Room for the edges of all scenarios, of this lab and others: an agent sees them all.
pub(crate) const ROOM: (&str, &str) = ("NETCAUSE_MAX_SERIES", "1000000");

/// The agent that most scenarios share, started when the first one asks for it: one agent sees the whole machine, so a
/// scenario finds its own pods in it by their names.
pub(crate) fn shared() -> Result<&'static Agent> {
    SHARED
        .get_or_init(|| {
            // The kernel ties a child's life to the thread that made it, so the agent's is one that never ends.
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                // The edges of earlier scenarios would only make scrapes longer.
                let mut args = vec!["--flow-idle-seconds", scaled("120", "300")];
                if let Some(directory) = RECORD_TO.get() {
                    args.extend(["--record", directory]);
                }
                let options = Options { args: &args, env: &SHARED_ENV, ..Options::default() };
                let agent = Agent::start("shared", "agent", &options);
                if sender.send(agent.map_err(|error| format!("{error:#}"))).is_ok() {
                    loop {
                        thread::park();
                    }
                }
            });
            receiver.recv().unwrap_or_else(|_| Err("the thread that starts the agent died".to_owned()))
        })
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Ends the shared agent, if there is one, and checks that it lost no events.
pub(crate) fn stop_shared() -> Result<()> {
    let Some(Ok(agent)) = SHARED.get() else { return Ok(()) };
    let ended =
        agent.scrape().and_then(|metrics| metrics.expect_nothing_lost()).and(agent.stop(Signal::TERM));
    agent.tidy();
    ended.context("the agent that the scenarios shared")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let line = "2026-01-01T00:00:00Z  INFO netcause: serving metrics at http://127.0.0.1:4711/metrics";
        let address = SocketAddr::from(([127, 0, 0, 1], 4711));
        assert_eq!(metrics_address(line), Some((false, address)));
        assert_eq!(metrics_address(&line.replace("http:", "https:")), Some((true, address)));
        assert_eq!(metrics_address("starting"), None);
    }

    #[test]
    fn responses_are_read() {
        let response = Response::parse("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\n").unwrap();
        assert_eq!(
            (response.status, response.content_type.as_str(), response.body.as_str()),
            (200, "text/plain", "a 1\n")
        );
        assert!(Response::parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
