//! Sockets that one workload makes and another serves at (socket activation).

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::udp::{ANSWER, Datagrams, UDP_RECEIVED_DATAGRAMS};
use crate::lab::{
    agent::{Agent, Options},
    crossed::Ends,
    machine,
    metrics::{CLOSED, Edge, OPENED, float},
    process::Process,
    topology::{Net, Pod},
};

const LIMIT: &str = "netcause_tcp_accept_queue_limit";

/// The programs of [`by_systemd`].
pub(super) const SYSTEMD: &[(&str, &str)] = &[("systemd-socket-activate", "--version")];

fn cgroup(pod: &Pod) -> Result<PathBuf> {
    Ok(machine()?.cgroup_root.join(pod.workload()))
}

/// Both ends of UDP between a client and the server at a port, which have the names of both.
fn datagrams(client: &Pod, server: &Pod, port: u16) -> Ends {
    let end = |reporter| Edge::named(reporter, client.workload(), server.workload(), port);
    Ends { client: end("source"), server: end("destination") }
}

/// A socket that another workload has made is the one's that serves there: handed on by a service manager that keeps a descriptor,
/// and by a maker that does not; a maker that shares its socket serves itself.
pub(super) fn handed_on(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (client, manager, maker) =
        (net.pod("client")?, net.pod_in("manager", "init.scope")?, net.pod("maker")?);
    // Only their cgroups.
    let (service, other) = (net.pod("service")?, net.pod("other")?);
    let to = cgroup(&service)?;
    let handed = ["--mode", "echo", "--backlog", "9", "--hand-to", to.to_str().context("a path")?];
    let kept = manager.serve(manager.at(8080), &handed)?;
    let given = maker.serve(maker.at(8081), &["--mode", "echo", "--backlog", "7"])?;
    let moved = maker.serve_udp(maker.at(5300), &[])?;
    let with = cgroup(&other)?;
    let shared = maker.serve_udp(maker.at(5301), &["--share-with", with.to_str().context("a path")?])?;
    for server in [&given, &moved] {
        fs::write(with.join("cgroup.procs"), server.pid().to_string()).context("moving a server")?;
    }

    let args = ["--sweep-cpu-percent", "100"];
    let agent =
        Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })?;
    agent.until("who holds a listener has its queue", |metrics| {
        metrics.expect(LIMIT, &Edge::listener(&service, 8080), 9)?;
        metrics.expect(LIMIT, &Edge::listener(&other, 8081), 7)
    })?;
    let mut totals = Vec::new();
    for (to, server) in [(manager.at(8080), &service), (maker.at(8081), &other)] {
        let args = ["--count", "5", "--send", "1013", "--receive", "1013"];
        totals.push((client.connect(to, &args)?, Edge::at_server(server, client.v4, to.port())));
    }
    agent.until("and its connections", |metrics| {
        for (outcome, edge) in &totals {
            metrics.expect(OPENED, edge, outcome.count("connected"))?;
            metrics.expect(CLOSED, edge, 5)?;
            metrics.expect("netcause_tcp_received_bytes_total", edge, 5 * 1013)?;
        }
        let of_makers = metrics.total(OPENED, |sample| {
            let destination = sample.labels.get("destination_workload");
            destination.is_some_and(|is| {
                is.contains("init.scope") || is == manager.workload() || is == maker.workload()
            })
        });
        ensure!(of_makers == 0.0, "{of_makers} connections count for who made the listener");
        Ok(())
    })?;
    // Who holds a UDP socket is known after a whole sweep that finds one who does.
    agent.sweep_again()?;
    agent.sweep_again()?;
    let mut sent = Vec::new();
    for (port, server) in [(5300, &other), (5301, &maker)] {
        let args = [&["--count", "5", "--size", "1013"], &ANSWER[..]].concat();
        let all = Datagrams::answered(&client.send_udp(maker.at(port), &args)?)?;
        sent.push((all, datagrams(&client, server, port)));
    }
    agent.until("datagrams have the names of who serves", |metrics| {
        sent.iter().try_for_each(|(all, ends)| all.expect_answered(metrics, ends))
    })?;
    kept.finish()?;
    given.finish()?;
    moved.finish()?;
    shared.finish()?;
    agent.stop(Signal::TERM)
}

/// What systemd makes a socket for has the name of the service that it starts, over TCP and UDP.
pub(super) fn by_systemd(name: &str) -> Result<()> {
    let net = Net::new(name)?;
    let (client, socket) = (net.pod("client")?, net.pod("socket")?);
    // Only its cgroup.
    let service = net.pod("service")?;
    let args = ["--sweep-cpu-percent", "100"];
    let agent =
        Agent::start(name, "agent", &Options { args: &args, without_dns: true, ..Options::default() })?;
    let _tcp = activate(&socket, &service, &[], socket.at(8080), "server")?;
    let _udp = activate(&socket, &service, &["--datagram"], socket.at(5300), "udp-server")?;
    let ask = |count| {
        let args = ["--count", count, "--send", "1013", "--receive", "1013"];
        let connected = client.connect(socket.at(8080), &args)?.count("connected");
        let args = [&["--count", count, "--size", "1013"], &ANSWER[..]].concat();
        let sent = Datagrams::answered(&client.send_udp(socket.at(5300), &args)?)?;
        Ok::<_, anyhow::Error>((connected, sent.count))
    };
    // That starts the services; it may count for the socket's workload.
    ask("1")?;
    agent.sweep_again()?;
    agent.sweep_again()?;
    let (tcp, udp) = (Edge::of_server(&service, 8080), datagrams(&client, &service, 5300));
    let before = agent.scrape()?;
    let (connected, sent) = ask("5")?;
    ensure!((connected, sent) == (5, 5), "{connected} connections and {sent} datagrams");
    agent.until("they count for the service", |metrics| {
        for (name, edge) in [(OPENED, &tcp), (CLOSED, &tcp), (UDP_RECEIVED_DATAGRAMS, &udp.server)] {
            let expected = before.on(name, edge) + float(5_u64);
            metrics.expect_between(name, edge, expected, expected)?;
        }
        Ok(())
    })?;
    agent.stop(Signal::TERM)
}

/// Lets systemd make a socket in one pod, and start a server in the cgroup of another at the first packet.
fn activate(socket: &Pod, service: &Pod, kind: &[&str], listen: SocketAddr, server: &str) -> Result<Process> {
    let mut command = socket.command("systemd-socket-activate")?;
    command.args(kind).arg("--listen").arg(listen.to_string());
    // It passes the socket as descriptor 3 (sd_listen_fds(3)).
    command
        .args(["sh", "-c", "echo $$ > \"$0\" && exec \"$@\" <&3 3<&-"])
        .arg(cgroup(service)?.join("cgroup.procs"));
    command.arg(&machine()?.exe).args([
        "traffic",
        server,
        "--inherited",
        "--mode",
        "echo",
        "--listen",
        "[::]:0",
    ]);
    let process = Process::spawn("systemd-socket-activate", &mut command)?;
    process.wait_stderr("its socket", |line| line.contains("Listening on").then_some(()))?;
    Ok(process)
}
