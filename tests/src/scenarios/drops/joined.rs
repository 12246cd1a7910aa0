//! Retransmissions of what the node itself has dropped, apart from all others.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Result, ensure};

use super::{dropped_by_queue, is_available};
use crate::lab::{
    agent::{self, Agent},
    dropper::Dropper,
    faults::Fault,
    kernel_is_before,
    metrics::{Edge, RETRANSMITTED, float},
    scaled,
    topology::{Net, Pod},
};

const FORGOTTEN: &str = "netcause_packet_drops_forgotten_total";
const JOINED: &str = "netcause_tcp_retransmitted_after_drop_segments_total";

/// What nftables and a shaper drop is retransmitted once for each drop, and each of these retransmissions is known to repeat a drop
/// here.
pub(in super::super) fn counted(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    // What is forgotten is not found; of other scenarios at most.
    let before = agent.scrape()?.sum(FORGOTTEN, &[]);
    let (net, client, server) = Net::pair(name)?;
    let _sink = server.serve("[::]:8080".parse()?, &[])?;
    let _others = server.serve("[::]:8081".parse()?, &["--ports", "3"])?;
    let bytes = scaled("1000000", "300000");
    let send = |to: SocketAddr| -> Result<()> {
        let outcome = client.connect(to, &["--send", bytes])?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
        client.wait_quiet()
    };

    // Buffers of many segments: one drop may be repeated in several segments.
    let lossy = |port: u16| format!("tcp dport {port} meta length > 200 numgen inc mod 9 == 4 counter drop");
    let path = Fault::on_path(&net, &client, &[&lossy(8082)])?;
    send(server.at_v6(8082))?;
    let of_buffers = path.counted()?.iter().sum::<u64>();
    path.clear()?;
    let repeated = client.retransmitted()?;

    // One segment in each buffer: as many as the rule has dropped.
    client.run("ip", &["link", "set", "dev", "eth0", "gso_max_segs", "1"], "")?;
    let path = Fault::on_path(&net, &client, &[&lossy(8080)])?;
    send(server.at(8080))?;
    let of_segments = path.counted()?.iter().sum::<u64>();
    path.clear()?;
    ensure!(of_buffers > 0 && of_segments > 0, "{of_buffers} and {of_segments} drops");

    // A shaper on the way to the server, and one that TCP hears of: it sends again what was not sent.
    let rate = scaled("20mbit", "2mbit");
    let args = format!("qdisc add dev {} root tbf rate {rate} burst 4kb limit 6kb", server.port);
    let has_shaper = net.switch().run("tc", &args.split(' ').collect::<Vec<_>>(), "").is_ok();
    let mut shaped = 0;
    if has_shaper {
        send(server.at(8081))?;
        shaped = dropped_by_queue(net.switch(), &server.port)?;
        let args = format!("qdisc del dev {} root", server.port);
        net.switch().run("tc", &args.split(' ').collect::<Vec<_>>(), "")?;
        // TCP keeps little of a connection in the queues of its own node, so that only a short one is ever full.
        client.queue(&format!("tbf rate {rate} burst 2kb limit 2kb"))?;
        send(server.at(8083))?;
        let refused = dropped_by_queue(&client, "eth0")?;
        ensure!(shaped > 0 && refused > 0, "the shapers dropped {shaped} and {refused}");
    }
    let (v4, v6) = (Edge::at_client(&client, server.v4, 8080), Edge::at_client(&client, server.v6, 8082));
    let [queued, unsent] = [8081, 8083].map(|port| Edge::at_client(&client, server.v4, port));
    agent.until("retransmissions of drops are known", |metrics| {
        metrics.expect_kernel_retransmits(&client)?;
        let forgotten = metrics.sum(FORGOTTEN, &[]) - before;
        let least = float(of_buffers) - forgotten;
        metrics.expect_between(JOINED, &v6.with("cause", "policy"), least, float(repeated))?;
        // A spurious retransmission may be dropped as well, and nothing repeats it. The acknowledgements of the answer and of its end
        // may be among what the shaper drops.
        for (edge, cause, dropped, others) in
            [(&v4, "policy", of_segments, 0.0), (&queued, "queue", shaped, 2.0)]
        {
            let (dropped, joined) = (float(dropped), metrics.on(JOINED, &edge.with("cause", cause)));
            let elsewhere = metrics.on(RETRANSMITTED, edge) - joined;
            let least = dropped - others - forgotten - elsewhere.min(dropped / 10.0);
            ensure!(
                (least..=dropped).contains(&joined),
                "{joined} of {dropped}, {elsewhere} elsewhere: {edge:?}"
            );
        }
        for edge in [&v4, &v6, &queued, &unsent] {
            ensure!(metrics.on(JOINED, edge) <= metrics.on(RETRANSMITTED, edge), "more than there were");
        }
        Ok(())
    })
}

