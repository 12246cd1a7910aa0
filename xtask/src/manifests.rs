//! Checks what users apply from `deploy/`: the manifests, built with kustomize, and the chart, rendered by Helm. Every object is
//! validated against the schemas of Kubernetes.

mod chart;
mod compare;
mod refused;
mod schemas;

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{exec, tools, tools::Validator, workspace};

/// What users apply with kubectl.
const WHOLES: [&str; 5] = [KUBERNETES, EVENTS, OLD_KERNELS, PODMONITOR, WEB_CONFIG];
const KUBERNETES: &str = "deploy/kubernetes";
const EVENTS: &str = "deploy/overlays/events";
const OLD_KERNELS: &str = "deploy/overlays/old-kernels";
const PODMONITOR: &str = "deploy/overlays/podmonitor";
const WEB_CONFIG: &str = "deploy/overlays/web-config";

/// The oldest release that knows every field that is used (`recursiveReadOnly`), and the newest with schemas.
const RELEASES: [&str; 2] = ["1.30.0", "1.37.0"];

/// Fails unless every object of every overlay and of the chart is valid, with no field that Kubernetes does not know, the chart
/// is what the manifests are, and it refuses values that are wrong.
pub(crate) fn check() -> Result<()> {
    let validator = tools::validator()?;
    let directory = workspace::root()?.join("target/manifests");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut manifests = BTreeMap::new();
    for whole in WHOLES {
        let objects = kustomize(&validator, whole)?;
        for release in RELEASES {
            schemas::validate(&validator, &directory, whole, &objects, release)?;
        }
        manifests.insert(whole, objects);
    }
    let sets = chart::check(&validator, &directory, &manifests)?;
    let refused = refused::check(&validator, &directory)?;
    exec::say(format!(
        "manifests: {} overlays; chart: {sets} sets of values, {refused} that are refused",
        WHOLES.len()
    ));
    Ok(())
}

/// All objects of an overlay.
fn kustomize(validator: &Validator, whole: &str) -> Result<String> {
    exec::output(
        Command::new(&validator.kubectl).current_dir(workspace::root()?).args(["kustomize", whole]),
        &format!("putting {whole} together"),
    )
}
