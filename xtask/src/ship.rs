//! What goes to users beside the program, the same in the image and in the Debian package: whose code is in it, under which
//! licenses; and archives of all that, whose bytes depend on their content alone.

pub(crate) mod archive;
mod bill;
mod crates;
mod licenses;

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{exec, linked::Library, workspace};
use archive::Tree;

/// The version of the workspace.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the program is; deploy/Containerfile and the unit file start it there.
pub(crate) const PROGRAM: &str = "/usr/bin/netcause";
/// In seconds since 1970: RFC 3339 writes years with four digits.
const YEAR_10000: u64 = 253_402_300_800;
/// Where licenses and the bill of materials are.
const DOCUMENTS: &str = "usr/share/doc/netcause";

/// When and from what this is made.
pub(crate) struct Origin {
    /// The time of all files, in seconds since 1970: `SOURCE_DATE_EPOCH` (reproducible-builds.org), else that of the commit.
    pub(crate) epoch: u64,
    /// The commit; none outside a clone.
    pub(crate) revision: Option<String>,
}

impl Origin {
    /// As the environment and the clone say.
    pub(crate) fn of_clone() -> Result<Self> {
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(workspace::root()?).args(args);
            exec::output(&mut git, "asking git").map(|answer| answer.trim().to_owned())
        };
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => text,
            Err(_) => git(&["log", "-1", "--format=%ct"])
                .context("without a clone SOURCE_DATE_EPOCH has to be set: the time of the files, in seconds since 1970")?,
        };
        let number = epoch.parse().ok().filter(|epoch| *epoch < YEAR_10000);
        let epoch = number.with_context(|| format!("no number of seconds since 1970: {epoch}"))?;
        Ok(Self { epoch, revision: git(&["rev-parse", "HEAD"]).ok() })
    }
}

/// The license of this project, those of everything that is linked into the program, and the bill of materials, with these shared
/// libraries that go with it.
pub(crate) fn documents(libraries: &[Library], origin: &Origin) -> Result<Tree> {
    let crates = crates::linked()?;
    let mut tree = Tree::default();
    let mut add = |name: &str, bytes: Vec<u8>| tree.file(&format!("{DOCUMENTS}/{name}"), 0o644, bytes);
    let license = workspace::root()?.join("LICENSE");
    let own = fs::read_to_string(&license).with_context(|| format!("cannot read {}", license.display()))?;
    add("third-party-licenses.txt", licenses::text(&crates, &own)?.into_bytes());
    if let Some(notices) = licenses::of_standard_library()? {
        add("rust-standard-library.html", notices);
    }
    add("sbom.cdx.json", bill::json(&crates, libraries, origin)?.into_bytes());
    add("LICENSE", own.into_bytes());
    Ok(tree)
}

/// The architecture of this machine as images and Debian's packages name it.
pub(crate) fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("the agent is not built for {other}"),
    }
}

/// A command that packages a program of the tests instead of the release.
#[derive(clap::Args)]
pub(crate) struct Program {
    /// Package this program instead of building one
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<std::path::PathBuf>,
}

impl Program {
    /// The program, built if none is given.
    pub(crate) fn get(&self) -> Result<std::path::PathBuf> {
        let Some(program) = &self.program else {
            let program = crate::build::release_agent()?;
            crate::remap::is_clean(&program)?;
            return Ok(program);
        };
        if !program.is_file() {
            bail!("there is no file {}", program.display());
        }
        Ok(program.clone())
    }
}

/// Writes an archive and says what was made.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    exec::say(format!(
        "{}: {}, sha256 {}",
        path.display(),
        archive::mebibytes(bytes.len()),
        archive::sha256(bytes)
    ));
    Ok(())
}
