use proptest::prelude::*;

use super::*;

const UID: &str = "0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3";
const HASH: &str = "6a0d1c8f2b3e4d5a9c7b8e1f0a2d3c4b";

fn id(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn of(path: &str) -> Place {
    Place::of(path.as_bytes())
}

fn pod_of(path: &str) -> Pod {
    match of(path) {
        Place::Pod(pod) => pod,
        place => panic!("{path} is no pod but {place:?}"),
    }
}

#[test]
fn units_containers_and_paths_are_named() {
    let id = "0123456789abcdef".repeat(4);
    for (path, name) in [
        (String::new(), "host"),
        ("system.slice/nginx.service".to_owned(), "nginx.service"),
        ("system.slice/system-getty.slice/getty@tty1.service".to_owned(), "getty@tty1.service"),
        ("system.slice/_cpu.service".to_owned(), "cpu.service"),
        ("user.slice/user-0.slice/user@0.service/app.slice/x".to_owned(), "user@0.service"),
        (
            "user.slice/user-0.slice/user@0.service/app.slice/mail.service/x".to_owned(),
            "user@0.service/mail.service",
        ),
        ("user.slice/user-0.slice/session-3.scope".to_owned(), "user.slice/user-0.slice/session-3.scope"),
        (format!("system.slice/docker-{id}.scope"), "docker-0123456789ab"),
        (format!("kubepods.slice/cri-containerd-{id}.scope"), "cri-containerd-0123456789ab"),
        (format!("system.slice/crio-conmon-{id}.scope"), "crio-conmon-0123456789ab"),
        (format!("docker/{id}"), "0123456789ab"),
        (format!("docker/{id}/init"), "0123456789ab"),
        (
            format!("user.slice/user-1.slice/user@1.service/user.slice/libpod-{id}.scope/container"),
            "libpod-0123456789ab",
        ),
        ("machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator".to_owned(), "machine-qemu-1-vm"),
        ("machine.slice/machine-a\\x2.scope".to_owned(), "machine-a\\x2"),
        ("machine.slice/machine-a\\xff.scope".to_owned(), "machine-a\\xff"),
        ("machine.slice/machine-a\\x+1\\x".to_owned() + ".scope", "machine-a\\x+1\\x"),
        ("machine.slice/machine-.scope".to_owned(), "machine.slice/machine-.scope"),
        ("lxc.payload.".to_owned(), "lxc.payload."),
        ("a/.service".to_owned(), "a/.service"),
        ("batch/job-7".to_owned(), "batch/job-7"),
    ] {
        assert_eq!(&*of(&path).name(), name, "{path}");
    }
}

#[test]
fn a_pod_is_what_its_innermost_pod_is() {
    let (a, b) = (id(0xa0), id(0xb1));
    let uid: PodUid = UID.parse().unwrap();
    let hash: PodUid = HASH.parse().unwrap();
    let slice = UID.replace('-', "_");
    let container = |byte| Some(ContainerId([byte; 32]));
    for (path, uid, qos, container, outer) in [
        // kind: the node is a Docker container, the kubelet has a cgroup root.
        (
            format!(
                "system.slice/docker-{a}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice\
                 /kubelet-kubepods-besteffort-pod{slice}.slice/cri-containerd-{b}.scope"
            ),
            uid,
            Qos::BestEffort,
            container(0xb1),
            None,
        ),
        // The same in a pod.
        (
            format!(
                "kubepods.slice/kubepods-pod{HASH}.slice/cri-containerd-{a}.scope/docker/{a}/kubelet/kubepods/burstable\
                 /pod{UID}/{b}/init.scope"
            ),
            uid,
            Qos::Burstable,
            container(0xb1),
            Some(hash),
        ),
        // What a container starts itself is in that container; so are its systemd's services.
        (
            format!("kubepods/pod{UID}/{a}/docker/{b}/system.slice/nginx.service"),
            uid,
            Qos::Guaranteed,
            container(0xa0),
            None,
        ),
        // k3s and others with a cgroup root of the cgroupfs driver.
        (format!("k3s/kubepods/besteffort/pod{HASH}/{a}"), hash, Qos::BestEffort, container(0xa0), None),
        // CRI-O's monitor.
        (
            format!("kubepods.slice/kubepods-pod{slice}.slice/crio-conmon-{a}.scope"),
            uid,
            Qos::Guaranteed,
            None,
            None,
        ),
        // containerd with the cgroupfs driver, the kubelet with that of systemd.
        (
            format!("system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{a}"),
            uid,
            Qos::Burstable,
            container(0xa0),
            None,
        ),
        // Of three, the outermost; of one within itself, none.
        (
            format!("kubepods/pod{HASH}/{a}/kubepods/pod{}/{a}/kubepods/pod{UID}/{b}", "0".repeat(32)),
            uid,
            Qos::Guaranteed,
            container(0xb1),
            Some(hash),
        ),
        (format!("kubepods/pod{UID}/{a}/kubepods/pod{UID}/{b}"), uid, Qos::Guaranteed, container(0xb1), None),
        // A false pod below a true one.
        (
            format!("kubepods/pod{UID}/{a}/kubepods/pod{slice}/{b}"),
            uid,
            Qos::Guaranteed,
            container(0xa0),
            None,
        ),
        // The pod itself, and a part below it that is not UTF-8.
        (format!("kubepods/burstable/pod{UID}"), uid, Qos::Burstable, None, None),
    ] {
        assert_eq!(pod_of(&path), Pod { uid, qos, container, outer }, "{path}");
    }
    let hostile = [format!("kubepods/pod{UID}/").as_bytes(), b"\xff\xfe/x"].concat();
    assert!(matches!(Place::of(&hostile), Place::Pod(Pod { container: None, .. })));
    assert_eq!(&*pod_name(&format!("kubepods/pod{UID}")), format!("pod:{UID}"));
}

/// Services of different containers have different names, and those of one container too.
#[test]
fn services_in_containers_are_of_their_container() {
    let id = "0123456789abcdef".repeat(4);
    let inner = "fedcba9876543210".repeat(4);
    for (container, shown) in [
        // systemd-nspawn by hand, `machinectl start`, NixOS (`--keep-unit`): systemd splits `payload` from `supervisor`.
        ("machine.slice/machine-web.scope/payload".to_owned(), "machine-web"),
        ("machine.slice/machine-my\\x2dweb.scope/payload".to_owned(), "machine-my-web"),
        ("machine.slice/systemd-nspawn@web.service/payload".to_owned(), "systemd-nspawn@web.service"),
        ("machine.slice/container@web.service/payload".to_owned(), "container@web.service"),
        // libvirt's driver for LXC.
        ("machine.slice/machine-lxc\\x2d7\\x2dweb.scope/libvirt".to_owned(), "machine-lxc-7-web"),
        // LXC, LXD, Incus, of a user, of a user in a container.
        ("lxc.payload.web".to_owned(), "lxc-web"),
        (
            "user.slice/user-7.slice/user@7.service/app.slice/lxc.payload.web".to_owned(),
            "user@7.service/lxc-web",
        ),
        ("lxc.payload.ci/lxc.payload.web".to_owned(), "lxc-ci/lxc-web"),
        // Proxmox VE, with its monitor beside it.
        ("lxc/101/ns".to_owned(), "lxc-101"),
        ("lxc/101/ns/lxc.payload.web".to_owned(), "lxc-101/lxc-web"),
        // Docker with an init, a node of kind, Podman of a user; Docker in Docker with both drivers.
        (format!("system.slice/docker-{id}.scope"), "docker-0123456789ab"),
        (format!("system.slice/docker-{id}.scope/kubelet.slice"), "docker-0123456789ab"),
        (
            format!("user.slice/user-1.slice/user@1.service/user.slice/libpod-{id}.scope/container"),
            "libpod-0123456789ab",
        ),
        (format!("system.slice/docker-{id}.scope/docker/{inner}"), "fedcba987654"),
        (format!("docker/{id}/system.slice/docker-{inner}.scope"), "docker-fedcba987654"),
        (format!("lxc/101/ns/system.slice/docker-{inner}.scope"), "docker-fedcba987654"),
    ] {
        let of_container = of(&format!("{container}/init.scope")).name();
        assert_eq!(&*of_container, shown, "{container}");
        assert_eq!(&*of(&container).name(), shown, "{container}");
        for unit in ["nginx.service", "postgresql@16-main.service"] {
            let path = format!("{container}/system.slice/{unit}");
            assert_eq!(*of(&path).name(), format!("{shown}/{unit}"));
            assert_eq!(of(&path).name(), of(&format!("{path}/worker")).name());
        }
    }
    // These are directories that anything may have.
    for path in ["lxc/101", "lxc/101/x/ns", "lxc//ns", "ns/lxc", "lxc.monitor/101"] {
        assert_eq!(of(path), Place::Path(path.into()));
    }
}

fn pod_name(path: &str) -> Arc<str> {
    of(path).name()
}

#[test]
fn what_only_looks_like_a_pod_is_its_path() {
    let slice = UID.replace('-', "_");
    for path in [
        format!("pod{UID}"),
        format!("batch/pod{UID}/x"),
        format!("kubepods/x/pod{UID}"),
        format!("burstable/pod{UID}"),
        format!("kubepods/burstable/x/pod{UID}"),
        format!("kubepods/guaranteed/pod{UID}"),
        format!("kubepods/pod{slice}"),
        format!("kubepods/Pod{UID}"),
        "kubepods/pod".to_owned(),
        "kubepods/podinfo".to_owned(),
        format!("kubepods.slice/kubepods-pod{UID}.slice"),
        format!("kubepods.slice/kubepods-pod{slice}"),
        format!("kubepods.slice/kubepods-pod{slice}.scope"),
        format!("kubepods.slice/kubepods-guaranteed-pod{slice}.slice"),
        format!("kubepods.slice/mykubepods-pod{slice}.slice"),
        format!("kubepods.slice/burstable-pod{slice}.slice"),
        format!("kubepods.slice/pod{slice}.slice"),
        format!("kubepods-pod{slice}.slice:cri-containerd:xyz"),
        format!("kubepods-pod{slice}.slice:"),
        "kubepods.slice/kubepods-pod.slice".to_owned(),
        format!("{}/kubepods-pod{}.slice", "a".repeat(255), "0".repeat(235)),
        format!("kubepods/pod{}", "0".repeat(252)),
        "kubepods.slice/kubepods-burstable.slice".to_owned(),
    ] {
        assert_eq!(of(&path), Place::Path(path.as_str().into()));
    }
    assert_eq!(Place::of(b"a/\xff.slice"), Place::Path("a/\u{fffd}.slice".into()));
}

#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Driver {
    Systemd,
    Cgroupfs,
    /// The kubelet's is systemd's, containerd's is not.
    Mixed,
}

