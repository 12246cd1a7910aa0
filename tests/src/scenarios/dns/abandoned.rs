//! Clients that do not wait for an answer: that is no timeout of the server.

use anyhow::{Result, ensure};

use crate::lab::{
    agent,
    crossed::Ends,
    dns::{PORT, counted::Counted},
    topology::Net,
};

const COUNT: u64 = 10;

/// Of two servers that are asked at once, as musl and dnsmasq do, the first answer counts, and the other server's, which
/// comes when the socket is closed, is one that was not waited for.
pub(in super::super) fn first_answer(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (client, fast, slow) = (net.pod("client")?, net.pod("fast")?, net.pod("slow")?);
    let servers =
        [fast.answer_dns(fast.at(PORT), &[])?, slow.answer_dns(slow.at(PORT), &["--delay-ms", "300"])?];
    let to = slow.at(PORT).to_string();
    let outcome = client.ask_dns(fast.at(PORT), &["--to", &to, "--count", "10", "--first"])?;
    ensure!((outcome.count("queries"), outcome.count("answers")) == (2 * COUNT, COUNT), "{outcome:?}");
    for server in servers {
        let outcome = server.finish()?;
        ensure!(outcome.count("answers") == COUNT, "{outcome:?}");
    }

    let at_fast = Counted::of(&[("A", COUNT)], &[("NOERROR", COUNT)]);
    let at_slow = Counted { abandoned: COUNT, ..Counted::of(&[("A", COUNT)], &[]) };
    agent.until("the slower server is not to blame", |metrics| {
        at_fast.expect_at_client(metrics, &Ends::v4(&client, &fast, PORT).client)?;
        at_slow.expect_at_client(metrics, &Ends::v4(&client, &slow, PORT).client)
    })
}

/// A client that closes its socket at once has abandoned its query; one that waits a second, as resolvers do at least, has
/// waited in vain.
pub(in super::super) fn gives_up(name: &str) -> Result<()> {
    let agent = agent::shared()?;
    let net = Net::new(name)?;
    let (hasty, patient, pod) = (net.pod("hasty")?, net.pod("patient")?, net.pod("server")?);
    let _silent = pod.serve_udp(pod.at(PORT), &["--mode", "sink"])?;
    for connected in [&[][..], &["--connected"]] {
        hasty.ask_dns(pod.at(PORT), &[connected, &["--count", "5", "--close-after-ms", "50"]].concat())?;
    }
    patient.ask_dns(pod.at(PORT), &["--count", "2", "--close-after-ms", "1000"])?;

    let by_hasty = Counted { abandoned: COUNT, retries: 5, ..Counted::of(&[("A", COUNT)], &[]) };
    let by_patient = Counted { timeouts: 2, ..Counted::of(&[("A", 2)], &[]) };
    agent.until("only one of them was left without an answer", |metrics| {
        by_patient.expect_at_client(metrics, &Ends::v4(&patient, &pod, PORT).client)?;
        by_hasty.expect_at_client(metrics, &Ends::v4(&hasty, &pod, PORT).client)
    })
}
