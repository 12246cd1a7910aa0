//! Parses the path of a cgroup: which pod, systemd service or container it belongs to.
//!
//! A path belongs to a pod only if a pod's uid is exactly where the kubelet puts it; anything else is shown by its path. That
//! is no proof: whoever may create cgroups can imitate any pod's path.

use std::fmt;
use std::str;
use std::sync::Arc;

use super::super::uid::PodUid;
use super::rules::Configured;

/// What a cgroup belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The root cgroup.
    Host,
    /// A pod.
    Pod(Pod),
    /// The workload that a rule of the configuration names.
    Configured(Arc<Configured>),
    /// A systemd service, a container or a virtual machine outside Kubernetes: the unit's name; the runtime and the id,
    /// shortened to twelve digits as the runtimes' own tools do; or the runtime and the name. What another service manager or
    /// runtime runs below it comes after a slash: `machine-web/nginx.service`.
    Unit(Arc<str>),
    /// Anything else, by the path.
    Path(Arc<str>),
}

/// A cgroup of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The uid of the innermost pod in the path.
    pub uid: PodUid,
    /// The pod's quality of service class.
    pub qos: Qos,
    /// The container; `None` for a cgroup of the pod outside its containers. The sandbox (`pause`) is a container too.
    pub container: Option<ContainerId>,
    /// The outermost pod, if that is another one: a cluster may run in a pod (kind in a CI job), and this node's API knows only
    /// the outermost.
    pub outer: Option<PodUid>,
}

/// A pod's quality of service class (`status.qosClass`), by which the kubelet groups cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qos {
    /// Limits equal requests. These pods are directly below `kubepods`.
    Guaranteed,
    /// Some requests or limits are set.
    Burstable,
    /// No requests or limits are set.
    BestEffort,
}

/// The id of a container: 64 hexadecimal digits, as all runtimes of Kubernetes, Docker and Podman assign it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId([u8; 32]);

/// The number of digits of a container's id.
const ID: usize = 64;
/// The number of its digits that are shown.
const SHORT: usize = 12;

impl Place {
    /// Parses a path below the mount point; the root's is empty.
    #[must_use]
    pub fn of(path: &[u8]) -> Self {
        if path.is_empty() {
            return Self::Host;
        }
        let parts = || path.split(|byte| *byte == b'/');
        if let Some(pod) = pod(parts()) {
            return Self::Pod(pod);
        }
        let parts: Vec<_> = parts().filter_map(|part| str::from_utf8(part).ok()).collect();
        match unit_of(&parts) {
            Some(unit) => Self::Unit(unit.into()),
            None => Self::Path(String::from_utf8_lossy(path).into()),
        }
    }

    /// The name, unless a source of names has a better one.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Host => "host".into(),
            Self::Pod(pod) => format!("pod:{}", pod.uid).into(),
            Self::Configured(configured) => Arc::clone(&configured.workload),
            Self::Unit(name) | Self::Path(name) => Arc::clone(name),
        }
    }
}

