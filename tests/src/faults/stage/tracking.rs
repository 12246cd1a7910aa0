//! Connection tracking of a pod that has no room: its limit is the whole machine's, so that only one case at a time has it.

use std::{
    fs,
    net::SocketAddr,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::{Context as _, Result};

use crate::lab::topology::{Client, Pod};

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
static LIMITED: RwLock<()> = RwLock::new(());

/// A pod whose connections are tracked, with many that are open and go on.
pub(super) struct Tracking {
    _open: Client,
    entries: u64,
    /// The limit that the machine has else, while it has another one.
    before: Option<String>,
    _alone: RwLockWriteGuard<'static, ()>,
}

impl Tracking {
    /// Has `tracked` track its connections, and opens so many from the client to this server.
    pub(super) fn fill(tracked: &Pod, client: &Pod, server: SocketAddr, entries: u64) -> Result<Self> {
        let alone = LIMITED.write().unwrap_or_else(PoisonError::into_inner);
        let rule = "table inet lab_tracked {\n chain tracked {\n  type filter hook input priority 0;\n  ct state invalid counter\n }\n}\n";
        tracked.run("nft", &["-f", "-"], rule)?;
        let open = client.hold(server, &["--count", &entries.to_string()])?;
        Ok(Self { _open: open, entries, before: None, _alone: alone })
    }

    /// Makes its table full, or gives it room again.
    pub(super) fn is_full(&mut self, is_full: bool) -> Result<()> {
        if is_full {
            self.before = Some(fs::read_to_string(LIMIT).with_context(|| format!("reading {LIMIT}"))?);
            set(&self.entries.to_string())
        } else {
            self.before.take().map_or(Ok(()), |before| set(&before))
        }
    }
}

/// While it is held no case makes tables full: for those whose connections are tracked.
pub(super) fn with_room() -> RwLockReadGuard<'static, ()> {
    LIMITED.read().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Tracking {
    fn drop(&mut self) {
        // A case that fails leaves the machine as it was.
        let _ = self.is_full(false);
    }
}

fn set(limit: &str) -> Result<()> {
    fs::write(LIMIT, limit).with_context(|| format!("writing {LIMIT}"))
}
