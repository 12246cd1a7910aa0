//! What the server has, as clients may ask: versions, groups, resources.

use serde_json::{Value, json};

use super::resources::{RESOURCES, Resource};

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.1", "gitTreeState": "clean",
        "gitCommit": "93248f9ae092f571eb870b7664c534bfc7d00f03", "buildDate": "2025-09-09T19:38:01Z",
        "goVersion": "go1.24.6", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// The answer for one of the paths of discovery; `None` if there is no such group or version.
pub(crate) fn of(path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match *parts.as_slice() {
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
        })),
        ["apis"] => {
            let mut groups: Vec<&str> = RESOURCES.iter().map(|resource| resource.group).collect();
            groups.retain(|group| !group.is_empty());
            groups.dedup();
            let groups: Vec<Value> = groups.into_iter().filter_map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", version] => resources("", version),
        ["apis", name] => {
            let mut found = group(name)?;
            found["kind"] = json!("APIGroup");
            found["apiVersion"] = json!("v1");
            Some(found)
        }
        ["apis", group, version] => resources(group, version),
        _ => None,
    }
}

fn group(name: &str) -> Option<Value> {
    let resource = RESOURCES.iter().find(|resource| resource.group == name)?;
    let version = json!({"groupVersion": resource.api_version(), "version": resource.version});
    Some(json!({"name": name, "versions": [version], "preferredVersion": version}))
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let is = |resource: &&Resource| resource.group == group && resource.version == version;
    let found: Vec<&Resource> = RESOURCES.iter().filter(is).collect();
    let api_version = found.first()?.api_version();
    let list = found.into_iter().map(|resource| {
        json!({
            "name": resource.plural, "singularName": resource.kind.to_lowercase(),
            "namespaced": resource.is_namespaced, "kind": resource.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        })
    });
    let list: Vec<Value> = list.collect();
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": list}),
    )
}
