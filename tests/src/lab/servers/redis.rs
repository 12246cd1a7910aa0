//! Redis.

use anyhow::Result;

use crate::lab::{process::Process, topology::Pod};

/// A running server; killed when dropped.
pub(crate) struct Redis {
    _process: Process,
}

impl Redis {
    /// Starts one at a port of the pod, without files and with `DEBUG`, and waits until it serves.
    pub(crate) fn start(pod: &Pod, port: u16) -> Result<Self> {
        let (address, port) = (pod.v4.to_string(), port.to_string());
        let mut command = pod.command("redis-server")?;
        command.args(["--bind", &address, "--port", &port, "--save", "", "--appendonly", "no"]);
        command.args(["--protected-mode", "no", "--enable-debug-command", "yes", "--daemonize", "no"]);
        let process = Process::spawn("redis-server", &mut command)?;
        process.wait_stdout("its service", |line| line.contains("Ready to accept").then_some(()))?;
        Ok(Self { _process: process })
    }
}