/// A pod's path, as the kubelet and the runtimes write it.
pub(in super::super) fn write(
    driver: Driver,
    root: &str,
    qos: Qos,
    uid: PodUid,
    container: Option<(&str, &str)>,
) -> String {
    let group = match qos {
        Qos::Guaranteed => None,
        Qos::Burstable => Some("burstable"),
        Qos::BestEffort => Some("besteffort"),
    };
    match driver {
        Driver::Cgroupfs => {
            let mut parts: Vec<_> = [root, "kubepods"].into_iter().filter(|part| !part.is_empty()).collect();
            parts.extend(group);
            let mut path = format!("{}/pod{uid}", parts.join("/"));
            if let Some((runtime, id)) = container {
                path += &if runtime == "crio" { format!("/crio-{id}") } else { format!("/{id}") };
            }
            path
        }
        Driver::Systemd | Driver::Mixed => {
            let (mut path, mut name) = (String::new(), String::new());
            let uid = format!("pod{}", uid.to_string().replace('-', "_"));
            for part in
                [root, "kubepods"].into_iter().chain(group).chain([&*uid]).filter(|part| !part.is_empty())
            {
                name = if name.is_empty() { part.to_owned() } else { format!("{name}-{part}") };
                path += &format!("/{name}.slice");
            }
            match (driver, container) {
                (Driver::Mixed, Some((runtime, id))) => {
                    format!("system.slice/containerd.service/{name}.slice:{runtime}:{id}")
                }
                (_, Some((runtime, id))) => format!("{}/{runtime}-{id}.scope", &path[1..]),
                (_, None) => path[1..].to_owned(),
            }
        }
    }
}

