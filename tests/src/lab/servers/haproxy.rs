//! HAProxy.

use std::net::SocketAddr;

use anyhow::Result;

use super::until_it_accepts;
use crate::lab::{files::Files, process::Process, topology::Pod};

/// A running proxy; killed when dropped.
pub(crate) struct Haproxy {
    _process: Process,
    _files: Files,
}

impl Haproxy {
    pub(crate) const PORT: u16 = 8000;

    /// Starts one that passes requests of HTTP on to a server, over connections that it keeps alive and uses for any client, with one thread, and
    /// waits until it serves.
    pub(crate) fn start(pod: &Pod, to: SocketAddr) -> Result<Self> {
        let files = Files::new(pod, "haproxy")?;
        let config = format!(
            "global\n  maxconn 100\n  nbthread 1\ndefaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n  timeout client 10m\n  \
             timeout server 10m\nfrontend front\n  bind {}:{}\n  default_backend back\nbackend back\n  server one {to} pool-purge-delay 10m\n",
            pod.v4,
            Self::PORT
        );
        let config = files.write("haproxy.cfg", &config)?;
        let mut command = pod.command("haproxy")?;
        // In the foreground.
        command.arg("-db").arg("-f").arg(config);
        let process = Process::spawn("haproxy", &mut command)?;
        until_it_accepts(&process, pod, pod.at(Self::PORT))?;
        Ok(Self { _process: process, _files: files })
    }
}
