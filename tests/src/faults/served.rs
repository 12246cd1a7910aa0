//! The servers and clients of a case.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};

use super::{
    case::{Case, Protocol, Traffic},
    families,
};
use crate::lab::{
    servers::{Haproxy, Nginx, Postgres, Redis},
    topology::{Controlled, Pod},
};

/// Where servers of the lab listen, and the second port of theirs.
pub(super) const PORT: u16 = 8080;
pub(super) const SECOND: u16 = 8081;
const REDIS: u16 = 6379;

/// A running server; it ends when dropped.
pub(super) enum Served {
    Own(Controlled),
    Real { _servers: Vec<Real> },
}

/// A server that was not written for the lab.
pub(super) enum Real {
    Nginx { _server: Nginx },
    Haproxy { _server: Haproxy },
    Redis { _server: Redis },
    Postgres { _server: Postgres },
}

impl Served {
    /// Starts the server of this traffic.
    pub(super) fn start(pod: &Pod, port: u16, traffic: &Traffic, case: &Case) -> Result<Self> {
        let mut servers = Vec::new();
        match traffic.kind {
            Protocol::Tcp | Protocol::Dns => return serve(pod, port, traffic, case).map(Self::Own),
            Protocol::Nginx => servers.push(Real::Nginx { _server: Nginx::start(pod, &[])? }),
            Protocol::Haproxy => {
                servers.push(Real::Nginx { _server: Nginx::start(pod, &[])? });
                servers.push(Real::Haproxy { _server: Haproxy::start(pod, pod.at(Nginx::PORT))? });
            }
            Protocol::Redis => servers.push(Real::Redis { _server: Redis::start(pod, REDIS)? }),
            Protocol::Postgres => servers.push(Real::Postgres { _server: Postgres::start(pod)? }),
        }
        Ok(Self::Real { _servers: servers })
    }

    /// The program, where it is one of the lab.
    pub(super) fn own(&mut self) -> Result<&mut Controlled> {
        match self {
            Self::Own(program) => Ok(program),
            Self::Real { .. } => None.context("it is no program of the lab"),
        }
    }
}

/// Where the server of such traffic listens.
pub(super) const fn port(kind: Protocol) -> u16 {
    match kind {
        Protocol::Tcp => PORT,
        Protocol::Dns => 53,
        Protocol::Nginx => Nginx::PORT,
        Protocol::Haproxy => Haproxy::PORT,
        Protocol::Redis => REDIS,
        Protocol::Postgres => Postgres::PORT,
    }
}

pub(super) fn address(pod: &Pod, v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(if v6 { IpAddr::V6(pod.v6) } else { IpAddr::V4(pod.v4) }, port)
}

/// Small requests over kept connections.
pub(super) const fn small() -> Traffic {
    Traffic {
        kind: Protocol::Tcp,
        connections: 2,
        send: 200,
        receive: 400,
        interval_ms: 150,
        fresh: false,
        timeout_ms: 5_000,
        think_ms: 2,
        backlog: 1024,
        early: 0,
        second_port: false,
        keepalive_s: 0,
        user_timeout_ms: 0,
        truncated: 0,
        hangup: false,
        two_hosts: false,
        sidecar: None,
    }
}

/// Starts a server of the lab.
pub(super) fn serve(server: &Pod, port: u16, traffic: &Traffic, case: &Case) -> Result<Controlled> {
    let listen = address(server, case.v6, port).to_string();
    if traffic.kind == Protocol::Dns {
        let truncated = (traffic.truncated as f64 / 100.0).to_string();
        return server.start_controlled("dns-service", &["--listen", &listen, "--truncated", &truncated]);
    }
    let [think, backlog] = [traffic.think_ms, traffic.backlog].map(|number| number.to_string());
    let hangup: &[&str] = if traffic.hangup { &["--hangup"] } else { &[] };
    let args = ["--listen", &listen, "--think-ms", &think, "--backlog", &backlog];
    server.start_controlled("service", &[&args, hangup].concat())
}

/// Another address of a client, which no pod of its network has.
pub(super) fn also_at(client: &Pod) -> Ipv4Addr {
    Ipv4Addr::from_bits(client.v4.to_bits() | 128)
}

/// Starts a client.
pub(super) fn call(client: &Pod, to: SocketAddr, traffic: &Traffic, seed: u64) -> Result<Controlled> {
    let to = to.to_string();
    let Traffic { connections, send, receive, interval_ms, timeout_ms, .. } = *traffic;
    let numbers =
        [connections, send, receive, interval_ms, timeout_ms, seed].map(|number| number.to_string());
    let [connections, send, receive, interval, timeout, seed] = &numbers;
    let common = ["--connect", &to, "--interval-ms", interval, "--seed", seed];
    let language = match traffic.kind {
        Protocol::Tcp => None,
        Protocol::Dns => {
            let args = [&common[..], &["--parallel", connections]].concat();
            return client.start_controlled("dns-caller", &args);
        }
        Protocol::Nginx | Protocol::Haproxy => Some("http"),
        Protocol::Redis => Some("redis"),
        Protocol::Postgres => Some("postgres"),
    };
    if let Some(language) = language {
        let request = families::first_request(traffic.kind);
        let args = ["--language", language, "--request", request, "--connections", connections];
        return client.start_controlled("ask-often", &[&common[..], &args].concat());
    }
    let early = (traffic.early as f64 / 100.0).to_string();
    let args = ["--connections", connections, "--send", send, "--receive", receive];
    let [keepalive, user_timeout] =
        [traffic.keepalive_s, traffic.user_timeout_ms].map(|number| number.to_string());
    let kernel = ["--keepalive-s", &keepalive, "--user-timeout-ms", &user_timeout];
    let more = [&["--timeout-ms", timeout, "--early", &early][..], &kernel].concat();
    let fresh: &[&str] = if traffic.fresh { &["--fresh"] } else { &[] };
    let also = also_at(client).to_string();
    let from: &[&str] = if traffic.two_hosts { &["--also-from", &also] } else { &[] };
    client.start_controlled("caller", &[&common[..], &args, &more, fresh, from].concat())
}
