//! The lab itself, without an agent: if these fail, the other scenarios prove nothing.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::lab::{cgroup, eventually, faults::Fault, machine, process::Process, service, topology::Net};

/// Pods reach each other, faults hit exactly the packets they match, and the programs' counts equal the kernel's.
pub(super) fn traffic_and_faults_are_exact(name: &str) -> Result<()> {
    let (net, client, server) = Net::pair(name)?;
    let sink = server.serve(server.at(8080), &[])?;
    let sink_v6 = server.serve(server.at_v6(8081), &[])?;
    let sent = client.connect(server.at(8080), &["--count", "10", "--parallel", "2", "--send", "1000"])?;
    ensure!((sent.count("connected"), sent.count("bytes_sent")) == (10, 10_000), "{sent:?}");
    let sent = client.connect(server.at_v6(8081), &["--count", "3", "--send", "1000"])?;
    ensure!(sent.count("connected") == 3, "{sent:?}");

    let fault =
        Fault::on_path(&net, &client, &["tcp flags & (syn|ack) == syn numgen inc mod 1000000 < 1 drop"])?;
    let before = client.retransmitted()?;
    let sent = client.connect(server.at(8080), &[])?;
    ensure!(sent.count("connected") == 1, "{sent:?}");
    ensure!(client.retransmitted()? == before + 1, "one lost SYN is one retransmit");
    fault.clear()?;

    client.wait_quiet()?;
    server.wait_quiet()?;
    let (v4, v6) = (sink.finish()?, sink_v6.finish()?);
    ensure!((v4.count("accepted"), v4.count("bytes_received")) == (11, 10_000), "{v4:?}");
    ensure!((v6.count("accepted"), v6.count("bytes_received")) == (3, 3000), "{v6:?}");
    let (active, passive) = (client.counter("Tcp", "ActiveOpens")?, server.counter("Tcp", "PassiveOpens")?);
    ensure!(active == 14, "the kernel's count of the client is {active}");
    // More when two processors complete one handshake at once: the kernel counts both sockets, and throws one away
    // (`tcp_create_openreq_child` before `inet_ehash_nolisten`).
    ensure!(passive >= 14, "the kernel's count of the server is {passive}");
    Ok(())
}

/// Connections and datagrams to a service's address arrive at its backends in turn.
pub(super) fn a_service_has_backends(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (client, one, other) = (net.pod("client")?, net.pod("one")?, net.pod("other")?);
    service::balance(&net, &[&client], &[&one, &other], 8080)?;
    let servers = [one.serve("[::]:8080".parse()?, &[])?, other.serve("[::]:8080".parse()?, &[])?];
    let echoes = [one.serve_udp("[::]:8080".parse()?, &[])?, other.serve_udp("[::]:8080".parse()?, &[])?];
    for address in service::addresses() {
        let sent = client.connect(address, &["--count", "4", "--send", "1000"])?;
        ensure!((sent.count("connected"), sent.count("bytes_sent")) == (4, 4000), "{address}: {sent:?}");
        for _ in 0..2 {
            let sent = client.send_udp(address, &["--count", "3", "--answer-ms", "5000"])?;
            ensure!(sent.count("datagrams_received") == 3, "{address}: {sent:?}");
        }
    }
    client.wait_quiet()?;
    for (server, echo) in servers.into_iter().zip(echoes) {
        let (server, echo) = (server.finish()?, echo.finish()?);
        ensure!(server.count("accepted") == 4, "of eight connections: {server:?}");
        ensure!(echo.count("datagrams_received") == 6, "of twelve datagrams: {echo:?}");
    }
    Ok(())
}

/// The counts of the UDP programs equal the kernel's.
pub(super) fn datagrams_are_exact(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let echo = server.serve_udp("[::]:5300".parse()?, &["--ports", "2"])?;
    let before = (client.counter("Udp", "OutDatagrams")?, client.counter("Udp6", "OutDatagrams")?);
    let args = ["--ports", "2", "--count", "4", "--size", "0", "--size", "3001", "--answer-ms", "5000"];
    let connected = client.send_udp(server.at(5300), &[&args[..], &["--sockets", "2"]].concat())?;
    let unconnected = client.send_udp(server.at_v6(5300), &[&args[..], &["--unconnected"]].concat())?;
    for (outcome, count) in [(&connected, 8), (&unconnected, 4)] {
        let is = ["datagrams_sent", "datagrams_received", "bytes_sent", "bytes_received", "lost"]
            .map(|name| outcome.count(name));
        let bytes = count / 2 * 3001;
        ensure!(is == [count, count, bytes, bytes, 0], "{outcome:?}");
    }
    let echoed = echo.finish()?;
    ensure!((echoed.count("datagrams_received"), echoed.count("bytes_sent")) == (12, 18_006), "{echoed:?}");
    let sent = (client.counter("Udp", "OutDatagrams")?, client.counter("Udp6", "OutDatagrams")?);
    ensure!((sent.0 - before.0, sent.1 - before.1) == (8, 4), "the kernel's count of the client");
    let lost = client.send_udp(server.at(5300), &["--count", "2", "--answer-ms", "50"]);
    ensure!(lost.is_err() || lost.is_ok_and(|lost| lost.count("lost") > 0), "a loss is not reported");
    Ok(())
}

/// `netcause-lab victim`: a lab that sets up pods and traffic, says what it has, and waits to be killed.
#[derive(Args)]
pub(crate) struct Victim {}

impl Victim {
    pub(crate) fn run(self) -> Result<()> {
        let (net, client, server) = Net::pair("victim")?;
        let sink = server.serve(server.at(8080), &[])?;
        let held = client.hold(server.at(8080), &["--count", "2"])?;
        let pids = [net.switch().pid(), client.pid(), server.pid(), sink.pid(), held.pid()];
        println!("{}", json!({"pids": pids}));
        loop {
            std::thread::park();
        }
    }
}

/// The processes of a killed lab die with it, and the next run removes its cgroups.
pub(super) fn a_crash_leaves_nothing(_name: &str) -> Result<()> {
    let mut command = Command::new(&machine()?.exe);
    let victim = Process::spawn("the victim", command.arg("victim"))?;
    let pids: Vec<u64> = victim.wait_stdout("its pids", |line| {
        let said: Value = serde_json::from_str(line).ok()?;
        said.get("pids")?.as_array()?.iter().map(Value::as_u64).collect()
    })?;
    ensure!(
        pids.len() == 5 && pids.iter().all(|&pid| is_alive(pid)),
        "the victim's pods do not run: {pids:?}"
    );
    let lab = victim.pid();
    ensure!(cgroup::of_lab(lab)?.len() == 2, "two pods have two cgroups");
    drop(victim);

    eventually("the pods died with their lab", || {
        let left: Vec<_> = pids.iter().filter(|&&pid| is_alive(pid)).collect();
        ensure!(left.is_empty(), "still alive: {left:?}");
        Ok(())
    })?;
    eventually("the next run removes the empty cgroups", || {
        cgroup::sweep_stale()?;
        let left = cgroup::of_lab(lab)?;
        ensure!(left.is_empty(), "still there: {left:?}");
        Ok(())
    })
    .context("after the crash")
}

/// Whether a process runs; a zombie does not.
fn is_alive(pid: u64) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}
