use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tokio::sync::mpsc;

use super::*;
use netcause_core::enrich::name::Name;
use netcause_core::enrich::objects::{Endpoint, EndpointSlice, Node, Owner, Pod, Service, ServicePort};

/// A directory of a test; it goes when the test has passed.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netcause-names-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("names.yaml")
    }

    fn write(&self, text: &str) -> PathBuf {
        fs::write(self.file(), text).unwrap();
        self.file()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ONE: &str = "pods: [{namespace: bank, workload: web, addresses: [10.0.0.1]}]\n";
const OTHER: &str = "pods: [{namespace: bank, workload: api, addresses: [10.0.0.1]}]\n";

fn names(content: &Content) -> Vec<&str> {
    content.pods.iter().map(|pod| &*pod.name).collect()
}

fn complaint(text: &str) -> String {
    Content::parse(text).map(drop).unwrap_err()
}

fn addresses(texts: &[&str]) -> Vec<std::net::IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn port(protocol: u8, port: u16, node_port: Option<u16>) -> ServicePort {
    ServicePort { protocol, port, node_port }
}

#[test]
fn everything_that_is_documented_is_read() {
    let documented = include_str!("../../../../docs/names.md");
    let (_, example) = documented.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let content = Content::parse(example).unwrap();
    let owner = |kind: &str, name: &str| {
        Some(Owner { kind: kind.into(), name: name.into(), api_version: Box::default() })
    };
    let bank = || Box::from("bank");
    assert_eq!(
        content.pods,
        [
            Pod {
                uid: "file:bank/web/10.0.0.7".into(),
                namespace: bank(),
                name: "web".into(),
                owner: owner("Workload", "web"),
                addresses: addresses(&["10.0.0.7", "fd00::7"]),
                ..Pod::default()
            },
            Pod {
                uid: "8f0c1d3e-7f52-4b8e-9b1c-2f9d4e5a6b7c".into(),
                namespace: bank(),
                name: "probe-x7k2p".into(),
                owner: owner("DaemonSet", "probe"),
                node: Some("node-1".into()),
                is_host_network: true,
                ..Pod::default()
            },
        ]
    );
    assert_eq!(
        content.services,
        [Service {
            namespace: bank(),
            name: "web".into(),
            addresses: addresses(&["10.96.0.10", "192.0.2.80"]),
            ports: vec![port(6, 80, Some(30080)), port(17, 443, None)],
        }]
    );
    let endpoint = |text: &str| Endpoint { addresses: addresses(&[text]), pod: None };
    assert_eq!(
        content.slices,
        [EndpointSlice {
            namespace: bank(),
            name: "web-0".into(),
            service: "web".into(),
            ports: vec![port(6, 8080, None)],
            endpoints: vec![endpoint("10.0.0.7"), endpoint("10.0.0.8")],
        }]
    );
    let node =
        Node { name: "node-1".into(), addresses: addresses(&["192.0.2.1"]), zone: Some("eu-1a".into()) };
    assert_eq!(content.nodes, [node]);
    let name = |text: &str| content.extra.networks.name(text.parse().unwrap());
    assert_eq!(name("10.50.0.9"), Some(&Name::new("bank-core", "ledger")));
    assert_eq!(name("10.50.1.20"), Some(&Name::new("bank-core", "oracle")));
    assert_eq!(name("2001:db8::1"), Some(&Name::new("", "card-scheme")));
    assert_eq!(content.extra.cidrs.len(), 3);
    let said = |path: &str| {
        let said = content.extra.cgroups.find(path.as_bytes())?;
        Some((said.namespace.as_deref().map(str::to_owned), said.workload.to_string()))
    };
    let oracle = (Some("bank-core".to_owned()), "oracle".to_owned());
    assert_eq!(said("system.slice/oracle-1.service"), Some(oracle));
    assert_eq!(said("machine.slice/a/b"), Some((None, "virtual-machine".to_owned())));
    assert_eq!(said("system.slice/nginx.service"), None);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let long = format!("nodes:\n  - name: {}\n    addresses: []\n", "x".repeat(254));
    for (text, what, line) in [
        ("pods: []\npod: []\n", "pod", 2),
        ("pods:\n  - namespace: a\n    workload: b\n    adresses: [10.0.0.1]\n", "adresses", 4),
        ("services:\n  - name: b\n", "namespace", 2),
        ("pods:\n  - namespace: a\n    workload: b\n    addresses: [10.0.0.300]\n", "IP address", 4),
        ("pods:\n  - namespace: ''\n    workload: b\n", "a name is empty", 2),
        ("pods:\n  - namespace: \"a\\nb\"\n    workload: b\n", "control characters", 2),
        (&long, "longer than 253", 2),
        ("pods:\n  - {namespace: a, workload: b}\n", "a pod needs `addresses` or `uid`", 2),
        ("pods:\n  - {namespace: a, uid: b}\n", "a pod needs `workload` or `name`", 2),
        ("pods:\n  - {namespace: a, workload: b, owner: {kind: c, name: d}, uid: e}\n", "not both", 2),
        ("pods:\n - {namespace: a, name: b, uid: c}\n - {namespace: a, name: d, uid: c}\n", "c: a pod", 3),
        ("services:\n - {namespace: a, name: b}\n - {namespace: a, name: b}\n", "a/b stands", 3),
        ("nodes:\n - {name: a, addresses: []}\n - {name: a, addresses: []}\n", "a stands", 3),
        ("services:\n - namespace: a\n   name: b\n   ports: [{port: 0}]\n", "zero", 4),
        ("services:\n - namespace: a\n   name: b\n   ports: [{port: 1, protocol: ICMP}]\n", "ICMP", 4),
        ("networks:\n  - {cidr: 10.0.0.0/33, name: a}\n", "10.0.0.0/33", 2),
        ("networks:\n - {cidr: 10.0.0.0/8, name: a}\n - {cidr: 10.1.0.0/8, name: b}\n", "named before", 3),
        ("networks:\n  - {cidr: 10.0.0.0/8, name: a/}\n", "slash", 2),
        ("cgroups:\n  - {path: /, workload: a}\n", "no path below", 2),
        ("cgroups:\n  - {path: a}\n", "workload", 2),
        ("pods: {}\n", "sequence", 1),
        ("pods: [\n", "unclosed", 1),
        ("nodes: []\nnodes: []\n", "nodes", 2),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(what), "{text}: {complaint}");
        assert!(complaint.contains(&format!("line {line}")), "{text}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [10.0.0.1]\n".to_owned();
    for (one, other) in "abcdefghijkl".chars().zip("bcdefghijklm".chars()) {
        text += &format!("{other}: &{other} [{}]\n", vec![format!("*{one}"); 10].join(", "));
    }
    assert!(!complaint(&text).is_empty());
}

#[test]
fn comments_alone_are_no_names() {
    let content = Content::parse("# nothing\n\n").unwrap();
    assert!(content.pods.is_empty() && content.extra.cidrs.is_empty());
}

#[test]
fn at_the_start_a_file_must_be_there_and_good() {
    let place = Place::new("start");
    let load =
        || File::load(&place.file()).map(drop).map_err(|error| (error.failure().code, error.to_string()));
    let (code, why) = load().unwrap_err();
    assert!(code == FailureCode::Unreadable && why.contains("names.yaml: No such file"), "{why}");
    place.write("pods: [\n");
    let (code, why) = load().unwrap_err();
    assert!(
        code == FailureCode::Malformed && why.contains("names.yaml: ") && why.contains("line 1"),
        "{why}"
    );
    fs::write(place.file(), b"pods: []\n# \xff\n").unwrap();
    assert!(load().unwrap_err().1.contains("no UTF-8 at line 2"));
    fs::File::create(place.file()).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert_eq!(load().unwrap_err().0, FailureCode::TooLong);
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    assert!(load().unwrap_err().1.contains("no regular file"));
}

/// Looks until something is found, at most so often as it takes to find everything.
fn look(watched: &mut Watched) -> Option<Result<Vec<String>, FileError>> {
    (0..3).find_map(|_| match watched.look() {
        Look::Same => None,
        Look::Away(error) => Some(Err(error)),
        Look::Fresh => {
            let names = |content: Content| names(&content).into_iter().map(Into::into).collect();
            watched.read().map(|content| content.map(names)).transpose()
        }
    })
}

#[test]
fn a_new_version_is_read_once_it_rests() {
    let place = Place::new("rests");
    let (mut watched, content) = Watched::first(&place.write(ONE)).unwrap();
    assert_eq!(names(&content), ["web"]);
    assert!(look(&mut watched).is_none());
    // Of the same size, and in the same moment for all that a coarse clock tells.
    place.write(OTHER);
    assert!(matches!(watched.look(), Look::Same));
    assert!(matches!(watched.look(), Look::Fresh));
    assert_eq!(names(&watched.read().unwrap().unwrap()), ["api"]);
    assert!(look(&mut watched).is_none());
    // Touched, and moved into its place: the same content is no news.
    place.write(OTHER);
    assert!(look(&mut watched).is_none());
    fs::write(place.0.join("new"), OTHER).unwrap();
    fs::rename(place.0.join("new"), place.file()).unwrap();
    assert!(look(&mut watched).is_none() && watched.is_good());
}

#[test]
fn a_config_map_is_followed_through_its_links() {
    let place = Place::new("links");
    for (version, text) in [("..1", ONE), ("..2", OTHER)] {
        fs::create_dir(place.0.join(version)).unwrap();
        fs::write(place.0.join(version).join("names.yaml"), text).unwrap();
    }
    symlink("..1", place.0.join("..data")).unwrap();
    symlink("..data/names.yaml", place.file()).unwrap();
    let (mut watched, _) = Watched::first(&place.file()).unwrap();
    assert!(look(&mut watched).is_none());
    symlink("..2", place.0.join("..data_tmp")).unwrap();
    fs::rename(place.0.join("..data_tmp"), place.0.join("..data")).unwrap();
    fs::remove_dir_all(place.0.join("..1")).unwrap();
    assert_eq!(look(&mut watched).unwrap().unwrap(), ["api"]);
}

#[test]
fn what_is_broken_or_gone_is_said_once() {
    let place = Place::new("broken");
    let (mut watched, _) = Watched::first(&place.write(ONE)).unwrap();
    assert!(look(&mut watched).is_none());
    place.write("pods:\n  - namespac: a\n");
    let why = look(&mut watched).unwrap().unwrap_err().to_string();
    assert!(why.contains("namespac") && why.contains("line 2"), "{why}");
    assert!(look(&mut watched).is_none() && !watched.is_good());
    place.write("pods:\n  - namespac: a\n");
    assert!(look(&mut watched).is_none() && !watched.is_good());
    fs::remove_file(place.file()).unwrap();
    assert_eq!(look(&mut watched).unwrap().unwrap_err().failure().code, FailureCode::Unreadable);
    assert!(look(&mut watched).is_none() && !watched.is_good());
    // What it said before it went is told again: it may be another file.
    place.write(ONE);
    assert_eq!(look(&mut watched).unwrap().unwrap(), ["web"]);
    assert!(look(&mut watched).is_none() && watched.is_good());
    fs::File::create(place.file()).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert_eq!(look(&mut watched).unwrap().unwrap_err().failure().code, FailureCode::TooLong);
    assert!(look(&mut watched).is_none() && !watched.is_good());
}

#[test]
fn a_file_that_may_be_read_again_is_read() {
    let place = Place::new("allowed");
    let (mut watched, _) = Watched::first(&place.write(ONE)).unwrap();
    place.write(OTHER);
    let allow = |mode| fs::set_permissions(place.file(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0);
    // Whoever has CAP_DAC_OVERRIDE reads it all the same.
    if fs::read(place.file()).is_err() {
        assert_eq!(look(&mut watched).unwrap().unwrap_err().failure().code, FailureCode::Unreadable);
        assert!(look(&mut watched).is_none());
    }
    allow(0o600);
    assert_eq!(look(&mut watched).unwrap().unwrap(), ["api"]);
}

/// What is told up to the end of the pods' list, which is the last.
async fn told(updates: &mut mpsc::Receiver<Update>) -> Vec<Change> {
    let mut told = Vec::new();
    while told.last() != Some(&Change::InitDone(Kind::Pod)) {
        let update = updates.recv().await.unwrap();
        assert_eq!(update.source, Source::File);
        told.push(update.change);
    }
    told
}

fn state(health: &Health) -> super::super::State {
    let [(Source::File, None, state)] = <[_; 1]>::try_from(health.all()).unwrap() else { panic!() };
    state
}

#[tokio::test]
async fn lists_are_told_whole_and_again_when_they_change() {
    let place = Place::new("told");
    place.write(&format!(
        "{ONE}nodes: [{{name: n, addresses: [10.1.0.1]}}]\ncgroups: [{{path: a, workload: b}}]\n"
    ));
    let file = File { interval: Duration::from_millis(2), ..File::load(&place.file()).unwrap() };
    let mut extra = file.extra();
    assert!(extra.borrow_and_update().cgroups.find(b"a").is_some());
    let (sender, mut updates) = mpsc::channel(1);
    let health = Health::default();
    let running = tokio::spawn(run(file, sender, health.clone()));

    let first = told(&mut updates).await;
    let begun: Vec<_> = first.iter().filter(|change| matches!(change, Change::Init(_))).collect();
    let kinds = [Kind::Node, Kind::Service, Kind::EndpointSlice, Kind::Pod].map(Change::Init);
    assert_eq!(begun, kinds.iter().collect::<Vec<_>>());
    assert!(matches!(&first[..3], [Change::Init(_), Change::ApplyNode(_), Change::InitDone(Kind::Node)]));
    assert!(matches!(&first[first.len() - 2], Change::ApplyPod(pod) if &*pod.name == "web"));

    place.write("pods: nonsense\n");
    while state(&health).message.is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let broken = state(&health);
    assert!(broken.is_complete && broken.message.unwrap().contains("line 1"));
    assert_eq!(broken.failures.get("malformed"), Some(&1));

    place.write(OTHER);
    extra.changed().await.unwrap();
    assert!(extra.borrow_and_update().cgroups.find(b"a").is_none());
    let second = told(&mut updates).await;
    assert!(matches!(&second[second.len() - 2], Change::ApplyPod(pod) if &*pod.name == "api"));
    while state(&health).message.is_some() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(updates);
    running.await.unwrap();
}
