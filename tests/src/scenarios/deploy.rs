//! The manifests in `deploy/`: the agent with what they give it and nothing more, and that each of it is needed.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::udp::UDP_SENT_DATAGRAMS;
use crate::lab::{
    agent::{self, Agent, ROOM},
    cgroup::Cgroup,
    container::Root,
    crossed::{Crossed, Ends},
    kernel_is_before, machine,
    manifest::Container,
    metrics::{CLOSED, Metrics, OPENED, Sample},
    process::{Finished, Process},
    scaled,
    topology::Net,
};

/// Settings that differ from the manifest: several labs may run at the same time, so no port is certain to be free, and an
/// agent sees the edges of all labs.
const ENV: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("NETCAUSE_LISTEN", "127.0.0.1:0"),
    ("NETCAUSE_SWEEP_CPU_PERCENT", "100"),
    ROOM,
];

/// Probes, each with the reason if it does not run.
pub(super) type Probes = BTreeMap<String, Option<String>>;

/// The manifest for this kernel.
fn manifest() -> Result<Container> {
    Container::of_agent(kernel_is_before(5, 11))
}

fn start(scenario: &str, name: &str, container: &Container) -> Result<(Agent, Root)> {
    let cgroup = Cgroup::new(scenario, name)?;
    limit_memory(&cgroup, container)?;
    let root = Root::new(&cgroup, container)?;
    let mut command = root.command(&cgroup, &ENV)?;
    Ok((Agent::begin(cgroup, None, &mut command)?, root))
}

/// Sets the manifest's limit of memory, where cgroup v2 has the memory controller (on hybrid systems cgroup v1 has it).
fn limit_memory(cgroup: &Cgroup, container: &Container) -> Result<()> {
    let root = &machine()?.cgroup_root;
    let controllers =
        fs::read_to_string(root.join("cgroup.controllers")).context("reading the controllers")?;
    if !controllers.split_whitespace().any(|controller| controller == "memory") {
        return Ok(());
    }
    // Of the root, so that it goes for all: it stays on for other users.
    fs::write(root.join("cgroup.subtree_control"), "+memory").context("having memory counted")?;
    fs::write(cgroup.path().join("memory.max"), container.memory.to_string()).context("limiting memory")
}

/// Fails unless the memory that is counted for the agent is half of its limit at most: it has few connections here.
fn has_headroom(agent: &Agent, container: &Container) -> Result<()> {
    let path = agent.cgroup().path().join("memory.current");
    let Ok(used) = fs::read_to_string(&path) else { return Ok(()) };
    let used: u64 = used.trim().parse().with_context(|| format!("reading {}", path.display()))?;
    println!("memory of the agent: {} of {} MiB", used >> 20, container.memory >> 20);
    ensure!(used <= container.memory / 2, "it has {used} bytes of {} already", container.memory);
    Ok(())
}

/// Runs a container that the agent cannot start in, to its end.
fn fails(scenario: &str, name: &str, container: &Container) -> Result<Finished> {
    let cgroup = Cgroup::new(scenario, name)?;
    let root = Root::new(&cgroup, container)?;
    let mut command: Command = root.command(&cgroup, &ENV)?;
    Process::run_within(Duration::from_secs(scaled(20, 120)), name, &mut command, "")
        .with_context(|| format!("the agent started {name}"))
}

pub(super) fn probes(metrics: &Metrics) -> Probes {
    let named = |name: &'static str| metrics.samples.iter().filter(move |sample| sample.name == name);
    let label = |sample: &Sample, name: &str| sample.labels.get(name).unwrap_or_default().to_owned();
    let reason = |probe: &str| {
        let info = named("netcause_probe_unavailable_info").find(|info| label(info, "probe") == probe);
        info.map(|info| label(info, "reason")).unwrap_or_default()
    };
    named("netcause_probe_up")
        .map(|sample| {
            let probe = label(sample, "probe");
            let reason = (sample.value == 0.0).then(|| reason(&probe));
            (probe, reason)
        })
        .collect()
}

/// With the manifest's capabilities, user and mounts every probe comes up that comes up for root, and what is counted is
/// right: names from the cgroup tree, open connections from the files of others, datagrams from the root cgroup.
pub(super) fn manifest_suffices(name: &str) -> Result<()> {
    let container = manifest()?;
    let (agent, _root) = start(name, "agent", &container)?;
    for path in ["/livez", "/readyz"] {
        let status = agent.get(path, "*/*")?.status;
        ensure!(status == 200, "{path} says {status}");
    }
    let (here, of_root) = (probes(&agent.scrape()?), probes(&agent::shared()?.scrape()?));
    ensure!(here == of_root, "with the manifest {here:?}, as root {of_root:?}");
    down(&agent, &[])?;
    is_confined(agent.pid(), &container)?;
    has_headroom(&agent, &container)?;

    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let _udp = server.serve_udp(server.at(8081), &[])?;
    let mut held = client.hold(server.at(8080), &["--count", "3"])?;
    held.run_command("echo 5003")?;
    client.send_udp(server.at(8081), &["--count", "7"])?;
    let (ends, udp) = (Ends::v4(&client, &server, 8080), Ends::v4(&client, &server, 8081));
    let crossed = Crossed::each(3, 5003, 5003);
    agent.until("open connections and datagrams are counted", |metrics| {
        crossed.expect_bytes(metrics, &ends)?;
        for edge in ends.both() {
            metrics.expect(OPENED, edge, 3)?;
            metrics.expect(CLOSED, edge, 0)?;
        }
        metrics.expect(UDP_SENT_DATAGRAMS, &udp.client, 7)
    })?;
    held.finish()?;
    agent.until("closed connections are counted", |metrics| {
        ends.both().into_iter().try_for_each(|edge| metrics.expect(CLOSED, edge, 3))
    })
}

