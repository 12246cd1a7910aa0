use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{env, fs, process};

use super::rules::Rule;
use super::*;

/// Longer than any gap between walks.
const HOUR: Duration = Duration::from_secs(3600);

/// Directories like those of cgroups.
struct Directories(PathBuf);

impl Directories {
    fn new(name: &str, paths: &[&str]) -> Self {
        let root = env::temp_dir().join(format!("netcause-cgroups-{name}-{}", process::id()));
        for path in paths {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        Self(root)
    }

    fn id(&self, path: &str) -> u64 {
        fs::metadata(self.0.join(path)).unwrap().ino()
    }

    fn cgroups(&self) -> Cgroups {
        Cgroups::below(Some(self.0.clone()))
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(place: Option<Arc<Place>>) -> Option<String> {
    place.map(|place| place.name().to_string())
}

#[test]
fn a_place_outlives_its_directory_while_it_is_in_use() {
    let directories = Directories::new("outlives", &["a/b"]);
    let (root, id) = (directories.id(""), directories.id("a/b"));
    let mut cgroups = directories.cgroups();
    assert_eq!(name(cgroups.place(id)).as_deref(), Some("a/b"));
    assert_eq!(name(cgroups.place(root)).as_deref(), Some("host"));
    fs::remove_dir(directories.0.join("a/b")).unwrap();
    cgroups.walk(Instant::now());
    assert_eq!(name(cgroups.place(id)).as_deref(), Some("a/b"));
    // Its flow may have come after the reading that told what is in use.
    cgroups.retain(|_| false);
    assert_eq!(name(cgroups.place(id)).as_deref(), Some("a/b"));
    cgroups.retain(|used| used == id);
    assert_eq!(name(cgroups.place(id)).as_deref(), Some("a/b"));
    cgroups.retain(|_| false);
    assert_eq!(cgroups.look(id, Instant::now() + HOUR), None);
    assert_eq!(cgroups.statistics().known, 0);
}

#[test]
fn walks_are_few_however_many_ask() {
    let directories = Directories::new("few", &["a", "b"]);
    let mut cgroups = directories.cgroups();
    let start = Instant::now();
    // Found, in the same walk, and not there.
    let (a, b) = (directories.id("a"), directories.id("b"));
    for id in [a, b, u64::MAX, u64::MAX, u64::MAX - 1] {
        let _ = cgroups.look(id, start);
    }
    let Statistics { walks, missed, known, .. } = cgroups.statistics();
    assert_eq!((walks, missed, known), (1, 2, 2));
    fs::create_dir(directories.0.join("c")).unwrap();
    let c = directories.id("c");
    assert_eq!(cgroups.look(c, start), None, "it is too early for another walk");
    // The next walk is for all of them, whoever asks, and finds the one that is there.
    assert_eq!(cgroups.look(u64::MAX, start + HOUR), None);
    assert_eq!(name(cgroups.place(c)).as_deref(), Some("c"));
    let Statistics { walks, missed, known, .. } = cgroups.statistics();
    assert_eq!((walks, missed, known), (2, 2, 3));
    // They were not there twice: nobody walks for them now.
    assert!(!cgroups.missed.is_due(start + HOUR + WALK_INTERVAL));
}

#[test]
fn rules_name_what_is_no_pod_and_what_is_known_too() {
    let pod = "kubepods/pod0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3";
    let directories = Directories::new("rules", &["system.slice/kafka.service/x", "batch", pod]);
    let [kafka, batch, pod] = ["system.slice/kafka.service/x", "batch", pod].map(|path| directories.id(path));
    let mut cgroups = directories.cgroups();
    let names = |cgroups: &mut Cgroups| [kafka, batch, pod].map(|id| name(cgroups.place(id)).unwrap());
    let pod_name = "pod:0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3";
    assert_eq!(names(&mut cgroups), ["kafka.service", "batch", pod_name]);
    fs::remove_dir(directories.0.join("batch")).unwrap();
    let rule = |path, name| Rule::new(path, Some("data"), name).unwrap();
    let rules = vec![rule("system.slice/kafka*.service", "kafka"), rule("**", "other")];
    cgroups.set_rules(Rules::new(rules).unwrap());
    assert_eq!(names(&mut cgroups), ["kafka", "other", pod_name]);
    let Place::Configured(says) = &*cgroups.place(kafka).unwrap() else { panic!("it has a rule") };
    assert_eq!(says.namespace.as_deref(), Some("data"));
    cgroups.set_rules(Rules::default());
    assert_eq!(names(&mut cgroups), ["kafka.service", "batch", pod_name]);
}

#[test]
fn what_is_too_deep_is_told() {
    let deep = ["d"; 34].join("/");
    let directories = Directories::new("deep", &[&deep]);
    let mut cgroups = directories.cgroups();
    let (last, beyond) = (directories.id(&deep[..2 * 32 - 1]), directories.id(&deep[..2 * 33 - 1]));
    assert_eq!(name(cgroups.place(last)), Some(deep[..2 * 32 - 1].to_owned()));
    assert_eq!(cgroups.look(beyond, Instant::now() + HOUR), None);
    let Statistics { walks, cut, .. } = cgroups.statistics();
    assert_eq!((walks, cut), (2, 2));
    assert!(!Tree::walk(&directories.0.join(&deep[..20])).is_cut());
}

#[test]
fn without_a_mount_there_are_no_places() {
    for mount in [None, Some("/nowhere/at/all".into())] {
        let mut cgroups = Cgroups::below(mount);
        assert_eq!(cgroups.place(1), None);
        cgroups.catch_up();
        assert_eq!(cgroups.statistics().directories, 0);
    }
    assert!(Tree::walk(Path::new("/nowhere")).path(0).is_none());
}
