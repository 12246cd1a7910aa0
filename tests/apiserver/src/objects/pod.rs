//! Pods.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{LONG_AGO, uid_of};
use crate::time::rfc3339;

/// A pod in the making.
#[derive(Clone, Debug)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `apiVersion`, `kind` and name of its controller.
    owner: Option<(String, String, String)>,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    node: Option<String>,
    host_network: bool,
    addresses: Vec<IpAddr>,
    phase: String,
    created: u64,
    /// When its container ended, in seconds since 1970.
    ended: Option<u64>,
    /// When it was told to go.
    deleted: Option<u64>,
}

impl Pod {
    /// A running pod that nobody owns.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid_of(&format!("pod/{namespace}/{name}")),
            owner: None,
            labels: vec![("app.kubernetes.io/part-of".to_owned(), namespace.to_owned())],
            annotations: Vec::new(),
            node: Some("node-0".to_owned()),
            host_network: false,
            addresses: Vec::new(),
            phase: "Running".to_owned(),
            created: LONG_AGO,
            ended: None,
            deleted: None,
        }
    }

    /// The `number`-th pod of a Deployment, by way of its ReplicaSet.
    #[must_use]
    pub fn of_deployment(namespace: &str, deployment: &str, number: u32) -> Self {
        let hash = template_hash(deployment);
        let set = format!("{deployment}-{hash}");
        Self::new(namespace, &format!("{set}-{}", suffix(number)))
            .owned_by("apps/v1", "ReplicaSet", &set)
            .labelled("pod-template-hash", &hash)
            .labelled("app.kubernetes.io/name", deployment)
    }

    /// The `number`-th pod of a StatefulSet.
    #[must_use]
    pub fn of_stateful_set(namespace: &str, set: &str, number: u32) -> Self {
        let name = format!("{set}-{number}");
        Self::new(namespace, &name)
            .owned_by("apps/v1", "StatefulSet", set)
            .labelled("statefulset.kubernetes.io/pod-name", &name)
            .labelled("apps.kubernetes.io/pod-index", &number.to_string())
    }

    /// A pod of a DaemonSet.
    #[must_use]
    pub fn of_daemon_set(namespace: &str, set: &str, number: u32) -> Self {
        Self::new(namespace, &format!("{set}-{}", suffix(number))).owned_by("apps/v1", "DaemonSet", set)
    }

    /// A pod of a Job.
    #[must_use]
    pub fn of_job(namespace: &str, job: &str) -> Self {
        Self::new(namespace, &format!("{job}-{}", suffix(1)))
            .owned_by("batch/v1", "Job", job)
            .labelled("batch.kubernetes.io/job-name", job)
            .labelled("job-name", job)
    }

    /// Its controller.
    #[must_use]
    pub fn owned_by(mut self, api_version: &str, kind: &str, name: &str) -> Self {
        self.owner = Some((api_version.to_owned(), kind.to_owned(), name.to_owned()));
        self
    }

    /// Gives it a label.
    #[must_use]
    pub fn labelled(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it an annotation.
    #[must_use]
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets `metadata.uid`.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.uid);
        self
    }

    /// Puts it on a node.
    #[must_use]
    pub fn on_node(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// Not yet on a node.
    #[cfg(test)]
    #[must_use]
    pub fn pending(mut self) -> Self {
        self.node = None;
        self.addresses.clear();
        "Pending".clone_into(&mut self.phase);
        self
    }

    /// Gives it one more address; the first is `status.podIP`.
    #[must_use]
    pub fn at(mut self, address: impl Into<IpAddr>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }

    /// Its addresses are its node's.
    #[must_use]
    pub fn on_host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// Sets when it was made, in seconds since 1970.
    #[must_use]
    pub fn created(mut self, seconds: u64) -> Self {
        self.created = seconds;
        self
    }

    /// It has ended: `Succeeded` or `Failed`. Its status keeps the address, as the kubelet leaves it.
    #[must_use]
    pub fn ended(mut self, phase: &str, seconds: u64) -> Self {
        phase.clone_into(&mut self.phase);
        self.ended = Some(seconds);
        self
    }

    /// It is being deleted.
    #[must_use]
    pub fn deleted(mut self, seconds: u64) -> Self {
        self.deleted = Some(seconds);
        self
    }

    fn metadata(&self) -> Value {
        let pairs = |pairs: &[(String, String)]| -> Value {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let mut metadata = json!({
            "name": self.name, "namespace": self.namespace, "uid": self.uid,
            "creationTimestamp": rfc3339(self.created), "labels": pairs(&self.labels),
            "managedFields": managed_fields(self.created),
        });
        if !self.annotations.is_empty() {
            metadata["annotations"] = pairs(&self.annotations);
        }
        if let Some((api_version, kind, name)) = &self.owner {
            metadata["generateName"] = json!(format!("{name}-"));
            metadata["ownerReferences"] = json!([{
                "apiVersion": api_version, "kind": kind, "name": name,
                "uid": uid_of(&format!("{kind}/{}/{name}", self.namespace)),
                "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        if let Some(deleted) = self.deleted {
            metadata["deletionTimestamp"] = json!(rfc3339(deleted));
            metadata["deletionGracePeriodSeconds"] = json!(30);
        }
        metadata
    }

    fn spec(&self) -> Value {
        let variable = |name: &str, value: String| json!({"name": name, "value": value});
        let mut environment: Vec<Value> = (0..8)
            .map(|n| {
                variable(&format!("FEATURE_{n}"), format!("https://{}.svc.cluster.local/v{n}", self.name))
            })
            .collect();
        environment.push(
            json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}),
        );
        environment.push(json!({
            "name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
        }));
        let probe = json!({
            "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "initialDelaySeconds": 5,
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        });
        let mut spec = json!({
            "volumes": [
                {"name": "config", "configMap": {"name": "settings", "defaultMode": 420}},
                {"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                ]}},
            ],
            "containers": [{
                "name": "main", "image": "registry.example.com/team/service:1.24.3", "args": ["--listen=:8080"],
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}], "env": environment,
                "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "250m", "memory": "512Mi"}},
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/service"},
                    {"name": "kube-api-access-x7k2p", "readOnly": true,
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ],
                "livenessProbe": probe, "readinessProbe": probe,
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
                "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": false},
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {},
            "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        });
        if let Some(node) = &self.node {
            spec["nodeName"] = json!(node);
        }
        if self.host_network {
            spec["hostNetwork"] = json!(true);
        }
        spec
    }

    fn status(&self) -> Value {
        let begun = rfc3339(self.created + 2);
        let conditions =
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
        let is_up = self.phase == "Running";
        let conditions = conditions.map(|kind| {
            let status = if is_up { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": begun})
        });
        let id = self.container_id();
        let state = match self.ended {
            Some(ended) => json!({"terminated": {
                "exitCode": i32::from(self.phase == "Failed"), "reason": "Completed", "startedAt": begun,
                "finishedAt": rfc3339(ended), "containerID": format!("containerd://{id}"),
            }}),
            None => json!({"running": {"startedAt": begun}}),
        };
        let mut status = json!({"phase": self.phase, "conditions": conditions, "qosClass": "Burstable"});
        if self.node.is_some() {
            status["hostIP"] = json!("172.16.0.1");
            status["hostIPs"] = json!([{"ip": "172.16.0.1"}]);
            status["startTime"] = json!(rfc3339(self.created));
            status["containerStatuses"] = json!([{
                "name": "main", "state": state, "lastState": {}, "ready": is_up, "restartCount": 0,
                "image": "registry.example.com/team/service:1.24.3", "started": is_up,
                "imageID": "registry.example.com/team/service@sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270",
                "containerID": format!("containerd://{id}"),
            }]);
        }
        if let Some(first) = self.addresses.first() {
            status["podIP"] = json!(first);
            let all: Vec<Value> = self.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
            status["podIPs"] = json!(all);
        }
        status
    }

    /// The id of its container: 64 hexadecimal digits, as containerd has it.
    #[must_use]
    pub fn container_id(&self) -> String {
        let uid = self.uid.replace('-', "");
        format!("{uid}{uid}")
    }

    /// The whole object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": self.metadata(), "spec": self.spec(), "status": self.status(),
        })
    }
}

/// The hash of a pod template as the Deployment controller writes it: ten letters of those it takes
/// (`k8s.io/apimachinery/pkg/util/rand`).
#[must_use]
pub fn template_hash(deployment: &str) -> String {
    let number = deployment.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    letters(number, 10)
}

/// The end of a pod's name: five letters.
fn suffix(number: u32) -> String {
    letters(number.wrapping_mul(2_654_435_761), 5)
}

fn letters(mut number: u32, count: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |_| {
        let letter = ALPHABET[number as usize % ALPHABET.len()];
        number = number / 27 + number.wrapping_mul(40_503) % 65_537;
        char::from(letter)
    };
    (0..count).map(letter).collect()
}

/// Who wrote which field: in real pods half of all that there is.
fn managed_fields(created: u64) -> Value {
    let field = |name: &str, inner: Value| json!({ format!("f:{name}"): inner });
    let empty = || json!({});
    json!([
        {
            "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
            "time": rfc3339(created), "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:pod-template-hash": {}}, "f:ownerReferences": {".": {}}},
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"main\"}": {
                        ".": {}, "f:args": {}, "f:env": field("FEATURE", empty()), "f:image": {}, "f:imagePullPolicy": {},
                        "f:livenessProbe": {"f:httpGet": {"f:path": {}, "f:port": {}}}, "f:name": {}, "f:ports": {".": {}},
                        "f:resources": {"f:limits": {}, "f:requests": {}}, "f:volumeMounts": {".": {}},
                    }},
                    "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:volumes": {".": {}},
                },
            },
        },
        {
            "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": rfc3339(created + 2),
            "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": {"f:status": {
                "f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:lastTransitionTime": {}, "f:status": {}}},
                "f:containerStatuses": {}, "f:hostIP": {}, "f:phase": {}, "f:podIP": {},
                "f:podIPs": {".": {}, "k:{\"ip\":\"10.0.0.1\"}": {".": {}, "f:ip": {}}}, "f:startTime": {},
            }},
        },
    ])
}
