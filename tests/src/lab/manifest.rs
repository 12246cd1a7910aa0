//! The container that the manifests in `deploy/` describe, read from their text.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

const DAEMONSET: &str = include_str!("../../../deploy/kubernetes/daemonset.yaml");
const CONFIG: &str = include_str!("../../../deploy/kubernetes/config.yaml");
const OLD_KERNELS: &str = include_str!("../../../deploy/overlays/old-kernels/patch.yaml");
const CONTAINERFILE: &str = include_str!("../../../deploy/Containerfile");

/// A volume, where the container sees it.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// The volume's name.
    pub(crate) name: String,
    /// The path in the container.
    pub(crate) at: String,
    pub(crate) source: Source,
    /// Whether the mounts below it are read-only as well.
    pub(crate) recursively: bool,
}

/// The contents of a volume.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A directory of the node.
    Host(String),
    /// Files of a ConfigMap: names and texts.
    Files(Vec<(String, String)>),
}

/// A container, as far as the kernel is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// The program, by the image, and its arguments, by the manifest.
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// As in the manifest, without `CAP_`. It has no others.
    pub(crate) capabilities: Vec<String>,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// The limit of memory in bytes, kernel tables included.
    pub(crate) memory: u64,
    /// All read-only.
    pub(crate) mounts: Vec<Mount>,
}

impl Container {
    /// The agent's; `old_kernels`: with the patch of that overlay.
    pub(crate) fn of_agent(old_kernels: bool) -> Result<Self> {
        let mut daemonset = parse(DAEMONSET)?;
        if old_kernels {
            patch(&mut daemonset, OLD_KERNELS)?;
        }
        let pod = daemonset.pointer("/spec/template/spec").context("no template of a pod")?;
        Self::read(pod).context("reading deploy/kubernetes/daemonset.yaml")
    }

    /// A setting that the lab cannot reproduce is an error.
    fn read(pod: &Value) -> Result<Self> {
        for shared in ["hostPID", "hostNetwork"] {
            ensure!(
                pod.get(shared) == Some(&Value::Bool(true)),
                "{shared} is not true: the lab has no other"
            );
        }
        let [container] = list(pod, "/containers")? else { bail!("not one container") };
        let secure = |key: &str| container.pointer(&format!("/securityContext/{key}"));
        ensure!(secure("privileged") != Some(&Value::Bool(true)), "privileged");
        ensure!(secure("allowPrivilegeEscalation") == Some(&Value::Bool(false)), "may gain privileges");
        ensure!(secure("readOnlyRootFilesystem") == Some(&Value::Bool(true)), "the root is writable");
        ensure!(strings(container, "/securityContext/capabilities/drop")? == ["ALL"], "not all are dropped");
        let number = |key: &str| -> Result<u32> {
            let id = secure(key).and_then(Value::as_u64).with_context(|| format!("no {key}"))?;
            Ok(id.try_into()?)
        };
        let mounts = list(container, "/volumeMounts")?.iter().map(|mount| Mount::read(pod, mount));
        Ok(Self {
            program: entrypoint()?,
            args: strings(container, "/args")?,
            capabilities: strings(container, "/securityContext/capabilities/add")?,
            user: number("runAsUser")?,
            group: number("runAsGroup")?,
            memory: mebibytes(text(container, "/resources/limits/memory")?)? << 20,
            mounts: mounts.collect::<Result<_>>()?,
        })
    }

    /// With other arguments.
    pub(crate) fn with_args(&self, args: &[&str]) -> Self {
        Self { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..self.clone() }
    }

    /// Without one of its capabilities.
    pub(crate) fn without_capability(&self, name: &str) -> Self {
        let mut less = self.clone();
        less.capabilities.retain(|capability| capability != name);
        less
    }

    /// Without one of its volumes.
    pub(crate) fn without_mount(&self, name: &str) -> Self {
        let mut less = self.clone();
        less.mounts.retain(|mount| mount.name != name);
        less
    }
}

impl Mount {
    fn read(pod: &Value, mount: &Value) -> Result<Self> {
        let name = text(mount, "/name")?;
        ensure!(mount.get("readOnly") == Some(&Value::Bool(true)), "{name} is writable");
        let volumes = list(pod, "/volumes")?;
        let volume = volumes.iter().find(|volume| volume.get("name").and_then(Value::as_str) == Some(name));
        let volume = volume.with_context(|| format!("no volume {name}"))?;
        let source = if volume.get("configMap").is_some() {
            Source::Files(config_map(text(volume, "/configMap/name")?)?)
        } else {
            Source::Host(text(volume, "/hostPath/path")?.to_owned())
        };
        Ok(Self {
            name: name.to_owned(),
            at: text(mount, "/mountPath")?.to_owned(),
            source,
            recursively: mount.get("recursiveReadOnly").is_some_and(|wish| wish != "Disabled"),
        })
    }
}

