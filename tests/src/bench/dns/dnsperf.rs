//! dnsperf, a common load generator for DNS: it keeps a hundred queries in flight and counts their outcomes.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::lab::{process::Process, topology::Pod};

/// A file of queries; removed when dropped.
struct Questions {
    path: PathBuf,
}

impl Questions {
    /// Number of names, queried for A and AAAA in turn: enough that no query is in flight twice.
    const NAMES: u32 = 5000;

    /// Writes the queries, one per line, for the dnsperf of this server: the same query from two of them would look like a
    /// retry.
    fn write(server: SocketAddr) -> Result<Self> {
        let id = server.ip().to_string().replace(['.', ':'], "-");
        let path = std::env::temp_dir().join(format!("netcause-lab-{}-questions-{id}", std::process::id()));
        let lines = |number| {
            let name = format!("backend-{number:04}.at-{id}.svc.cluster.local");
            format!("{name} A\n{name} AAAA\n")
        };
        fs::write(&path, (0..Self::NAMES).map(lines).collect::<String>())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        // In the temporary directory: a leftover does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// A running dnsperf.
pub(super) struct Dnsperf {
    process: Process,
    limit: Duration,
    _questions: Questions,
}

/// The counts that it prints at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) completed: u64,
    pub(super) lost: u64,
    pub(super) per_second: f64,
}

impl Dnsperf {
    /// Starts it for this long, with this many sockets; at most `rate` queries a second, if given.
    pub(super) fn start(
        pod: &Pod,
        to: SocketAddr,
        time: Duration,
        sockets: u32,
        rate: Option<u32>,
    ) -> Result<Self> {
        let questions = Questions::write(to)?;
        let mut command = pod.command("dnsperf")?;
        // With EDNS, as resolvers send queries.
        command
            .args(["-e", "-s", &to.ip().to_string(), "-p", &to.port().to_string()])
            .args(["-l", &time.as_secs_f64().to_string(), "-c", &sockets.to_string(), "-d"])
            .arg(&questions.path);
        // It waits for the last answers, five seconds by default.
        if let Some(rate) = rate {
            command.args(["-Q", &rate.to_string()]);
        }
        let limit = time + Duration::from_secs(15);
        Ok(Self { process: Process::spawn("dnsperf", &mut command)?, limit, _questions: questions })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end.
    pub(super) fn finish(self) -> Result<Counts> {
        let said = self.process.finish_within(self.limit)?.success().context("dnsperf")?;
        Counts::read(&said).with_context(|| format!("reading what dnsperf says:\n{said}"))
    }
}

impl Counts {
    fn read(said: &str) -> Option<Self> {
        let after = |label: &str| {
            let rest = said.lines().find_map(|line| line.trim().strip_prefix(label))?;
            rest.split_whitespace().next()
        };
        Some(Self {
            sent: after("Queries sent:")?.parse().ok()?,
            completed: after("Queries completed:")?.parse().ok()?,
            lost: after("Queries lost:")?.parse().ok()?,
            per_second: after("Queries per second:")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_last_words_are_read() {
        let said = "Statistics:\n\n  Queries sent:         2258\n  Queries completed:    2250 (99.65%)\n  \
                    Queries lost:         8 (0.35%)\n\n  Queries per second:   901.26\n";
        let counts = Counts { sent: 2258, completed: 2250, lost: 8, per_second: 901.26 };
        assert_eq!(Counts::read(said), Some(counts));
        assert_eq!(Counts::read("Error: address in use\n"), None);
    }
}
