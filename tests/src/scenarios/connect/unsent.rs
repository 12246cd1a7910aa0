//! Connects that fail before a SYN is sent.

use std::{fs::File, net::IpAddr, os::fd::OwnedFd};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{
    agent::{self, Agent, Options},
    bpf,
    faults::Fault,
    metrics::{Edge, FAILURES, OPENED},
    topology::{Net, Pod},
    trampolines,
};

// `enum bpf_prog_type` and `enum bpf_attach_type`, include/uapi/linux/bpf.h.
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const BPF_CGROUP_INET4_CONNECT: u32 = 10;
const BPF_CGROUP_INET6_CONNECT: u32 = 11;

/// Whether the agent counts them; where neither fexit nor kprobes can be had, it must say so.
fn is_available(agent: &Agent) -> Result<bool> {
    let metrics = agent.scrape()?;
    let up = metrics.sum("netcause_probe_up", &[("probe", "tcp_connect")]) == 1.0;
    let why_not = |reason: &[_]| {
        metrics.sum("netcause_probe_unavailable_info", &[&[("probe", "tcp_connect")], reason].concat())
    };
    let reasons = why_not(&[]);
    ensure!(up == (reasons == 0.0), "the probe runs: {up}, with {reasons} reasons why not");
    ensure!(why_not(&[("reason", "verifier_rejected")]) == 0.0, "the verifier refuses the probe");
    Ok(up)
}

/// Routes of each type that lead nowhere, and none at all: over IPv4 and IPv6, blocking or not, each attempt counts once, with the
/// address that was asked. What the application does wrong is no failure, and what connects is none.
pub(in super::super) fn routes(name: &str) -> Result<()> {
    routes_seen_by(agent::shared()?, name)
}

/// What a BPF program at the cgroup denies counts once; so does what netfilter rejects, which `tcp_state` counts.
pub(in super::super) fn policies(name: &str) -> Result<()> {
    policies_seen_by(agent::shared()?, name)
}

/// Where there is no room for another program at the end of a function, kprobes count the same.
pub(in super::super) fn kprobes(name: &str) -> Result<()> {
    let has = |agent: &Agent, program: &str| -> Result<bool> {
        let programs = agent.scrape()?.label_values("netcause_bpf_recursion_misses_total", "program");
        Ok(programs.iter().any(|name| name == program))
    };
    let Some(_others) = trampolines::fill("tcp_v4_connect")? else {
        // The shared agent has met the same.
        ensure!(
            !has(agent::shared()?, "tcp_connect_v4")?,
            "the agent's programs can be there, and others not"
        );
        return Ok(());
    };
    let agent = Agent::start(name, "agent", &Options { without_dns: true, ..Options::default() })?;
    ensure!(is_available(&agent)?, "no kprobes instead: {}", agent.log());
    ensure!(has(&agent, "tcp_connect_ends")? && !has(&agent, "tcp_connect_v6")?, "other programs run");
    routes_seen_by(&agent, name)?;
    policies_seen_by(&agent, name)
}

const KINDS: [(&str, &str, &str); 4] = [
    ("unreachable", "EHOSTUNREACH", "unreachable"),
    ("prohibit", "EACCES", "denied"),
    ("blackhole", "EINVAL", "unreachable"),
    // No route at all.
    ("", "ENETUNREACH", "unreachable"),
];

/// An address of each family that such a route leads to.
fn addresses(kind: &str) -> Result<[IpAddr; 2]> {
    let third = 1 + kind.len();
    Ok([format!("10.78.{third}.1").parse()?, format!("fd78:{third}::1").parse()?])
}

