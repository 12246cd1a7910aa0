//! Compares objects of the chart with those of the manifests.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// What the chart has beside the manifest: it makes the agents restart when their configuration changes.
const CHECKSUM: &str = "checksum/config";

/// Objects by kind and name.
pub(super) type Objects = BTreeMap<String, Value>;

/// Reads objects that are to be compared: texts that are YAML themselves become what they say, and hooks of Helm are left out.
pub(super) fn objects(text: &str) -> Result<Objects> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).context("reading the objects")?;
    let mut objects = Objects::new();
    for mut object in all {
        let string =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if !string("/metadata/annotations/helm.sh~1hook").is_empty() {
            continue;
        }
        let name = format!("{} {}", string("/kind"), string("/metadata/name"));
        let data = object.get_mut("data").and_then(Value::as_object_mut);
        for (key, text) in data.into_iter().flatten().filter(|(key, _)| key.ends_with(".yaml")) {
            let written = text.as_str().unwrap_or_default();
            *text = serde_saphyr::from_str(written).with_context(|| format!("reading {key} of {name}"))?;
        }
        if let Some(former) = objects.insert(name, object) {
            bail!("this object is there twice: {former}");
        }
    }
    Ok(objects)
}

/// Fails unless an object of the chart is that of the manifests, but for the checksum, which a DaemonSet has.
pub(super) fn same(name: &str, chart: &Objects, manifests: &Objects) -> Result<()> {
    let of = |objects: &Objects, whose: &str| {
        objects.get(name).cloned().with_context(|| format!("there is no {name} among those of the {whose}"))
    };
    let (mut chart, manifest) = (of(chart, "chart")?, of(manifests, "manifests")?);
    if name.starts_with("DaemonSet ") {
        let annotations = chart.pointer_mut("/spec/template/metadata/annotations");
        let annotations = annotations.and_then(Value::as_object_mut);
        let checksum = annotations.and_then(|annotations| annotations.remove(CHECKSUM));
        checksum.with_context(|| format!("{name} has no annotation {CHECKSUM}"))?;
    }
    match difference("", &chart, &manifest) {
        Some(difference) => bail!("{name} of the chart is not that of the manifests: {difference}"),
        None => Ok(()),
    }
}

/// Fails unless there are the same objects in both, each the same.
pub(super) fn all_same(chart: &Objects, manifests: &Objects) -> Result<()> {
    for name in chart.keys().chain(manifests.keys()) {
        same(name, chart, manifests)?;
    }
    Ok(())
}

/// The first place where two values differ.
fn difference(at: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            let null = Value::Null;
            keys.map(|key| (key, one.get(key).unwrap_or(&null), other.get(key).unwrap_or(&null)))
                .find_map(|(key, one, other)| difference(&format!("{at}/{key}"), one, other))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(index, (one, other))| difference(&format!("{at}/{index}"), one, other)),
        _ => (one != other).then(|| format!("{at} is {one}, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "kind: DaemonSet\nmetadata: {name: a}\nspec: {template: {metadata: {annotations: {checksum/config: x}}, \
        spec: {ports: [1, 2]}}}\n---\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  c.yaml: |\n    b: 2\n    a: 1\n---\n\
        kind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n";
    const MANIFESTS: &str = "kind: DaemonSet\nmetadata: {name: a}\nspec: {template: {metadata: {annotations: {}}, \
        spec: {ports: [1, 2]}}}\n---\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  c.yaml: |\n    # Says so.\n    a: 1\n    b: 2\n";

    #[test]
    fn differences_are_found() {
        let compare = |from: &str, to: &str| {
            assert!(CHART.contains(from));
            let chart = objects(&CHART.replace(from, to)).unwrap();
            all_same(&chart, &objects(MANIFESTS).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(compare("x", "y"), Ok(()));
        for (from, to, difference) in [
            ("[1, 2]", "[1, 3]", "/spec/template/spec/ports/1 is 3, not 2"),
            ("[1, 2]", "[1]", "/spec/template/spec/ports is [1], not [1,2]"),
            ("checksum/config: x", "", "has no annotation checksum/config"),
            (
                "a: 1",
                "a: 1\n    c: 3",
                "ConfigMap a of the chart is not that of the manifests: /data/c.yaml/c is 3, not null",
            ),
            ("kind: ConfigMap", "kind: Secret", "there is no Secret a among those of the manifests"),
            ("helm.sh/hook", "hook", "there is no Pod t"),
        ] {
            let error = compare(from, to).unwrap_err();
            assert!(error.contains(difference), "{from} → {to}: {error}");
        }
        assert!(all_same(&Objects::new(), &objects(MANIFESTS).unwrap()).is_err());
        assert!(objects(&format!("{CHART}---\n{CHART}")).is_err());
    }
}