/// Fails unless the kernel says of a process what the manifest says of its container.
fn is_confined(pid: u32, container: &Container) -> Result<()> {
    has_rights(pid, container)?;
    // Mount points and options (proc_pid_mountinfo(5)). What a runtime makes by itself is not ours.
    let mounts = of_process(pid, "mountinfo")?;
    let mut below = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(4);
        let (Some(at), Some(options)) = (words.next(), words.next()) else { continue };
        if at == "/" || container.mounts.iter().any(|mount| at.starts_with(&mount.at)) {
            ensure!(options.split(',').any(|option| option == "ro"), "{at} is writable:\n{mounts}");
            below.push(at);
        }
    }
    ensure!(below.len() > container.mounts.len(), "mounts are missing, there are only {below:?}");
    Ok(())
}

/// A file of a process in /proc.
pub(super) fn of_process(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("reading {path}"))
}

/// Fails unless a process has the user and the capabilities of the manifest, and no way to more.
pub(super) fn has_rights(pid: u32, container: &Container) -> Result<()> {
    let status = of_process(pid, "status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).with_context(|| format!("no {name} in\n{status}"))
    };
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let bits = u64::from_str_radix(field(set)?, 16)?;
        let count = usize::try_from(bits.count_ones())?;
        ensure!(count == container.capabilities.len(), "{set} is {bits:x}, not {:?}", container.capabilities);
    }
    for set in ["CapInh", "CapAmb"] {
        ensure!(field(set)?.trim_matches('0').is_empty(), "{set} is {}", field(set)?);
    }
    ensure!(field("NoNewPrivs")? == "1", "it may gain privileges");
    let [user, group] =
        [container.user, container.group].map(|id| [id; 4].map(|id| id.to_string()).join("\t"));
    ensure!((field("Uid")?, field("Gid")?) == (&user, &group), "it is another user:\n{status}");
    ensure!(field("Groups")?.is_empty(), "it has more groups:\n{status}");
    Ok(())
}

/// Without any one of the capabilities in the manifest, the agent reports exactly what is lost, or fails to start and
/// says why.
pub(super) fn each_capability_is_needed(name: &str) -> Result<()> {
    let container = manifest()?;
    for capability in &container.capabilities {
        let less = container.without_capability(capability);
        let what = format!("without-{}", capability.to_lowercase().replace('_', "-"));
        match capability.as_str() {
            "NET_ADMIN" => {
                let (agent, _root) = start(name, &what, &less)?;
                down(&agent, &[("udp", "not_permitted"), ("dns", "needs_other_probe")])?;
            }
            // It cannot even make a table.
            "BPF" | "SYS_RESOURCE" => refused(&fails(name, &what, &less)?, 77, "CAP_BPF")?,
            // Tables, but no program; Linux 7.2 lets those on packets pass that do no arithmetic on pointers.
            "PERFMON" => {
                let end = fails(name, &what, &less.with_args(&["check", "-o", "json"]))?;
                ensure!(matches!(end.status.code(), Some(0 | 69)), "{}\n{}", end.status, end.stderr);
                let report: Value = serde_json::from_str(&end.stdout).context("reading the report")?;
                let probes = report.get("probes").and_then(Value::as_array).context("no list of probes")?;
                let running = probes.iter().filter(|probe| probe["available"] == Value::Bool(true));
                let running: Vec<&Value> = running.map(|probe| &probe["probe"]).collect();
                ensure!(probes.len() > 5 && running.iter().all(|probe| *probe == "udp"), "{running:?} run");
            }
            _ => anyhow::bail!("this scenario does not cover the capability {capability}"),
        }
    }
    Ok(())
}

/// Without any one of the mounts in the manifest, the agent reports exactly what is lost, or fails to start and says
/// why.
pub(super) fn each_mount_is_needed(name: &str) -> Result<()> {
    let container = manifest()?;
    for mount in &container.mounts {
        let less = container.without_mount(&mount.name);
        let what = format!("without-{}", mount.name);
        match mount.name.as_str() {
            "cgroup" => {
                let (agent, _root) = start(name, &what, &less)?;
                down(&agent, &[("udp", "cgroup2_not_mounted"), ("dns", "needs_other_probe")])?;
            }
            "btf" => refused(&fails(name, &what, &less)?, 69, "/sys/kernel/btf")?,
            "config" => refused(&fails(name, &what, &less)?, 64, "/etc/netcause/config.yaml")?,
            _ => anyhow::bail!("this scenario does not cover the mount {}", mount.name),
        }
    }
    Ok(())
}

/// Fails unless these probes do not run, for these reasons, and all others do that the kernel can run.
fn down(agent: &Agent, expected: &[(&str, &str)]) -> Result<()> {
    let mut lost: Probes = probes(&agent.scrape()?);
    ensure!(lost.values().any(Option::is_none), "no probe runs: {lost:?}");
    lost.retain(|_, reason| reason.as_deref().is_some_and(|reason| reason != "kernel_feature_missing"));
    ensure!(lost.len() == expected.len(), "these do not run: {lost:?}");
    for (probe, why) in expected {
        let reason = lost.get(*probe).and_then(Option::as_deref).unwrap_or_default();
        ensure!(reason == *why, "{probe} does not run because {reason:?}, not because of {why}");
    }
    Ok(())
}

/// Fails unless the agent ended with this exit code and said why.
fn refused(end: &Finished, code: i32, why: &str) -> Result<()> {
    ensure!(end.status.code() == Some(code), "{}, not {code}\n{}{}", end.status, end.stdout, end.stderr);
    ensure!(end.stderr.contains(why), "it does not say {why}:\n{}", end.stderr);
    Ok(())
}
