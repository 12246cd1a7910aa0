//! Connections that are swept while open, and in every state between open and closed: the close does not count again what a
//! sweep has counted.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::{Crossed, Ends},
    metrics::Metrics,
    scaled,
    topology::Net,
};

/// Open connections are counted while they are open, after more traffic, and after the close, TIME_WAIT included,
/// without counting anything twice.
pub(super) fn held(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve("[::]:8080".parse()?, &["--mode", "echo", "--ports", "2"])?;
    let first = scaled(1_000_003, 100_003);
    // The client's end closes first, and waits in TIME_WAIT.
    let hold = ["--count", "2", "--end", "abrupt"];
    let mut all = [
        client.hold(server.at(8080), &hold)?,
        client.hold(server.at(8080), &[&hold[..], &["--mapped"]].concat())?,
        client.hold(server.at_v6(8081), &hold)?,
    ];
    let ends = [(Ends::v4(&client, &server, 8080), 4), (Ends::v6(&client, &server, 8081), 2)];
    let expect = |what: &str, each: u64, check: fn(&Crossed, &Metrics, &Ends) -> Result<()>| {
        agent.until(what, |metrics| {
            ends.iter().try_for_each(|(ends, count)| check(&Crossed::each(*count, each, each), metrics, ends))
        })
    };
    expect("they are open and have carried nothing", 0, Crossed::expect_open)?;
    all.iter_mut().try_for_each(|client| client.run_command(&format!("echo {first}")))?;
    expect("they are open and have carried much", first, Crossed::expect_open)?;
    all.iter_mut().try_for_each(|client| client.run_command("echo 1"))?;
    expect("they are open and have carried one byte more", first + 1, Crossed::expect_open)?;
    for client in all {
        let outcome = client.finish()?;
        ensure!(outcome.count("broken") == 0, "{outcome:?}");
    }
    expect("they are closed", first + 1, Crossed::expect_closed)?;
    agent.sweep_again()?;
    expect("they are closed, and count no more", first + 1, Crossed::expect_closed)
}

/// A connection that one side has shut down stays open and exact while the other side goes on sending, in both
/// directions.
pub(super) fn half_closed(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let answer = server.serve(server.at(8080), &["--mode", "answer", "--bytes", "300001"])?;
    let _source = server.serve(server.at_v6(8081), &["--mode", "source", "--bytes", "200003"])?;
    let mut client_first = client.hold(server.at(8080), &["--count", "2"])?;
    let mut server_first = client.hold(server.at_v6(8081), &["--count", "2"])?;
    let ends = [Ends::v4(&client, &server, 8080), Ends::v6(&client, &server, 8081)];
    let crossed = [Crossed::each(2, 1000, 300_001), Crossed::each(2, 777, 200_003)];
    for command in ["send 1000", "end", "receive 300001"] {
        client_first.run_command(command)?;
    }
    for command in ["receive 200003", "send 777"] {
        server_first.run_command(command)?;
    }
    let expect = |what: &str, check: fn(&Crossed, &Metrics, &Ends) -> Result<()>| {
        agent.until(what, |metrics| {
            crossed.iter().zip(&ends).try_for_each(|(crossed, ends)| check(crossed, metrics, ends))
        })
    };
    expect("half-closed is open, and exact", Crossed::expect_open)?;
    let outcome = answer.finish()?;
    ensure!(outcome.count("bytes_received") == 2000, "{outcome:?}");
    client_first.finish()?;
    server_first.finish()?;
    expect("closed is exact", Crossed::expect_closed)?;
    agent.sweep_again()?;
    expect("closed stays exact", Crossed::expect_closed)
}

/// A connection that several processes hold open and send over counts as one.
pub(super) fn shared(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _sink = server.serve(server.at(8080), &["--ports", "2"])?;
    // The first are shut down while other processes still hold the socket; the second end with the last process.
    let mut all = [
        client.hold(server.at(8080), &["--count", "2", "--share", "3"])?,
        client.hold(server.at(8081), &["--count", "2", "--share", "3", "--end", "abrupt"])?,
    ];
    let ends = [Ends::v4(&client, &server, 8080), Ends::v4(&client, &server, 8081)];
    let crossed = Crossed::each(2, 15_001, 0);
    for client in &mut all {
        client.run_command("send 10000")?;
        client.run_command("relay 5001")?;
    }
    agent.until("each counts once, however many hold it", |metrics| {
        ends.iter().try_for_each(|ends| crossed.expect_open(metrics, ends))
    })?;
    for client in all {
        client.finish()?;
    }
    server.wait_quiet()?;
    let expect = || {
        agent.until("each ends once", |metrics| {
            ends.iter().try_for_each(|ends| crossed.expect_closed(metrics, ends))
        })
    };
    expect()?;
    agent.sweep_again()?;
    expect()
}

/// Sockets whose connection has ended, by FIN or by reset, while their file is still open are counted once.
pub(super) fn outlived(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let unread = server.serve(server.at(8081), &["--mode", "never-read"])?;
    let mut ended = client.hold(server.at(8080), &["--count", "3"])?;
    let mut reset = client.hold(server.at(8081), &["--count", "3"])?;
    ended.run_command("echo 5003")?;
    reset.run_command("send 1009")?;
    let ends = [Ends::v4(&client, &server, 8080), Ends::v4(&client, &server, 8081)];
    let crossed = [Crossed::each(3, 5003, 5003), Crossed::each(3, 1009, 0)];
    let expect = |what: &str, check: fn(&Crossed, &Metrics, &Ends) -> Result<()>| {
        agent.until(what, |metrics| {
            crossed.iter().zip(&ends).try_for_each(|(crossed, ends)| check(crossed, metrics, ends))
        })
    };
    expect("all are open", Crossed::expect_open)?;
    ended.run_command("end-both")?;
    // A process that ends with bytes unread resets its connections.
    unread.finish()?;
    expect("the connections are over", Crossed::expect_closed)?;
    agent.sweep_again()?;
    expect("sockets without a connection count no more", Crossed::expect_closed)?;
    ended.finish()?;
    reset.finish()?;
    agent.sweep_again()?;
    expect("nor does the end of their files", Crossed::expect_closed)
}

/// A socket that is disconnected and connected again counts as two connections, each with its own bytes.
pub(super) fn reconnected(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let (_net, client, server) = Net::pair(name)?;
    let _echo = server.serve(server.at(8080), &["--mode", "echo"])?;
    let ends = Ends::v4(&client, &server, 8080);
    let mut held = client.hold(server.at(8080), &["--count", "2"])?;
    held.run_command("echo 10007")?;
    let first = Crossed::each(2, 10_007, 10_007);
    // The disconnect is a reset, which acknowledges nothing: what the server sent has to be acknowledged before.
    agent.until("the first connections are counted", |metrics| first.expect_open(metrics, &ends))?;
    held.run_command("reconnect")?;
    held.run_command("echo 301")?;
    let both = first.and(Crossed::each(2, 301, 301));
    agent.until("the second ones begin from nothing", |metrics| both.expect_bytes(metrics, &ends))?;
    let outcome = held.finish()?;
    ensure!((outcome.count("connected"), outcome.count("broken")) == (4, 0), "{outcome:?}");
    agent.until("each is counted once", |metrics| both.expect_closed(metrics, &ends))
}
