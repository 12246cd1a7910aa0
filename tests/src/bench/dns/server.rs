//! A widely used DNS server: dnsmasq, which needs one process and no configuration file, and is as fast as unbound.

use std::net::SocketAddr;

use anyhow::Result;

use crate::lab::{process::Process, topology::Pod};

/// A running server; killed when dropped.
pub(super) struct DnsServer {
    process: Process,
}

impl DnsServer {
    /// Starts it at one address of a pod. It has an address of either family for every name below `cluster.local`, and
    /// no upstream server for others.
    pub(super) fn start(pod: &Pod, at: SocketAddr) -> Result<Self> {
        let mut command = pod.command("dnsmasq")?;
        command
            .args([
                "--keep-in-foreground",
                "--log-facility=-",
                "--conf-file=/dev/null",
                "--pid-file",
                "--user=root",
            ])
            .args(["--no-hosts", "--no-resolv", "--bind-interfaces"])
            .arg(format!("--listen-address={}", at.ip()))
            .arg(format!("--port={}", at.port()))
            .args(["--address=/cluster.local/10.96.7.9", "--address=/cluster.local/fd96::7:9"]);
        let process = Process::spawn("dnsmasq", &mut command)?;
        process.wait_stderr("its start", |line| line.contains("started, version").then_some(()))?;
        Ok(Self { process })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }
}