/// A program of TC drops for a reason, one of XDP for none; and where acknowledgements are dropped, no data was.
pub(in super::super) fn elsewhere(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    if !is_available(agent)? {
        return Ok(());
    }
    let (net, client, server) = Net::pair(name)?;
    let _sink = server.serve("[::]:8080".parse()?, &[])?;
    if !kernel_is_before(6, 6) {
        let tc = repeat_under(agent, &client, server.at(8080), || {
            Dropper::tc_ingress(net.switch(), &client.port)
        })?;
        ensure!(tc.0 >= 1.0 && tc.0 <= tc.1, "TC: {tc:?}");
    }
    let xdp = repeat_under(agent, &client, server.at(8080), || Dropper::xdp(net.switch(), &client.port))?;
    ensure!(xdp.0 == 0.0 && xdp.1 >= 1.0, "XDP: {xdp:?}");
    let rule = ["tcp sport 8080 counter drop"];
    let acknowledgements =
        repeat_under(agent, &client, server.at(8080), || Clearing::on_path(&net, &server, &rule))?;
    ensure!(acknowledgements.0 == 0.0 && acknowledgements.1 >= 1.0, "acknowledgements: {acknowledgements:?}");
    Ok(())
}

/// A fault that ends when it is dropped.
struct Clearing<'a>(Option<Fault<'a>>);

impl<'a> Clearing<'a> {
    fn on_path(net: &'a Net, from: &Pod, rules: &[&str]) -> Result<Self> {
        Ok(Self(Some(Fault::on_path(net, from, rules)?)))
    }
}

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        // Left in force, it would show in the transfer that does not end.
        let _ = self.0.take().map(Fault::clear);
    }
}

/// Sends over an open connection while `fault` is in force; returns by how much the retransmissions after a drop and all
/// retransmissions have grown.
fn repeat_under<F>(
    agent: &Agent,
    client: &Pod,
    to: SocketAddr,
    fault: impl FnOnce() -> Result<F>,
) -> Result<(f64, f64)> {
    let edge = Edge::at_client(client, to.ip(), to.port());
    let counts = || {
        agent.until("the agent has all retransmissions", |metrics| {
            metrics.expect_kernel_retransmits(client)
        })?;
        let metrics = agent.scrape()?;
        Ok::<_, anyhow::Error>((metrics.on(JOINED, &edge), metrics.on(RETRANSMITTED, &edge)))
    };
    let before = counts()?;
    let mut held = client.hold(to, &[])?;
    held.run_command("send 100")?;
    let fault = fault()?;
    held.run_command("send 20000")?;
    let repeated = client.retransmitted()?;
    for _ in 0..50 {
        if client.retransmitted()? > repeated + 1 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    drop(fault);
    let outcome = held.finish()?;
    ensure!(outcome.count("broken") == 0, "{outcome:?}");
    client.wait_quiet()?;
    let after = counts()?;
    Ok((after.0 - before.0, after.1 - before.1))
}
