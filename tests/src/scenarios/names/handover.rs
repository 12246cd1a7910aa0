//! Addresses that pass on as with kubelets: the object first, its address a second or two after its first traffic, and nothing
//! waits until the agent knows.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result};

use super::{Cluster, Member};
use crate::{
    apiserver::{now, objects::Pod},
    lab::crossed::Crossed,
};

/// Holders of the address, one after the other.
const HOLDERS: u64 = 6;

/// Times that are drawn from a seed.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // Knuth's linear congruential generator (The Art of Computer Programming, volume 2, 3.3.4); its high bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Waits for so many milliseconds.
    pub(super) fn wait(&mut self, from: u64, until: u64) {
        sleep(Duration::from_millis(from + self.below(until - from)));
    }
}

/// Each holder of an address has what it sent, and nothing else, although no reading of the tables comes in between.
pub(in crate::scenarios) fn as_kubelets_do(name: &str) -> Result<()> {
    let seed = u64::from(std::process::id());
    passes_on(name, &mut Draw::new(seed)).with_context(|| format!("the seed is {seed}"))
}

fn passes_on(name: &str, draw: &mut Draw) -> Result<()> {
    let cluster = Cluster::new(name, &[])?;
    let server = cluster.stateful("db")?;
    let agent = cluster.agent_that_knows(name, 1)?;
    let _echo = server.serve()?;
    let mut gone: Vec<(Member, Crossed)> = Vec::new();
    for number in 0..HOLDERS {
        let workload = format!("number-{number}");
        let object = Pod::of_deployment(&cluster.namespace, &workload, 0).created(now());
        cluster.api.put_pod(&object)?;
        draw.wait(300, 4000);
        let pod = match gone.last() {
            Some((last, _)) => cluster.net.pod_instead_of(&last.pod, &object.name, &object.uid)?,
            None => cluster.net.pod_of_uid(&object.name, &object.uid)?,
        };
        let object = object.at(pod.v4).at(pod.v6);
        let member = Member { pod, object, workload };
        let crossed = member.call(&server, number + 2, 101)?;
        let ended = || member.object.clone().ended("Succeeded", now());
        draw.wait(1000, 2000);
        // Its end may be in the first status that has its address.
        let has_status = draw.below(3) > 0;
        if has_status {
            cluster.api.put_pod(&member.object)?;
            draw.wait(1, 3000);
        }
        if has_status && draw.below(2) == 0 {
            cluster.api.delete_pod(&member.object)?;
        } else {
            cluster.api.put_pod(&ended())?;
        }
        draw.wait(300, 4000);
        gone.push((member, crossed));
    }
    server.pod.wait_quiet()?;
    agent.until("each has its own", |metrics| {
        let mut all = 0;
        for (member, crossed) in &gone {
            crossed.expect_closed(metrics, &member.ends(&server))?;
            all += crossed.connections;
        }
        server.expect_accepted(metrics, all)
    })?;
    cluster.end(&agent)
}
