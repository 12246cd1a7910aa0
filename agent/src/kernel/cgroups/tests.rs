//! Tests with real cgroups on this machine. They require root; without it they print that they are skipped, and pass.

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{self, Command};
use std::{env, fs, io};

use super::*;

/// The prefix of the lab's cgroups, too.
const PREFIX: &str = "netcause-lab-";
const KIND: &str = "places";
const HOUR: Duration = Duration::from_secs(3600);

/// Prints that a test is skipped; not with `eprintln`, because the test harness hides the output of tests that pass.
fn skipped(why: impl Display) {
    let line = format!("SKIPPED: a test with fixtures in a real cgroup tree: {why}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A cgroup of this test; removed with its descendants when dropped.
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

    /// Creates a cgroup and its ancestors, and returns its id.
    fn make(&self, path: &str) -> u64 {
        let path = self.at(path);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::metadata(path).unwrap().ino()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.mount.join(&self.name).join(path)
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

/// Removes cgroups left by killed tests.
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

/// Looks up one cgroup.
fn look(tree: &mut CgroupTree, id: u64, now: Instant) -> Option<String> {
    tree.ask([id]);
    let mut answers = tree.answers(now);
    let (answered, path) = answers.pop()?;
    assert_eq!((answered, answers.len()), (id, 0));
    path.map(|path| String::from_utf8(path).unwrap())
}

#[test]
fn a_cgroup_that_comes_after_the_first_walk_is_found_by_a_later_one() {
    let Some(real) = Real::new("later") else { return };
    let mut tree = CgroupTree::below(Some(real.mount.clone()));
    let start = Instant::now();
    let name = real.name.clone();
    assert_eq!(look(&mut tree, 1, start).as_deref(), Some(""), "the root");
    let early = real.make("a/b/c");
    assert_eq!(tree.due(), None, "no id waits");
    assert_eq!(look(&mut tree, early, start), None, "it is too early for another walk");
    assert!(tree.due().is_some_and(|due| due > start && due < start + HOUR), "{:?}", tree.due());
    tree.ask([1]);
    assert_eq!(tree.answers(start).len(), 1, "what the last walk found is answered at once");
    assert_eq!(tree.answers(start + HOUR), [(early, Some(format!("{name}/a/b/c").into_bytes()))]);
    // A new cgroup with the same path gets another id.
    fs::remove_dir(real.at("a/b/c")).unwrap();
    let again = real.make("a/b/c");
    assert_ne!(again, early);
    assert_eq!(look(&mut tree, again, start + 2 * HOUR), Some(format!("{name}/a/b/c")));
    tree.ask([early]);
    assert_eq!(tree.answers(start + 3 * HOUR), [(early, None)], "it is gone");
    // The longest name that the kernel allows.
    let long = "x".repeat(255);
    let id = real.make(&long);
    assert_eq!(look(&mut tree, id, start + 4 * HOUR), Some(format!("{name}/{long}")));
}

#[test]
fn one_walk_answers_for_a_thousand_cgroups() {
    let Some(real) = Real::new("thousand") else { return };
    let ids: Vec<_> = (0..1000).map(|number| real.make(&format!("{}/{number}", number % 10))).collect();
    let mut tree = CgroupTree::below(Some(real.mount.clone()));
    tree.ask(ids.iter().copied());
    let mut answers = tree.answers(Instant::now());
    answers.sort_by_key(|(id, _)| ids.iter().position(|known| known == id));
    for (number, (_, path)) in answers.into_iter().enumerate() {
        let expected = format!("{}/{}/{number}", real.name, number % 10);
        assert_eq!(path.as_deref(), Some(expected.as_bytes()));
    }
    let Walks { walks, directories, cut } = tree.walks();
    assert_eq!((walks, cut), (1, 0));
    assert!(directories > 1010, "{directories}");
}

#[test]
fn what_is_too_deep_is_not_found_and_the_walk_says_so() {
    let root = env::temp_dir().join(format!("netcause-cgroups-deep-{}", process::id()));
    let deep = ["d"; 34].join("/");
    fs::create_dir_all(root.join(&deep)).unwrap();
    let id = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
    let (last, beyond) = (id(&deep[..2 * 32 - 1]), id(&deep[..2 * 33 - 1]));
    let mut tree = CgroupTree::below(Some(root.clone()));
    let now = Instant::now();
    assert_eq!(look(&mut tree, last, now).as_deref(), Some(&deep[..2 * 32 - 1]));
    assert_eq!(look(&mut tree, beyond, now + HOUR), None);
    let Walks { walks, cut, .. } = tree.walks();
    assert_eq!((walks, cut), (2, 2));
    assert!(!Tree::walk(&root.join(&deep[..20])).is_cut());
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn without_a_mount_there_are_no_paths() {
    for mount in [None, Some("/nowhere/at/all".into())] {
        let mut tree = CgroupTree::below(mount);
        tree.ask([1]);
        assert_eq!(tree.answers(Instant::now()), [(1, None)]);
        assert_eq!(tree.walks().directories, 0);
    }
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
