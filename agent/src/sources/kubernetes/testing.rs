//! A client of the fake API server, and objects for its scripts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::{CAPACITY, Health, State};
use super::{Options, Scope, Timing, run};
use netcause_core::enrich::objects::{Change, Kind, Source, Update};

pub use super::super::testing::TestServer;

/// A test that waits longer than this has failed.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A client that runs, and its updates.
pub struct Client {
    updates: mpsc::Receiver<Update>,
    pub wanted: mpsc::Sender<std::net::IpAddr>,
    pub health: Health,
    task: JoinHandle<()>,
    directory: PathBuf,
}

impl Client {
    /// Of this server, with short waits.
    pub fn start(address: SocketAddr, change: impl FnOnce(&mut Options, &Path)) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("netcause-kube-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let nodes = Some(Scope::All);
        let mut options = Options { timing: short(), nodes, ..Options::default() };
        let kubeconfig = directory.join("kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_of(address, "{}")).unwrap();
        options.kubeconfig = Some(kubeconfig);
        change(&mut options, &directory);
        let (sender, updates) = mpsc::channel(CAPACITY);
        let (wanted, asked) = mpsc::channel(64);
        let health = Health::default();
        let task = tokio::spawn(run(options, sender, asked, health.clone()));
        Self { updates, wanted, health, task, directory }
    }

    /// The next update of a kind (owners count as pods).
    pub async fn next(&mut self, kind: Kind) -> Change {
        loop {
            let update =
                tokio::time::timeout(TIMEOUT, self.updates.recv()).await.expect("no update").unwrap();
            assert_eq!(update.source, Source::Api);
            let of = match &update.change {
                Change::Init(kind) | Change::InitDone(kind) | Change::Delete(kind, _) => *kind,
                Change::ApplyPod(_) | Change::Owner { .. } => Kind::Pod,
                Change::ApplyService(_) => Kind::Service,
                Change::ApplyEndpointSlice(_) => Kind::EndpointSlice,
                Change::ApplyNode(_) => Kind::Node,
            };
            if of == kind {
                return update.change;
            }
        }
    }

    /// The next of pods, in short: `begin`, `end`, `+name`, `-uid`, `name>name` of owners.
    pub async fn pods(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(match self.next(Kind::Pod).await {
                Change::Init(_) => "begin".to_owned(),
                Change::InitDone(_) => "end".to_owned(),
                Change::ApplyPod(pod) => format!("+{}", pod.name),
                Change::Delete(_, uid) => format!("-{uid}"),
                Change::Owner { of, is, .. } => format!("{}>{}/{}", of.name, is.kind, is.name),
                other => panic!("{other:?}"),
            });
        }
        all
    }

    pub fn state(&self, kind: Kind) -> Option<State> {
        let all = self.health.all();
        all.into_iter().find(|(_, of, _)| *of == Some(kind)).map(|(_, _, state)| state)
    }

    pub fn failures(&self, code: &str) -> u64 {
        self.state(Kind::Pod).and_then(|state| state.failures.get(code).copied()).unwrap_or_default()
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: impl Fn(&Self) -> bool) {
        let is_so = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, is_so).await.expect("timed out");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Short waits, and idle timeouts that only tests of them reach.
pub fn short() -> Timing {
    let millis = Duration::from_millis;
    Timing {
        first_wait: millis(5),
        max_wait: millis(20),
        accepted: millis(50),
        refused: millis(20),
        lookup: millis(1),
        recheck: millis(20),
        recheck_node: millis(200),
        list_idle_timeout: TIMEOUT,
        watch_idle_timeout: TIMEOUT,
        ..Timing::default()
    }
}

pub fn kubeconfig_of(address: SocketAddr, user: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}],\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {user}}}]}}\n"
    )
}

/// A pod; its uid is its name in capitals.
pub fn pod(name: &str, version: u64) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name.to_uppercase(), "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"app": name}, "managedFields": [{"manager": "x"}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "env": [{"name": "A", "value": "B"}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    })
}

pub fn event(r#type: &str, object: &Value) -> Value {
    json!({"type": r#type, "object": object})
}

pub fn bookmark(version: u64) -> Value {
    event("BOOKMARK", &json!({"kind": "Pod", "metadata": {"resourceVersion": version.to_string()}}))
}

pub fn list_end(version: u64) -> Value {
    event(
        "BOOKMARK",
        &json!({"kind": "Pod", "metadata": {
        "resourceVersion": version.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}}),
    )
}

pub fn list(items: &[Value], version: u64, next: Option<&str>) -> Value {
    json!({"kind": "List", "metadata": {"resourceVersion": version.to_string(), "continue": next}, "items": items})
}