fn uid() -> impl Strategy<Value = PodUid> {
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}".prop_map(|text| text.parse().unwrap())
}

/// A path that is made of what paths of pods are made of.
fn nearly_a_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("kubepods".to_owned()),
        Just("burstable".to_owned()),
        "(kubelet-)?kubepods(-burstable)?-pod[0-9a-f_]{31,37}\\.slice(:[a-z]{1,3}:[0-9a-f]{63,65})?",
        "pod[0-9a-f-]{31,37}",
        "([a-z]{0,5}-)?[0-9a-f]{63,65}(\\.scope)?",
        "\\PC{0,20}",
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn every_layout_tells_its_pod(
        driver in prop_oneof![Just(Driver::Systemd), Just(Driver::Cgroupfs), Just(Driver::Mixed)],
        root in prop_oneof![Just(""), Just("kubelet"), Just("k3s")],
        qos in prop_oneof![Just(Qos::Guaranteed), Just(Qos::Burstable), Just(Qos::BestEffort)],
        uid in uid(),
        runtime in prop_oneof![Just("cri-containerd"), Just("crio"), Just("docker")],
        container: Option<[u8; 32]>,
        around in prop_oneof![Just(String::new()), Just(format!("system.slice/docker-{}.scope/", id(7)))],
        below in prop_oneof![Just(""), Just("/init.scope"), Just("/container/system.slice/a.service")],
    ) {
        let container = container.map(ContainerId);
        let id = container.map(|id| id.to_string());
        let path = write(driver, root, qos, uid, id.as_deref().map(|id| (runtime, id)));
        let path = format!("{around}{path}{below}");
        prop_assert_eq!(of(&path), Place::Pod(Pod { uid, qos, container, outer: None }), "{}", path);
    }

    #[test]
    fn no_path_panics_and_a_pod_has_its_uid_in_its_path(
        path in prop_oneof![
            nearly_a_path().prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..300),
        ],
    ) {
        let place = Place::of(&path);
        prop_assert!(!place.name().is_empty());
        if let Place::Pod(pod) = place {
            let text = String::from_utf8_lossy(&path).to_lowercase();
            let uid = pod.uid.to_string();
            let is_there = text.contains(&format!("pod{uid}"))
                || text.contains(&format!("pod{}.slice", uid.replace('-', "_")));
            prop_assert!(is_there && text.contains("kubepods"), "{} of {}", uid, text);
        }
    }
}
