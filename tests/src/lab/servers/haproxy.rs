//! HAProxy.

use std::net::SocketAddr;

use anyhow::Result;
use rustix::process::Signal;

use super::until_it_accepts;
use crate::lab::{
    cgroup::{Cgroup, kubepods},
    files::Files,
    process::Process,
    topology::Pod,
};

/// A running proxy; killed when dropped.
pub(crate) struct Haproxy {
    process: Process,
    _files: Files,
    _cgroup: Option<Cgroup>,
}

impl Haproxy {
    pub(crate) const PORT: u16 = 8000;

    /// Starts one that passes requests of HTTP on to a server, over connections that it keeps alive and uses for any client, with one thread, and
    /// waits until it serves.
    pub(crate) fn start(pod: &Pod, to: SocketAddr) -> Result<Self> {
        let config = format!(
            "global\n  maxconn 100\n  nbthread 1\ndefaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n  timeout client 10m\n  \
             timeout server 10m\nfrontend front\n  bind {}:{}\n  default_backend back\nbackend back\n  server one {to} pool-purge-delay 10m\n",
            pod.v4,
            Self::PORT
        );
        Self::run(pod, None, pod.at(Self::PORT), &config)
    }

    /// Starts one as the sidecar of the pod with this uid, in a container of its own: it passes on what connects to `listen`.
    pub(crate) fn beside(
        scenario: &str,
        pod: &Pod,
        uid: &str,
        listen: SocketAddr,
        to: SocketAddr,
    ) -> Result<Self> {
        // Not below the cgroup of the pod's first container: an agent recognises both by the uid.
        let cgroup = Cgroup::with_layout(scenario, &format!("{}-haproxy", pod.port), &kubepods(uid))?;
        let config = format!(
            "global\n  maxconn 500\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  \
             timeout server 10m\nlisten all\n  bind {listen}\n  server one {to}\n"
        );
        Self::run(pod, Some(cgroup), listen, &config)
    }

    fn run(pod: &Pod, cgroup: Option<Cgroup>, listen: SocketAddr, config: &str) -> Result<Self> {
        let files = Files::new(pod, "haproxy")?;
        let config = files.write("haproxy.cfg", config)?;
        let mut command = match &cgroup {
            Some(cgroup) => pod.command_in(cgroup.path(), "haproxy")?,
            None => pod.command("haproxy")?,
        };
        // In the foreground.
        command.arg("-db").arg("-f").arg(config);
        let process = Process::spawn("haproxy", &mut command)?;
        until_it_accepts(&process, pod, listen)?;
        Ok(Self { process, _files: files, _cgroup: cgroup })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}