/// The files of the ConfigMap.
fn config_map(name: &str) -> Result<Vec<(String, String)>> {
    let map = parse(CONFIG)?;
    ensure!(text(&map, "/metadata/name")? == name, "no ConfigMap {name}");
    let files = map.get("data").and_then(Value::as_object).context("the ConfigMap has no data")?;
    let file = |(name, text): (&String, &Value)| Some((name.clone(), text.as_str()?.to_owned()));
    files.iter().map(file).collect::<Option<_>>().context("data that is no text")
}

/// The program that the image starts.
fn entrypoint() -> Result<String> {
    let line = CONTAINERFILE.lines().find_map(|line| line.strip_prefix("ENTRYPOINT "));
    let words: Vec<String> = serde_json::from_str(line.context("the Containerfile has no ENTRYPOINT")?)?;
    let [program] = &words[..] else { bail!("the ENTRYPOINT is not one word: {words:?}") };
    Ok(program.clone())
}

/// Applies a JSON patch (RFC 6902) that only adds to the ends of lists.
fn patch(object: &mut Value, operations: &str) -> Result<()> {
    for operation in parse(operations)?.as_array().context("a patch is a list")? {
        let path = text(operation, "/path")?;
        let list = path.strip_suffix("/-").filter(|_| operation.get("op").is_some_and(|op| op == "add"));
        let list = list.with_context(|| format!("the lab does not know how to {operation}"))?;
        let list = object.pointer_mut(list).and_then(Value::as_array_mut);
        list.with_context(|| format!("no list at {path}"))?
            .push(operation.get("value").context("no value")?.clone());
    }
    Ok(())
}

/// A quantity of Kubernetes', as far as it is used here: `256Mi`.
fn mebibytes(quantity: &str) -> Result<u64> {
    let number = quantity.strip_suffix("Mi").and_then(|number| number.parse().ok());
    number.with_context(|| format!("{quantity} is not in Mi"))
}

fn parse(yaml: &str) -> Result<Value> {
    serde_saphyr::from_str(yaml).map_err(|error| anyhow::anyhow!("{error}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value]> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .with_context(|| format!("no {pointer}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))
}

fn strings(value: &Value, pointer: &str) -> Result<Vec<String>> {
    let words = list(value, pointer)?.iter().map(|word| word.as_str().map(str::to_owned));
    words.collect::<Option<_>>().with_context(|| format!("{pointer} has more than words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_read() {
        let container = Container::of_agent(false).unwrap();
        assert_eq!(container.program, "/usr/bin/netcause");
        assert_eq!(container.args[0], "agent");
        assert_eq!(container.memory, 256 << 20);
        assert_eq!(container.capabilities, ["BPF", "PERFMON", "NET_ADMIN"]);
        let names: Vec<&str> = container.mounts.iter().map(|mount| mount.name.as_str()).collect();
        assert_eq!(names, ["config", "btf", "cgroup"]);
        assert!(matches!(&container.mounts[0].source, Source::Files(files) if files[0].0 == "config.yaml"));
        assert!(container.mounts[2].recursively);
        assert_eq!(container.without_mount("btf").mounts.len(), 2);
    }

    #[test]
    fn the_overlay_for_old_kernels_adds_one_capability() {
        let container = Container::of_agent(true).unwrap();
        assert_eq!(container.capabilities, ["BPF", "PERFMON", "NET_ADMIN", "SYS_RESOURCE"]);
        assert_eq!(container.without_capability("BPF").capabilities[0], "PERFMON");
    }

    #[test]
    fn what_the_lab_cannot_do_is_an_error() {
        let mut daemonset = parse(DAEMONSET).unwrap();
        let pod = daemonset.pointer_mut("/spec/template/spec").unwrap();
        pod["hostPID"] = Value::Bool(false);
        assert!(Container::read(pod).unwrap_err().to_string().contains("hostPID"));
        assert!(patch(&mut daemonset, "- {op: remove, path: /spec}").is_err());
    }
}