impl ContainerId {
    fn parse(text: &str) -> Option<Self> {
        if text.len() != ID {
            return None;
        }
        let mut bytes = [0; ID / 2];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = str::from_utf8(digits).ok()?;
            // `from_str_radix` accepts a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The innermost pod of a path. The first container below it is the pod's; others run within that container.
fn pod<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Pod> {
    let mut innermost: Option<Pod> = None;
    let mut above = [""; 2];
    for part in parts {
        // A part that is not UTF-8 matches nothing.
        let part = str::from_utf8(part).unwrap_or("");
        if let Some((uid, qos, container)) = pod_of_slice(part).or_else(|| pod_of_directory(above, part)) {
            let outer = innermost.map(|pod| pod.outer.unwrap_or(pod.uid)).filter(|outer| *outer != uid);
            innermost = Some(Pod { uid, qos, container, outer });
        } else if let Some(pod) = &mut innermost
            && pod.container.is_none()
        {
            pod.container = container_of_pod(part);
        }
        above = [above[1], part];
    }
    innermost
}

type Found = (PodUid, Qos, Option<ContainerId>);

/// With the systemd driver: `kubepods-burstable-pod<uid with _>.slice`, after the name of the slice that the kubelet's
/// `--cgroup-root` is, if any. A containerd that drives cgroups otherwise than its kubelet makes one directory
/// `<that slice>:cri-containerd:<id>`.
fn pod_of_slice(part: &str) -> Option<Found> {
    let (slice, rest) = part.split_once(':').map_or((part, None), |(slice, rest)| (slice, Some(rest)));
    let (above, last) = slice.strip_suffix(".slice")?.rsplit_once('-')?;
    let uid = PodUid::from_slice_name(last.strip_prefix("pod")?).ok()?;
    let (root, qos) = match above.rsplit_once('-') {
        Some((root, "burstable")) => (root, Qos::Burstable),
        Some((root, "besteffort")) => (root, Qos::BestEffort),
        _ => (above, Qos::Guaranteed),
    };
    let is_kubernetes = root == "kubepods" || root.ends_with("-kubepods");
    let container = rest.and_then(|rest| ContainerId::parse(rest.rsplit_once(':')?.1));
    // Anything else after the colon is not a directory of containerd.
    (is_kubernetes && rest.is_some() == container.is_some()).then_some((uid, qos, container))
}

/// With the cgroupfs driver: `kubepods/pod<uid>`, `kubepods/burstable/pod<uid>`.
fn pod_of_directory(above: [&str; 2], part: &str) -> Option<Found> {
    let uid = part.strip_prefix("pod")?.parse().ok()?;
    let qos = match above {
        [_, "kubepods"] => Qos::Guaranteed,
        ["kubepods", "burstable"] => Qos::Burstable,
        ["kubepods", "besteffort"] => Qos::BestEffort,
        _ => return None,
    };
    Some((uid, qos, None))
}

/// `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`, `crio-<id>`, `<id>`. The cgroup of CRI-O's
/// monitor of a container (`crio-conmon-<id>.scope`) is not a container.
fn container_of_pod(part: &str) -> Option<ContainerId> {
    let (runtime, id) = runtime_and_id(part)?;
    if runtime.ends_with("conmon") { None } else { ContainerId::parse(id) }
}

fn runtime_and_id(part: &str) -> Option<(&str, &str)> {
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    let (runtime, id) = stem.rsplit_once('-').unwrap_or(("", stem));
    (id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((runtime, id))
}

/// The units and containers of a path, each in the one before. No manager puts a unit of its own below another one, and cgroups
/// below a unit (workers) belong to it: a unit below a unit is run by another manager, a user's or that of a container
/// (`systemd-nspawn@web.service/payload/system.slice/nginx.service`). Names are unique in their manager only. The id of a
/// container is unique, so nothing that is above it is part of its name.
fn unit_of(parts: &[&str]) -> Option<String> {
    let mut found = String::new();
    for (at, part) in parts.iter().enumerate() {
        let name = if let Some((runtime, id)) = runtime_and_id(part) {
            found.clear();
            let id = &id[..SHORT];
            if runtime.is_empty() { id.to_owned() } else { format!("{runtime}-{id}") }
        } else if let Some(name) = container(part).or_else(|| container_of_proxmox(parts, at)) {
            name
        } else if let Some(name) = unit(part) {
            name.to_owned()
        } else {
            continue;
        };
        if !found.is_empty() {
            found.push('/');
        }
        found += &name;
    }
    (!found.is_empty()).then_some(found)
}

/// Proxmox VE's `lxc/<number>/ns/…` (`lxc.cgroup.dir.container.inner`, src/PVE/LXC.pm).
fn container_of_proxmox(parts: &[&str], at: usize) -> Option<String> {
    match parts.get(at.checked_sub(1)?..)? {
        ["lxc", name, "ns", ..] if !name.is_empty() => Some(format!("lxc-{name}")),
        _ => None,
    }
}

/// LXC's `lxc.payload.<name>`, which LXD and Incus have too; the containers and virtual machines of systemd-machined,
/// `machine-<name>.scope`.
fn container(part: &str) -> Option<String> {
    if let Some(name) = part.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
        return Some(format!("lxc-{name}"));
    }
    let name = part.strip_prefix("machine-")?.strip_suffix(".scope").filter(|name| !name.is_empty())?;
    Some(format!("machine-{}", unescape(name)))
}

/// `nginx.service`. systemd puts `_` before what the kernel might take for a file of its own, as in `_cpu.service`
/// (`cg_escape`, src/basic/cgroup-util.c).
fn unit(part: &str) -> Option<&str> {
    let name = part.strip_prefix('_').unwrap_or(part);
    (name.ends_with(".service") && name != ".service").then_some(name)
}

/// Decodes the escapes of systemd.unit(5), `\x2d` for `-`; returns the name unchanged if the result is not UTF-8.
fn unescape(name: &str) -> String {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after
            .strip_prefix(b"x")
            .and_then(|code| str::from_utf8(code.get(..2)?).ok())
            .filter(|code| *first == b'\\' && code.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8(plain).unwrap_or_else(|_| name.to_owned())
}

#[cfg(test)]
pub(super) mod tests;
