//! The daemon as a program: how it starts, what it refuses, how it ends.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{
    agent::{self, Agent, Options},
    eventually, faults,
    metrics::{CLOSED, Edge, OPENED},
    process::{Finished, Process},
    topology::Net,
};

/// SIGTERM ends the agent at once and cleanly, and leaves nothing in the kernel.
pub(super) fn sigterm(name: &str) -> Result<()> {
    ends_cleanly(name, Signal::TERM)
}

/// SIGINT ends the agent at once and cleanly, and leaves nothing in the kernel.
pub(super) fn sigint(name: &str) -> Result<()> {
    ends_cleanly(name, Signal::INT)
}

fn ends_cleanly(name: &str, signal: Signal) -> Result<()> {
    let agent = Agent::start(name, "agent", &Options::default())?;
    let programs = programs_of(agent.pid())?;
    ensure!(!programs.is_empty(), "the agent holds no BPF program");
    agent.stop(signal)?;
    let pinned = fs::read_dir("/sys/fs/bpf").map(|entries| {
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("netcause")).collect::<Vec<_>>()
    });
    ensure!(pinned.as_ref().map_or(true, Vec::is_empty), "pinned: {pinned:?}");
    if !faults::has_program("bpftool", "--version") {
        // Nothing pinned and no process left: the kernel has let go of everything.
        return Ok(());
    }
    eventually("the kernel has none of its programs", || {
        let said = Process::run("bpftool", Command::new("bpftool").args(["prog", "show", "--json"]), "")?
            .success()?;
        let all: serde_json::Value = serde_json::from_str(&said).context("reading bpftool")?;
        let ids = all.as_array().into_iter().flatten().filter_map(|program| program.get("id")?.as_u64());
        let left: Vec<u64> = ids.filter(|id| programs.contains(id)).collect();
        ensure!(left.is_empty(), "still loaded: {left:?} of {programs:?}");
        Ok(())
    })
}

/// SIGHUP, as of a terminal that closes, ends nothing; the log says what it does not do.
pub(super) fn hangup(name: &str) -> Result<()> {
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    agent.signal(Signal::HUP)?;
    eventually("the log has the signal", || {
        ensure!(agent.log().contains("SIGHUP"), "it says nothing of SIGHUP:\n{}", agent.log());
        Ok(())
    })?;
    agent.scrape()?;
    agent.stop(Signal::TERM)
}

