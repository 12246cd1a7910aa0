//! Layouts of Kubernetes and others in the cgroup tree of this machine. It takes root: without, they say so and pass.

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{self, Command};
use std::{env, fs, io};

use super::path::tests::{Driver, write};
use super::path::{Place, Qos};
use super::*;
use crate::enrich::uid::PodUid;

/// As the lab's.
const PREFIX: &str = "netcause-lab-";
const KIND: &str = "places";
const HOUR: Duration = Duration::from_secs(3600);

/// Says so; not with `eprintln`, because what a test that passes prints is not shown.
fn skipped(why: impl Display) {
    let line = format!("SKIPPED: a test with fixtures in a real cgroup tree: {why}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A cgroup of this test, with all below it.
struct Real {
    mount: PathBuf,
    name: String,
}

impl Real {
    fn new(test: &str) -> Option<Self> {
        let Some(mount) = find_root().unwrap() else {
            skipped("the root of cgroup2 is not mounted");
            return None;
        };
        sweep(&mount);
        let name = format!("{PREFIX}{}-{KIND}-{test}", process::id());
        match fs::create_dir(mount.join(&name)) {
            Ok(()) => Some(Self { mount, name }),
            Err(error) => {
                skipped(error);
                None
            }
        }
    }

    /// Makes it, with all above it, and returns its id.
    fn make(&self, path: &str) -> u64 {
        let path = self.at(path);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::metadata(path).unwrap().ino()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.mount.join(&self.name).join(path)
    }

    fn cgroups(&self) -> Cgroups {
        Cgroups::below(Some(self.mount.clone()))
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        remove(&self.at(""));
    }
}

/// The innermost first: a cgroup with cgroups in it cannot be removed, and its files are not removed at all.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// Removes what tests that were killed have left.
fn sweep(mount: &Path) {
    for entry in fs::read_dir(mount).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().splitn(3, '-');
        if let (Some(pid), Some(KIND)) = (parts.next(), parts.next())
            && !Path::new("/proc").join(pid).exists()
        {
            remove(&entry.path());
        }
    }
}

#[test]
fn every_layout_is_found_by_its_id_and_keeps_its_place_when_it_is_gone() {
    let Some(real) = Real::new("layouts") else { return };
    let id = "0123456789abcdef".repeat(4);
    let mut wanted = Vec::new();
    for driver in [Driver::Systemd, Driver::Cgroupfs, Driver::Mixed] {
        for root in ["", "kubelet"] {
            for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
                for runtime in ["cri-containerd", "crio", "docker"] {
                    for uid in ["0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3", "6a0d1c8f2b3e4d5a9c7b8e1f0a2d3c4b"] {
                        let uid: PodUid = uid.parse().unwrap();
                        let path = write(driver, root, qos, uid, Some((runtime, &id)));
                        wanted.push((real.make(&path), path, qos, uid));
                    }
                }
            }
        }
    }
    assert_eq!(wanted.len(), 108);
    let mut cgroups = real.cgroups();
    for gone in [false, true] {
        if gone {
            remove(&real.at(""));
            cgroups.walk(Instant::now());
            assert!(!cgroups.tree.has(wanted[0].0), "it is gone");
        }
        for (cgroup, path, qos, uid) in &wanted {
            let place = cgroups.place(*cgroup).unwrap_or_else(|| panic!("{path} is not found"));
            let Place::Pod(pod) = *place else { panic!("{path} is {place:?}") };
            assert_eq!((pod.uid, pod.qos, pod.outer), (*uid, *qos, None), "{path}");
            assert_eq!(pod.container.map(|container| container.to_string()), Some(id.clone()), "{path}");
        }
    }
    assert_eq!(cgroups.statistics().missed, 0);
}

#[test]
fn what_comes_after_the_first_walk_is_found() {
    let Some(real) = Real::new("later") else { return };
    let mut cgroups = real.cgroups();
    let start = Instant::now();
    let name = real.name.clone();
    assert_eq!(cgroups.look(1, start), Some(Arc::new(Place::Host)));
    let early = real.make("a/b/c");
    assert_eq!(cgroups.look(early, start), None);
    let unit = real.make("system.slice/nginx@1.service/worker");
    assert_eq!(cgroups.look(unit, start + HOUR), Some(Arc::new(Place::Unit("nginx@1.service".into()))));
    assert_eq!(cgroups.place(early), Some(Arc::new(Place::Path(format!("{name}/a/b/c").into()))));
    // In its place another: the kernel gives it another id.
    fs::remove_dir(real.at("a/b/c")).unwrap();
    let again = real.make("a/b/c");
    assert_ne!(again, early);
    for id in [early, again] {
        assert_eq!(cgroups.look(id, start + 2 * HOUR), cgroups.place(early));
    }
    // The longest name that the kernel takes.
    let long = "x".repeat(255);
    let id = real.make(&long);
    assert_eq!(
        cgroups.look(id, start + 3 * HOUR),
        Some(Arc::new(Place::Path(format!("{name}/{long}").into())))
    );
}

#[test]
fn a_thousand_cgroups_are_all_seen() {
    let Some(real) = Real::new("thousand") else { return };
    let ids: Vec<_> = (0..1000).map(|number| real.make(&format!("{}/{number}", number % 10))).collect();
    let mut cgroups = real.cgroups();
    for (number, id) in ids.iter().enumerate() {
        let path = format!("{}/{}/{number}", real.name, number % 10);
        assert_eq!(cgroups.place(*id), Some(Arc::new(Place::Path(path.into()))));
    }
    let Statistics { walks, missed, directories, cut, .. } = cgroups.statistics();
    assert_eq!((walks, missed, cut), (1, 0, 0));
    assert!(directories > 1010, "{directories}");
}

/// Where `a_mount_that_begins_below_the_root_is_not_taken` has mounted the tree of its namespace.
const NAMESPACED: &str = "NETCAUSE_TEST_CGROUP_NAMESPACE";

/// In a cgroup namespace, mounts the tree as it is seen there, and runs a test of this program: with the mount of the root
/// and without. The mounts are in a namespace too.
const IN_NAMESPACES: &str = r#"
    echo 0 > "$FIXTURE/cgroup.procs" || exit 42
    exec unshare --cgroup --mount sh -ec '
        mount -t cgroup2 none "$NETCAUSE_TEST_CGROUP_NAMESPACE" || exit 42
        "$PROGRAM" --exact "$TEST"
        umount --lazy "$ROOT"
        ROOT= "$PROGRAM" --exact "$TEST"
    '
"#;

#[test]
fn a_mount_that_begins_below_the_root_is_not_taken() {
    if let Some(below) = env::var_os(NAMESPACED) {
        let root = env::var_os("ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
        let found = find_root().unwrap();
        assert_ne!(found, Some(below.into()));
        assert!(root.is_none() || found == root, "{found:?} is not {root:?}");
        return;
    }
    let Some(real) = Real::new("namespace") else { return };
    let below = env::temp_dir().join(&real.name);
    fs::create_dir_all(&below).unwrap();
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let output = Command::new("sh")
        .args(["-c", IN_NAMESPACES])
        .env("FIXTURE", real.at(""))
        .env("ROOT", &real.mount)
        .env("PROGRAM", env::current_exe().unwrap())
        .env("TEST", test)
        .env(NAMESPACED, &below)
        .output()
        .unwrap();
    let _ = fs::remove_dir(&below);
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => assert_eq!(said.matches("1 passed").count(), 2, "{said}"),
        Some(42) => skipped("no namespaces may be made"),
        _ => panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)),
    }
}
