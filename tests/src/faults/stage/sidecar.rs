//! The sidecar of a client's pod, which the client connects to in place of its server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use rustix::process::Signal;

use crate::{
    faults::case::{Blow, Proxy},
    lab::{
        servers::Haproxy,
        topology::{Pod, Sidecar},
    },
};

/// Where sidecars of Istio take what leaves their pod.
pub(super) const OUTBOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15001);

/// A uid that no other pod of a lab has.
pub(super) fn uid(network: u8, seed: u64) -> String {
    format!("{:08x}-0000-4000-8000-{network:04x}{:08x}", std::process::id(), seed & 0xffff_ffff)
}

/// A sidecar.
pub(super) enum Beside {
    Relay(Sidecar),
    Haproxy(Haproxy),
}

impl Beside {
    /// Starts one in the pod with this uid, which passes on to a server.
    pub(super) fn start(proxy: Proxy, name: &str, pod: &Pod, uid: &str, to: SocketAddr) -> Result<Self> {
        Ok(match proxy {
            Proxy::Relay => Self::Relay(Sidecar::start(name, pod, uid, OUTBOUND, to)?),
            Proxy::Haproxy => Self::Haproxy(Haproxy::beside(name, pod, uid, OUTBOUND, to)?),
        })
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        match self {
            Self::Relay(sidecar) => sidecar.signal(signal),
            Self::Haproxy(haproxy) => haproxy.signal(signal),
        }
    }
}

impl super::Stage {
    /// What is done to the sidecar of an act, or undone.
    pub(super) fn strike(&mut self, number: usize, blow: Blow, on: bool) -> Result<()> {
        let traffic = &self.case.acts[number].traffic;
        let leg = &mut self.legs[number];
        match (blow, traffic.sidecar.zip(self.uid.as_deref())) {
            (Blow::Stop, _) => {
                let signal = if on { Signal::STOP } else { Signal::CONT };
                leg.sidecar.as_ref().map_or(Ok(()), |sidecar| sidecar.signal(signal))
            }
            (Blow::Kill, Some((proxy, uid))) if !on => {
                let to = super::address(&leg.server, self.case.v6, leg.port);
                leg.sidecar = Some(Beside::start(proxy, self.near.scenario(), &self.client, uid, to)?);
                Ok(())
            }
            (Blow::Kill, _) => {
                leg.sidecar = None;
                Ok(())
            }
        }
    }
}
