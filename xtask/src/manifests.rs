//! Checks the manifests in `deploy/`: built with kustomize as users do it, validated against the schemas of Kubernetes.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{exec, tools, workspace};

/// What users apply.
const WHOLES: [&str; 4] = [
    "deploy/kubernetes",
    "deploy/overlays/events",
    "deploy/overlays/old-kernels",
    "deploy/overlays/podmonitor",
];

/// The oldest release that knows every field that is used (`recursiveReadOnly`), and the newest with schemas.
const RELEASES: [&str; 2] = ["1.30.0", "1.37.0"];

/// Kinds without a schema there, because they are not part of Kubernetes; tidy checks them.
const FOREIGN: [&str; 1] = ["PodMonitor"];

/// Fails unless every object of every overlay is valid, with no field that Kubernetes does not know.
pub(crate) fn check() -> Result<()> {
    let validator = tools::validator()?;
    let directory = workspace::root()?.join("target/manifests");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for whole in WHOLES {
        let mut kustomize = Command::new(&validator.kubectl);
        let objects = exec::output(
            kustomize.current_dir(workspace::root()?).args(["kustomize", whole]),
            &format!("putting {whole} together"),
        )?;
        let file = directory.join(whole.replace('/', "-")).with_extension("yaml");
        fs::write(&file, &objects).with_context(|| format!("cannot write {}", file.display()))?;
        for release in RELEASES {
            let mut validate = Command::new(&validator.validate);
            let output = validate
                .args(["--strict", "--kubernetes-version", release])
                .arg(&file)
                .output()
                .context("cannot start kubernetes-validate")?;
            let messages = [output.stdout, output.stderr].concat();
            let messages = String::from_utf8_lossy(&messages);
            if !output.status.success() {
                bail!("{whole} is not valid in Kubernetes {release}:\n{messages}");
            }
            all_were_checked(&objects, &messages)
                .with_context(|| format!("{whole}, Kubernetes {release}"))?;
        }
    }
    Ok(())
}

/// Fails when an object has no schema, which the validator lets pass, or was not looked at.
fn all_were_checked(objects: &str, messages: &str) -> Result<()> {
    let is_foreign = |line: &&str| FOREIGN.iter().any(|kind| line.contains(&format!("kind {kind} ")));
    if let Some(line) = messages.lines().find(|line| line.starts_with("WARN") && !is_foreign(line)) {
        bail!("{line}");
    }
    let kinds = objects.lines().filter_map(|line| line.strip_prefix("kind: "));
    let known = kinds.filter(|kind| !FOREIGN.contains(kind)).count();
    let passed = messages.lines().filter(|line| line.contains(" passed for resource ")).count();
    if known == 0 || passed != known {
        bail!("of {known} objects {passed} were checked:\n{messages}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_is_noticed() {
        let objects = "apiVersion: v1\nkind: Namespace\n---\nkind: PodMonitor\n";
        let passed = "INFO x passed for resource namespace/netcause against version 1.37\n";
        let foreign = "WARN x Couldn't find schema for kind PodMonitor with api version y\n";
        assert!(all_were_checked(objects, &format!("{passed}{foreign}")).is_ok());
        assert!(all_were_checked(objects, foreign).is_err());
        let unknown = "WARN x Couldn't find schema for kind Namespace with api version y\n";
        assert!(all_were_checked(objects, &format!("{passed}{unknown}")).is_err());
        assert!(all_were_checked("", "").is_err());
    }
}