/// Log lines that cannot be written are counted, and the agent lives and ends as usual.
pub(super) fn full_log(_name: &str) -> Result<()> {
    // Without a log nobody says which port it got.
    let address: SocketAddr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let full = fs::OpenOptions::new().write(true).open("/dev/full").context("opening /dev/full")?;
    let mut child = agent::command(None, false)?
        .args(["agent", "--listen", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .context("starting the agent")?;
    let lost = eventually("lost lines are counted", || {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let line = answer.lines().find_map(|line| line.strip_prefix("netcause_log_lines_lost_total "));
        line.context("no count of lost lines")?.parse::<u64>().context("reading the count")
    });
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a pid out of range")?;
    kill_process(pid, Signal::TERM).context("ending the agent")?;
    let status = child.wait().context("waiting for the agent")?;
    ensure!(lost? > 0, "no line was lost");
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// The BPF programs that a process holds, by id.
fn programs_of(pid: u32) -> Result<BTreeSet<u64>> {
    let path = format!("/proc/{pid}/fdinfo");
    let mut programs = BTreeSet::new();
    for entry in fs::read_dir(&path).with_context(|| format!("listing {path}"))? {
        let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
        programs.extend(
            info.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u64>().ok()),
        );
    }
    Ok(programs)
}

/// Two agents count the same traffic, and one continues when the other ends.
pub(super) fn two_agents(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &[])?;
    let start = |agent| Agent::start(name, agent, &Options { without_dns: true, ..Options::default() });
    let (first, second) = (start("first")?, start("second")?);
    let edges = [Edge::at_client(&client, server.v4, 8080), Edge::at_server(&server, client.v4, 8080)];
    let expect = |agent: &Agent, count| {
        agent.until("the connections are counted", |metrics| {
            edges.iter().try_for_each(|edge| {
                metrics.expect(OPENED, edge, count)?;
                metrics.expect(CLOSED, edge, count)
            })
        })
    };
    client.connect(server.at(8080), &["--count", "20"])?;
    expect(&first, 20)?;
    expect(&second, 20)?;
    first.stop(Signal::TERM)?;
    client.connect(server.at(8080), &["--count", "20"])?;
    expect(&second, 40)?;
    second.stop(Signal::TERM)
}

/// Runs the agent's binary to its end.
fn netcause(args: &[&str], env: &[(&str, &str)]) -> Result<Finished> {
    let mut command = agent::command(None, false)?;
    Process::run("netcause", command.args(args).envs(env.iter().copied()), "")
}

/// Writes a configuration file, runs the agent with it, and removes it.
fn with_config(name: &str, text: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Finished> {
    let path = std::env::temp_dir().join(format!("netcause-lab-{}-{name}.yaml", std::process::id()));
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    let config = path.to_string_lossy();
    let end = netcause(&[&["agent", "--listen", "127.0.0.1:0", "--config", &config], args].concat(), env);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    end
}

/// A wrong setting in the file, the environment or a flag ends the agent with exit code 64 and a message that names
/// it.
pub(super) fn config_errors(name: &str) -> Result<()> {
    let refused = |what: &str, key: &str, end: &Finished| -> Result<()> {
        ensure!(
            end.status.code() == Some(64),
            "{what}: {}, not 64\n{}{}",
            end.status,
            end.stdout,
            end.stderr
        );
        let said = end.stderr.replace('-', "_").to_lowercase();
        ensure!(said.contains(key), "{what}: the message does not name {key}:\n{}", end.stderr);
        ensure!(!end.stderr.contains("backtrace"), "{what}: a backtrace:\n{}", end.stderr);
        Ok(())
    };
    for (text, key) in [
        ("max_flowz: 8\n", "max_flowz"),
        ("max_tcp_flows: 0\n", "max_tcp_flows"),
        ("max_tcp_flows: -1\n", "max_tcp_flows"),
        ("max_sockets: many\n", "max_sockets"),
        ("older_connections: rest\n", "preexisting_connections"),
        ("event_ring_bytes: 1\n", "event_ring_bytes"),
        ("event_ring_bytes: 99999999999999999999\n", "event_ring_bytes"),
        ("log_format: yaml\n", "log_format"),
        ("listen: nowhere\n", "listen"),
        ("otlp_signals: [traces]\n", "otlp_signals"),
        ("otlp_endpoint: collector:4318\n", "otlp_endpoint"),
        ("otlp_endpoint: http://a\notlp_headers_file: /nowhere\n", "otlp_headers_file"),
        ("otlp_endpoint: https://a\notlp_ca_file: /dev/null\n", "otlp_ca_file"),
    ] {
        refused(&format!("the file {text:?}"), key, &with_config(name, text, &[], &[])?)?;
    }
    let end = netcause(&["agent", "--listen", "127.0.0.1:0"], &[("NETCAUSE_MAX_TCP_FLOWS", "lots")])?;
    refused("NETCAUSE_MAX_TCP_FLOWS=lots", "netcause_max_tcp_flows", &end)?;
    refused("--max-tcp-flows=0", "max_tcp_flows", &netcause(&["agent", "--max-tcp-flows=0"], &[])?)?;
    refused("an unknown flag", "max_flowz", &netcause(&["agent", "--max-flowz=1"], &[])?)?;
    refused(
        "a missing file",
        "/nowhere/config.yaml",
        &netcause(&["agent", "--config", "/nowhere/config.yaml"], &[])?,
    )
}

/// Flags override the environment, which overrides the file.
pub(super) fn config_order(name: &str) -> Result<()> {
    let text = "max_tcp_flows: 100\nmax_sockets: 1000\nevent_ring_bytes: 65536\n";
    let env = [("NETCAUSE_MAX_TCP_FLOWS", "200"), ("NETCAUSE_MAX_SOCKETS", "2000")];
    let end = with_config(name, text, &["--max-tcp-flows", "300", "--print-config"], &env)?;
    ensure!(end.status.success(), "{}\n{}", end.status, end.stderr);
    for line in ["max_tcp_flows: 300", "max_sockets: 2000", "event_ring_bytes: 65536"] {
        ensure!(end.stdout.lines().any(|is| is.trim() == line), "no line {line:?} in\n{}", end.stdout);
    }
    Ok(())
}

/// `netcause check` lists the probes of the running agent, as a table and as JSON.
pub(super) fn check(_name: &str) -> Result<()> {
    let running = agent::shared()?.scrape()?;
    let probes: BTreeSet<&str> = running
        .samples
        .iter()
        .filter(|sample| sample.name == "netcause_probe_up")
        .filter_map(|sample| sample.labels.get("probe"))
        .collect();
    ensure!(!probes.is_empty(), "the running agent names no probe");
    let table = netcause(&["check"], &[])?.success().context("netcause check")?;
    let json = netcause(&["check", "-o", "json"], &[])?.success().context("netcause check -o json")?;
    let json: serde_json::Value = serde_json::from_str(&json).context("reading the JSON")?;
    let listed = json.get("probes").and_then(serde_json::Value::as_array).context("no list of probes")?;
    let names: BTreeSet<&str> = listed
        .iter()
        .filter_map(|probe| probe.get("probe").or_else(|| probe.get("name"))?.as_str())
        .collect();
    for probe in probes {
        ensure!(table.contains(probe), "{probe} is not in the table:\n{table}");
        ensure!(names.contains(probe), "{probe} is not in the JSON: {json}");
    }
    Ok(())
}
