//! The path between two simulated nodes: a program outside of every kernel.

use anyhow::Result;

use super::{
    machine,
    namespace::{Namespace, tethered},
    process::Process,
};

/// A running path; nothing passes any more when it is dropped.
pub(crate) struct NodePath {
    process: Process,
    /// Lines sent so far.
    lines: u64,
}

impl NodePath {
    /// Makes a TAP device in each of two namespaces, and passes frames between them.
    pub(super) fn between(a: &Namespace, b: &Namespace) -> Result<Self> {
        let [a, b] = [a, b].map(|end| format!("tap:{}", end.pid()));
        Self::of(&a, &b, 1)
    }

    /// Passes frames between two ends: see `netcause-lab traffic path --help`.
    pub(crate) fn of(a: &str, b: &str, seed: u64) -> Result<Self> {
        let mut command = tethered(None, None, &[])?;
        command.arg(&machine()?.exe).args(["traffic", "path", "--a", a, "--b", b]);
        command.args(["--seed", &seed.to_string()]);
        let process = Process::spawn("the path", &mut command)?;
        process.wait_stdout("its devices", |line| line.contains("\"ready\"").then_some(()))?;
        Ok(Self { process, lines: 0 })
    }

    /// From now on, treats frames so: `forward lose=0.05`, `both delay_ms=30`, `both`; see `netcause-lab traffic path`.
    pub(crate) fn treat(&mut self, how: &str) -> Result<()> {
        self.process.write_line(how)?;
        self.lines += 1;
        let done = format!("{{\"done\":{}}}", self.lines);
        self.process.wait_stdout("the path does so", |line| (line == done).then_some(()))
    }
}
