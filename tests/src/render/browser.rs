//! A real browser: a picture of a page, and what does not fit on it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::lab::process::Process;

/// Chromium without a window: `cargo xtask setup --browser` unpacks it.
pub(super) const PROGRAM: &str = "chromium-headless-shell";

/// How wide a page is, in pixels: a window that fills a usual screen.
const WIDTH: u64 = 1600;
/// It begins within a second, and lets nobody wait where it does not.
const LIMIT: Duration = Duration::from_secs(60);

/// What of a panel does not fit.
#[derive(Deserialize)]
struct Cut {
    panel: String,
    what: String,
}

/// The browser, where there is one.
pub(super) fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(PROGRAM)).find(|file| file.is_file())
}

/// Draws a page into a PNG beside it. Returns what does not fit.
pub(super) fn picture(browser: &Path, page: &Path, height: u64) -> Result<Vec<String>> {
    let page = fs::canonicalize(page).with_context(|| format!("finding {}", page.display()))?;
    let (png, profile) = (page.with_extension("png"), page.with_extension("profile"));
    let mut command = Command::new(browser);
    // The page is our own, and reads nothing: without its sandbox, which root cannot have.
    command.args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("--window-size={WIDTH},{height}"));
    command.arg(format!("--screenshot={}", png.display()));
    command.arg(format!("file://{}", page.display()));
    let dom = Process::run_within(LIMIT, PROGRAM, &mut command, "")?.success()?;
    // Its profile is empty; what is left of it does no harm.
    let _ = fs::remove_dir_all(profile);
    let list = dom.split_once("id=\"cut\">").and_then(|(_, rest)| rest.split_once("</script>"));
    let (list, _) = list.with_context(|| format!("the script of {} failed", page.display()))?;
    let cut: Vec<Cut> = serde_json::from_str(list).context("reading what does not fit")?;
    Ok(cut.into_iter().map(|Cut { panel, what }| format!("{panel}: {what}")).collect())
}
