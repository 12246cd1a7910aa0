//! A real browser, which makes pictures of the dashboards: Chromium without windows, out of Debian's packages.
//!
//! It is large (96 MB to fetch, 300 MB unpacked), so only what asks for pictures fetches it. Where it is there, the lab uses it.

use std::path::PathBuf;

use anyhow::Result;

use super::{packages::Purpose, unpacked::Unpacked};
use crate::exec;

const CHROMIUM: Unpacked = Unpacked {
    purpose: Purpose::Browser,
    packages: &["chromium-headless-shell", "chromium-common"],
    bin: "usr/lib/chromium",
    programs: &["chromium-headless-shell"],
    libraries_of: Some("chromium-headless-shell"),
};

/// Gets it, unless it is there; returns the directory to add to the search path.
///
/// # Errors
///
/// When it cannot be unpacked, or its libraries cannot be installed.
pub(crate) fn ensure() -> Result<PathBuf> {
    match exec::find_on_path(CHROMIUM.programs[0]).and_then(|program| program.parent().map(PathBuf::from)) {
        Some(directory) => Ok(directory),
        None => CHROMIUM.ensure(),
    }
}

/// Its directory, if it was unpacked.
pub(crate) fn unpacked() -> Option<PathBuf> {
    CHROMIUM.bin().ok().filter(|directory| directory.join(CHROMIUM.programs[0]).is_file())
}
