//! Files that a pod's programs read, in a directory that goes with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::topology::Pod;

/// A directory of one pod; removed, with what is in it, when dropped.
pub(crate) struct Files {
    path: PathBuf,
}

impl Files {
    /// An empty directory; `what` distinguishes it from other directories of the pod.
    pub(crate) fn new(pod: &Pod, what: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{}-{what}", pod.workload()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // In the temporary directory: a leftover does no harm.
        let _ = fs::remove_dir_all(&self.path);
    }
}
