//! The server against what the Kubernetes API documents, asked in plain HTTP.

mod client;
mod faults;
mod lists;
mod rights;
mod watches;

use serde_json::{Value, json};

use super::{
    objects::{Pod, node},
    server::Server,
    state::Settings,
};

/// A server with its own port, and commands for it.
struct Lab(Server);

impl Lab {
    fn new() -> Self {
        Self(Server::start(([127, 0, 0, 1], 0).into(), Settings::default()).unwrap())
    }

    /// Five pods on two nodes, in two namespaces.
    fn with_pods() -> Self {
        let lab = Self::new();
        lab.tell(json!({"put": node("n1", [10, 0, 0, 1].into(), "z")}));
        for (number, namespace) in (0_u8..).zip(["a", "a", "b", "b", "b"]) {
            lab.put(&pod(namespace, number));
        }
        lab
    }

    fn tell(&self, command: impl Into<Value>) -> Value {
        let said = self.0.command(&command.into().to_string());
        assert!(said.get("error").is_none(), "{said}");
        said
    }

    fn put(&self, pod: &Pod) -> u64 {
        self.tell(json!({"put": pod.json()}))["version"].as_u64().unwrap()
    }

    fn delete(&self, pod: &Pod) -> u64 {
        let named = json!({"resource": "pods", "namespace": pod.namespace, "name": pod.name});
        self.tell(json!({ "delete": named }))["version"].as_u64().unwrap()
    }

    fn version(&self) -> u64 {
        self.tell("version")["version"].as_u64().unwrap()
    }
}

/// The pod of this number.
fn pod(namespace: &str, number: u8) -> Pod {
    Pod::new(namespace, &format!("pod-{number}")).on_node(&format!("n{}", number % 2)).at([10, 1, 0, number])
}
