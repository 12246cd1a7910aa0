//! Validates objects against the schemas of a release of Kubernetes, and those that are no part of it against schemas of our own.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{exec, tools::Validator};

/// Kinds that are not part of Kubernetes, with their schemas.
const FOREIGN: [(&str, &str); 3] = [
    ("PodMonitor", include_str!("foreign/PodMonitor.json")),
    ("PrometheusRule", include_str!("foreign/PrometheusRule.json")),
    ("SecurityContextConstraints", include_str!("foreign/SecurityContextConstraints.json")),
];

/// Validates the objects of a kind; the arguments are the kind, the schema, and the file with all objects. Prints how many there are.
const VALIDATE: &str = r#"
import json, sys, jsonschema, yaml
schema = json.loads(sys.argv[2])
objects = [o for o in yaml.safe_load_all(open(sys.argv[3])) if o and o["kind"] == sys.argv[1]]
for o in objects:
    for error in jsonschema.Draft7Validator(schema).iter_errors(o):
        sys.exit(f"{sys.argv[1]} {o['metadata']['name']}: {error.json_path}: {error.message}")
print(len(objects))
"#;

/// Fails unless all objects are valid in this release. `what` says where they are from, and names the file that they are written to.
pub(super) fn validate(
    validator: &Validator,
    directory: &Path,
    what: &str,
    objects: &str,
    release: &str,
) -> Result<()> {
    let file = directory.join(what.replace(['/', ' '], "-")).with_extension("yaml");
    fs::write(&file, objects).with_context(|| format!("cannot write {}", file.display()))?;
    let output = Command::new(&validator.validate)
        .args(["--strict", "--kubernetes-version", release])
        .arg(&file)
        .output()
        .context("cannot start kubernetes-validate")?;
    let messages = [output.stdout, output.stderr].concat();
    let messages = String::from_utf8_lossy(&messages);
    if !output.status.success() {
        bail!("{what} is not valid in Kubernetes {release}:\n{messages}");
    }
    all_were_checked(objects, &messages).with_context(|| format!("{what}, Kubernetes {release}"))?;
    for (kind, schema) in FOREIGN {
        let count = kinds(objects).filter(|other| *other == kind).count();
        if count > 0 {
            let mut validate = Command::new(&validator.python);
            let validated = exec::output(
                validate.args(["-c", VALIDATE, kind, schema]).arg(&file),
                &format!("validating the kind {kind} of {what}"),
            )?;
            if validated.trim() != count.to_string() {
                bail!("{what}: of {count} objects of the kind {kind} {} were checked", validated.trim());
            }
        }
    }
    Ok(())
}

/// The kind of each object.
fn kinds(objects: &str) -> impl Iterator<Item = &str> {
    objects.lines().filter_map(|line| line.strip_prefix("kind: "))
}

/// Fails when an object has no schema, which the validator lets pass, or was not looked at.
fn all_were_checked(objects: &str, messages: &str) -> Result<()> {
    let is_foreign = |line: &&str| FOREIGN.iter().any(|(kind, _)| line.contains(&format!("kind {kind} ")));
    if let Some(line) = messages.lines().find(|line| line.starts_with("WARN") && !is_foreign(line)) {
        bail!("{line}");
    }
    let is_known = |kind: &&str| FOREIGN.iter().all(|(foreign, _)| foreign != kind);
    let known = kinds(objects).filter(is_known).count();
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