fn routes_seen_by(agent: &Agent, name: &str) -> Result<()> {
    let counted = u64::from(is_available(agent)?);
    let (_net, client, server) = Net::pair(name)?;
    let _server = server.serve("[::]:8085".parse()?, &["--mode", "echo"])?;
    for (kind, ..) in KINDS.iter().filter(|(kind, ..)| !kind.is_empty()) {
        for address in addresses(kind)? {
            let family = if address.is_ipv4() { "-4" } else { "-6" };
            client.run("ip", &[family, "route", "add", kind, &address.to_string()], "")?;
        }
    }
    for (kind, errno, _) in KINDS {
        for (address, count) in addresses(kind)?.into_iter().zip(["3", "2"]) {
            let to = (address, 8080).into();
            let blocking = client.connect(to, &["--count", count])?;
            let polling = client.connect(to, &["--nonblocking"])?;
            let failed = [blocking.failed(errno), polling.failed(errno)];
            ensure!(failed == [count.parse()?, 1], "{kind} {address}: {blocking:?} {polling:?}");
        }
    }
    // IPv4 through a socket of IPv6.
    let [v4, v6] = addresses("prohibit")?;
    let outcome = client.connect((v4, 8081).into(), &["--mapped"])?;
    ensure!(outcome.failed("EACCES") == 1, "{outcome:?}");
    for bad in ["[fe80::1]:8082", "224.0.0.9:8082", "255.255.255.255:8082"] {
        let outcome = client.connect(bad.parse()?, &[])?;
        ensure!(outcome.count("connected") == 0, "{outcome:?}");
    }
    // The same socket again.
    let again = client.connect((v6, 8083).into(), &["--nonblocking", "--then-abort", "8084"])?;
    ensure!(again.count("connected") == 0, "{again:?}");
    // A subflow of MPTCP connects inside the kernel; without MPTCP there is no socket.
    let subflow = client.connect((v4, 8086).into(), &["--mptcp"])?.failed("EACCES");
    for (to, args) in [
        (server.at(8085), &["--count", "2"][..]),
        (server.at_v6(8085), &["--nonblocking"]),
        (server.at(8085), &["--mapped"]),
    ] {
        let outcome = client.connect(to, args)?;
        ensure!(outcome.count("connected") > 0, "{outcome:?}");
    }
    agent.until("each attempt counts once", |metrics| {
        for (kind, _, reason) in KINDS {
            for (address, count) in addresses(kind)?.into_iter().zip([4, 3]) {
                let edge = Edge::at_client(&client, address, 8080);
                metrics.expect(FAILURES, &edge.with("reason", reason), count * counted)?;
                metrics.expect(FAILURES, &edge, count * counted)?;
            }
        }
        for (address, port, count) in [(v4, 8081, 1), (v6, 8083, 1), (v6, 8084, 1), (v4, 8086, subflow)] {
            let denied = Edge::at_client(&client, address, port).with("reason", "denied");
            metrics.expect(FAILURES, &denied, count * counted)?;
            metrics.expect(FAILURES, &Edge::of_client(&client, port), count * counted)?;
        }
        metrics.expect(OPENED, &Edge::of_client(&client, 8085), 4)?;
        [8082, 8085].iter().try_for_each(|port| metrics.expect(FAILURES, &Edge::of_client(&client, *port), 0))
    })
}

fn policies_seen_by(agent: &Agent, name: &str) -> Result<()> {
    let counted = u64::from(is_available(agent)?);
    let (_net, client, server) = Net::pair(name)?;
    let _reject =
        Fault::on_output(&client, &["tcp dport { 8081, 8083 } reject with icmpx admin-prohibited"])?;
    for (to, count) in [(server.at(8081), "3"), (server.at_v6(8083), "2")] {
        let rejected = client.connect(to, &["--count", count])?;
        ensure!(rejected.count("connected") == 0, "{rejected:?}");
    }
    let programs = [deny(&client, BPF_CGROUP_INET4_CONNECT)?, deny(&client, BPF_CGROUP_INET6_CONNECT)?];
    for (to, args, count) in [
        (server.at(8080), &["--count", "3"][..], 3),
        (server.at_v6(8082), &["--count", "2"], 2),
        (server.at(8084), &["--mapped"], 1),
    ] {
        let denied = client.connect(to, args)?;
        ensure!(denied.failed("EPERM") == count, "{denied:?}");
    }
    drop(programs);
    agent.until("each denial counts once", |metrics| {
        for (address, port, count) in
            [(IpAddr::from(server.v4), 8080, 3), (server.v6.into(), 8082, 2), (server.v4.into(), 8084, 1)]
        {
            let denied = Edge::at_client(&client, address, port);
            metrics.expect(FAILURES, &denied.with("reason", "denied"), count * counted)?;
            metrics.expect(FAILURES, &denied, count * counted)?;
        }
        metrics.expect(FAILURES, &Edge::at_client(&client, server.v4, 8081), 3)?;
        metrics.expect(FAILURES, &Edge::at_client(&client, server.v6, 8083), 2)
    })
}

/// A program that denies all connects of the pod's cgroup until it is dropped.
fn deny(pod: &Pod, place: u32) -> Result<[OwnedFd; 2]> {
    let program = bpf::load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, place, 0)?;
    let path = pod.cgroup_path();
    let cgroup = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let link = bpf::link(&program, bpf::number(&cgroup)?, place, 0)?;
    Ok([program, link])
}
