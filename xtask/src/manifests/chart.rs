//! The Helm chart: linted and rendered by Helm with many sets of values, and compared with the manifests.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use serde_json::Value;

use super::{
    EVENTS, KUBERNETES, OLD_KERNELS, PODMONITOR, RELEASES,
    compare::{self, Objects},
    schemas,
};
use crate::{exec, tools::Validator, workspace};

const CHART: &str = "deploy/helm/netcause";
/// Each file is a set of values that a user may begin with.
const EXAMPLES: &str = "deploy/helm/values";
/// Examples that say that nothing has to be set.
const UNCHANGED: [&str; 1] = ["bottlerocket"];
/// The namespace of the manifests.
const NAMESPACE: &str = "netcause";

/// Values, as Helm's arguments.
struct Set {
    name: String,
    arguments: Vec<String>,
}

/// What is rendered with values, in one release of Kubernetes.
pub(super) fn template(validator: &Validator, arguments: &[String], release: &str) -> Result<Command> {
    let mut helm = Command::new(&validator.helm);
    helm.current_dir(workspace::root()?)
        .args(["template", "netcause", CHART, "--namespace", NAMESPACE, "--kube-version", release])
        .args(arguments);
    Ok(helm)
}

/// Fails unless Helm takes each set of values, all objects are valid, they have the values, and they are those of the manifests
/// where they must be. Says how many sets there are.
pub(super) fn check(
    validator: &Validator,
    directory: &Path,
    manifests: &BTreeMap<&str, String>,
) -> Result<usize> {
    let sets = sets()?;
    let mut newest = BTreeMap::new();
    for Set { name, arguments } in &sets {
        let what = format!("chart {name}");
        lint(validator, arguments).with_context(|| what.clone())?;
        for release in RELEASES {
            let objects = exec::output(&mut template(validator, arguments, release)?, &what)?;
            schemas::validate(validator, directory, &what, &objects, release)?;
            newest.insert(name.as_str(), compare::objects(&objects).with_context(|| what.clone())?);
        }
    }
    for (name, objects) in &newest {
        let is_changed = *objects != newest["default"];
        if is_changed == (*name == "default" || UNCHANGED.contains(name)) {
            bail!("the values {name}: that they change something is {is_changed}");
        }
        settings_arrive(name, objects).with_context(|| format!("the values {name}"))?;
    }
    same_as_manifests(&newest, manifests)?;
    copies_are_objects(&newest)?;
    Ok(sets.len())
}

/// Fails unless the configuration file of the agent says what an example says, numbers in their own form included.
fn settings_arrive(name: &str, objects: &Objects) -> Result<()> {
    let Ok(example) = fs::read_to_string(workspace::root()?.join(format!("{EXAMPLES}/{name}.yaml"))) else {
        return Ok(());
    };
    let example: Value = serde_saphyr::from_str(&example).context("reading the example")?;
    let file = objects.get("ConfigMap netcause").and_then(|map| map.pointer("/data/config.yaml"));
    let file = file.context("there is no configuration file")?;
    for (key, value) in example.get("config").and_then(Value::as_object).into_iter().flatten() {
        if file.get(key) != Some(value) {
            bail!("{key} of the configuration file is {:?}, not {value}", file.get(key));
        }
    }
    Ok(())
}

fn same_as_manifests(newest: &BTreeMap<&str, Objects>, manifests: &BTreeMap<&str, String>) -> Result<()> {
    let manifests = |whole: &str| compare::objects(&manifests[whole]);
    compare::all_same(&newest["namespace"], &manifests(KUBERNETES)?)?;
    compare::all_same(&newest["namespace, old kernels"], &manifests(OLD_KERNELS)?)?;
    for (name, whole, objects) in [
        ("prometheus-operator", PODMONITOR, &["PodMonitor netcause"][..]),
        ("events", EVENTS, &["ClusterRole netcause-events", "ClusterRoleBinding netcause-events"]),
    ] {
        let chart = newest.get(name).with_context(|| format!("there is no {EXAMPLES}/{name}.yaml"))?;
        for object in objects {
            compare::same(object, chart, &manifests(whole)?)?;
        }
    }
    Ok(())
}

/// Fails unless each file of dashboards and rules in the chart becomes an object.
fn copies_are_objects(newest: &BTreeMap<&str, Objects>) -> Result<()> {
    for (prefix, copies) in
        [("ConfigMap netcause-dashboard-", "dashboards"), ("PrometheusRule netcause-", "rules")]
    {
        let files = fs::read_dir(workspace::root()?.join(CHART).join(copies)).map_or(0, Iterator::count);
        let objects = newest["prometheus-operator"].keys().filter(|name| name.starts_with(prefix)).count();
        if objects != files {
            bail!("the chart has {files} files in {copies} and makes {objects} objects of them");
        }
    }
    Ok(())
}

fn lint(validator: &Validator, arguments: &[String]) -> Result<()> {
    let mut helm = Command::new(&validator.helm);
    helm.current_dir(workspace::root()?).args(["lint", "--strict", CHART]).args(arguments);
    let output = helm.output().context("cannot start helm")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
    Ok(())
}

/// The default, the examples, and some that are compared.
fn sets() -> Result<Vec<Set>> {
    let set = |name: &str, values: &[&str]| {
        let arguments = values.iter().flat_map(|value| ["--set", value]).map(str::to_owned).collect();
        Set { name: name.to_owned(), arguments }
    };
    let mut sets = vec![
        set("default", &[]),
        set("namespace", &["namespace.create=true"]),
        set("namespace, old kernels", &["namespace.create=true", "oldKernels=true"]),
        set("tls", &["scheme=HTTPS"]),
        set(
            "tls, operator",
            &[
                "scheme=HTTPS",
                "podMonitor.enabled=true",
                "podMonitor.nativeHistograms=true",
                "podMonitor.endpoint.basicAuth.username.name=netcause-web",
                "podMonitor.endpoint.basicAuth.username.key=user",
                "podMonitor.endpoint.tlsConfig.insecureSkipVerify=true",
            ],
        ),
    ];
    let directory = workspace::root()?.join(EXAMPLES);
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot list {}", directory.display()))?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(".yaml").map(str::to_owned));
    }
    names.sort_unstable();
    let file = |name: &String| ["--values".to_owned(), format!("{EXAMPLES}/{name}.yaml")];
    // All at once, as far as they do not contradict each other: the last one counts.
    let all = names.iter().flat_map(file).collect();
    sets.extend(names.iter().map(|name| Set { name: name.clone(), arguments: file(name).into() }));
    sets.push(Set { name: "all examples".to_owned(), arguments: all });
    Ok(sets)
}
