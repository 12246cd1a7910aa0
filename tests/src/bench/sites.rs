//! Where the two ends of a load run and meet: addresses and processors.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::lab::topology::Pod;

/// How clients and servers share the processors.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Placement {
    /// A client and its server on each processor: neither waits for the other's interrupt, which is the least work,
    /// the least noise, and the largest share for the agent
    Together,
    /// One client on one processor, its server on another
    Apart,
    /// A client and a server for each processor, where the kernel puts them
    Free,
}

/// Where a server listens and where its client sends to, which is the same unless something between them changes it;
/// and the processors of the client and the server, unless they are the kernel's choice.
#[derive(Clone, Copy)]
pub(super) struct Site {
    pub(super) listen: SocketAddr,
    pub(super) to: SocketAddr,
    processors: Option<[usize; 2]>,
}

impl Site {
    /// Ports of the pod, from `first` on.
    pub(super) fn ports(pod: &Pod, first: u16, placement: Placement) -> Result<Vec<Self>> {
        Ok((first..).zip(placement.pairs()?).map(|(port, pair)| Self::new(pod.at(port), pair)).collect())
    }

    /// The same port of several addresses, which the pod gets.
    pub(super) fn addresses(pod: &Pod, port: u16, placement: Placement) -> Result<Vec<Self>> {
        // Pods themselves have low ones.
        const FIRST: u8 = 200;
        let [a, b, c, _] = pod.v4.octets();
        let own = |(number, pair)| {
            pod.also_at(&format!("{a}.{b}.{c}.{number}/24"))?;
            Ok(Self::new(SocketAddr::from(([a, b, c, number], port)), pair))
        };
        (FIRST..).zip(placement.pairs()?).map(own).collect()
    }

    fn new(at: SocketAddr, processors: Option<[usize; 2]>) -> Self {
        Self { listen: at, to: at, processors }
    }

    /// The same with other ports.
    pub(super) fn with_ports(mut self, listen: u16, to: u16) -> Self {
        self.listen.set_port(listen);
        self.to.set_port(to);
        self
    }

    /// Puts a client on its processor.
    pub(super) fn seat_client(&self, pid: u32) -> Result<()> {
        self.processors.map_or(Ok(()), |[client, _]| bind_to(pid, client))
    }

    /// Puts a server on its processor.
    pub(super) fn seat_server(&self, pid: u32) -> Result<()> {
        self.processors.map_or(Ok(()), |[_, server]| bind_to(pid, server))
    }
}

impl Placement {
    /// The processors of each pair of programs.
    fn pairs(self) -> Result<Vec<Option<[usize; 2]>>> {
        let all = processors()?;
        Ok(match (self, &all[..]) {
            (Self::Apart, [client, server, ..]) => vec![Some([*client, *server])],
            (Self::Free, all) => vec![None; all.len()],
            (_, all) => all.iter().map(|&both| Some([both, both])).collect(),
        })
    }
}

/// The processors that we may use, a few at most: a switch of veth pairs is no faster with more.
fn processors() -> Result<Vec<usize>> {
    const ENOUGH: usize = 8;
    let ours = sched_getaffinity(None).context("asking for our processors")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| ours.is_set(cpu)).take(ENOUGH).collect())
}

/// Binds all threads of a process, and those that they will start, to a processor.
fn bind_to(pid: u32, cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    let tasks = Path::new("/proc").join(pid.to_string()).join("task");
    for task in fs::read_dir(&tasks).with_context(|| format!("listing {}", tasks.display()))? {
        let task = task?.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        sched_setaffinity(Some(task.context("a task without a number")?), &only)
            .with_context(|| format!("binding {pid} to processor {cpu}"))?;
    }
    Ok(())
}
