//! PostgreSQL.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::lab::{files::Files, process::Process, scaled, topology::Pod};

/// The user that root appears as: the server refuses to run as root, and initdb wants a user with a name.
const NOBODY: &str = "65534";

/// A running server with an empty database; ended when dropped.
pub(crate) struct Postgres {
    process: Process,
    _files: Files,
}

impl Postgres {
    pub(crate) const PORT: u16 = 5432;

    /// Starts one at the pod's address of IPv4, for everybody and without TLS, and waits until it serves.
    pub(crate) fn start(pod: &Pod) -> Result<Self> {
        let files = Files::new(pod, "postgres")?;
        let data = files.path().join("data");
        let mut init = command(pod, "initdb")?;
        init.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust"]);
        init.args(["--no-sync", "--locale=C", "--encoding=UTF8"]);
        Process::run("initdb", &mut init, "")?.success().context("making a database")?;
        // Rules for clients at other addresses.
        let rules = files.write("rules", "host all all all trust\n")?;
        let mut server = command(pod, "postgres")?;
        server.arg("-D").arg(&data).arg("-c").arg(format!("hba_file={}", rules.display()));
        for setting in ["unix_socket_directories=", "fsync=off", "jit=off"] {
            server.args(["-c", setting]);
        }
        server.arg("-c").arg(format!("listen_addresses={}", pod.v4));
        server.arg("-c").arg(format!("port={}", Self::PORT));
        let process = Process::spawn("postgres", &mut server)?;
        process.wait_stderr("its service", |line| line.contains("ready to accept").then_some(()))?;
        Ok(Self { process, _files: files })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that is killed leaves a segment of shared memory. This is its immediate shutdown.
        let _ = self.process.signal(Signal::QUIT);
        let _ = self.process.wait(Duration::from_secs(scaled(5, 30)));
    }
}

/// A program as another user than root, to itself: the files stay root's, and it is tied to the lab's life as all others.
fn command(pod: &Pod, program: &str) -> Result<Command> {
    let mut command = pod.command("unshare")?;
    let (user, group) = (format!("--map-user={NOBODY}"), format!("--map-group={NOBODY}"));
    command.args(["--user", &user, &group, "--", program]);
    Ok(command)
}
