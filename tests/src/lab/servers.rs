//! Servers in a pod that were not written for the lab, each as its documentation starts it.

mod haproxy;
mod nginx;
mod postgres;
mod redis;

pub(crate) use haproxy::Haproxy;
pub(crate) use nginx::Nginx;
pub(crate) use postgres::Postgres;
pub(crate) use redis::Redis;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::{eventually, namespace::connect_in, process::Process, topology::Pod};

/// Waits until a server without a message about it accepts connections.
fn until_it_accepts(process: &Process, pod: &Pod, at: SocketAddr) -> Result<()> {
    let namespace = pod.open()?;
    eventually(&format!("a server at {at}"), || {
        ensure!(process.is_running(), "it has ended:\n{}", process.said());
        connect_in(&namespace, at).map(drop).with_context(|| process.said())
    })
}
