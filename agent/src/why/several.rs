//! Asks the agents of several nodes at once: each at its URL, or all of a cluster through its API server.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::time::timeout;

use crate::client::{Client, ClientError, MAX_BODY, TIMEOUT};
use crate::expose::findings::Answer;
use crate::sources::kubernetes::{Server, Timing, encoded};
use crate::web::TOKEN_HEADER;

/// Agents that are asked at the same time.
const AT_ONCE: usize = 32;
/// Pods of one page of the list.
const PAGE: usize = 500;
/// Pods that are asked at most.
const MAX_PODS: usize = 10_000;
/// The name of the agents' port in the manifests and the chart.
const PORT_NAME: &str = "metrics";
/// The port of agents whose pods name none.
const PORT: u16 = 9779;

/// Who is asked.
pub enum Agents {
    /// Agents by their URLs.
    Urls(Vec<Client>),
    /// The pods of a namespace with the label of the manifests.
    Cluster {
        /// The API server.
        server: Box<Server>,
        /// Their namespace.
        namespace: String,
        /// The token that they ask for.
        token: Option<HeaderValue>,
    },
}

/// What is used of a list of pods.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pods {
    metadata: ListMetadata,
    items: Vec<Pod>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    ports: Vec<ContainerPort>,
    liveness_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    name: String,
    container_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Probe {
    http_get: Option<HttpGet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HttpGet {
    scheme: String,
}

impl Pod {
    /// The port that its agent listens on.
    fn port(&self) -> u16 {
        let mut ports = self.spec.containers.iter().flat_map(|it| &it.ports);
        ports.find(|port| port.name == PORT_NAME).map_or(PORT, |port| port.container_port)
    }

    /// Whether the agent's port wants TLS, as the kubelet's probes of it say.
    fn has_tls(&self) -> bool {
        let probes = self.spec.containers.iter().flat_map(|it| [&it.liveness_probe, &it.readiness_probe]);
        let mut gets = probes.flatten().filter_map(|probe| probe.http_get.as_ref());
        gets.any(|get| get.scheme == "HTTPS")
    }
}

/// What an agent answered, or why it did not, with its URL, or the names of its pod and node.
pub type Answers = Vec<(String, Result<Answer, String>)>;

impl Agents {
    /// The agents of a cluster. Without a file, a pod's service account, `KUBECONFIG`, or the file in the home directory.
    pub fn of_cluster(
        namespace: &str,
        kubeconfig: Option<std::path::PathBuf>,
        context: Option<String>,
        token: Option<HeaderValue>,
    ) -> Self {
        let timing = Timing { connect: TIMEOUT, response: TIMEOUT, ..Timing::default() };
        Self::Cluster {
            server: Box::new(Server::new(kubeconfig, timing).in_context(context)),
            namespace: namespace.to_owned(),
            token,
        }
    }

    /// Asks all of them.
    ///
    /// # Errors
    ///
    /// When it cannot be found out who there is to be asked. Who does not answer is no error.
    pub async fn ask(&self, path: &str) -> Result<Answers, String> {
        match self {
            Self::Urls(clients) => {
                let all = stream::iter(clients).map(|client| async move {
                    let answer = client.fetch(path).await.map_err(|error| briefly(&error));
                    (client.url().to_owned(), answer.and_then(|body| parsed(&body)))
                });
                Ok(all.buffered(AT_ONCE).collect().await)
            }
            Self::Cluster { server, namespace, token } => {
                let pods = pods(server, namespace).await?;
                let all = stream::iter(&pods).map(|pod| async move {
                    let name = &pod.metadata.name;
                    let whom = match &pod.spec.node_name {
                        Some(node) => format!("{name} on {node}"),
                        None => format!("{name}, on no node yet"),
                    };
                    let path = format!(
                        "/api/v1/namespaces/{}/pods/{}{}:{}/proxy{path}",
                        encoded(namespace),
                        if pod.has_tls() { "https:" } else { "" },
                        encoded(name),
                        pod.port()
                    );
                    (whom, get(server, &path, token.as_ref()).await.and_then(|body| parsed(&body)))
                });
                Ok(all.buffered(AT_ONCE).collect().await)
            }
        }
    }
}

/// The agents' pods, page by page.
async fn pods(server: &Server, namespace: &str) -> Result<Vec<Pod>, String> {
    let mut pods = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io%2Fname%3Dnetcause&limit={PAGE}{next}",
            encoded(namespace)
        );
        let body = get(server, &path, None)
            .await
            .map_err(|error| format!("cannot list the agents' pods: {error}"))?;
        let page: Pods = serde_json::from_str(&body)
            .map_err(|error| format!("cannot read the list of the agents' pods: {error}"))?;
        pods.extend(page.items);
        match page.metadata.next.filter(|token| !token.is_empty()) {
            Some(token) if pods.len() < MAX_PODS => next = format!("&continue={}", encoded(&token)),
            _ => break,
        }
    }
    if pods.is_empty() {
        return Err(format!(
            "no pod in namespace {namespace} has the label app.kubernetes.io/name=netcause: --kube=NAMESPACE names another one"
        ));
    }
    Ok(pods)
}

/// A body of the API server.
async fn get(server: &Server, path: &str, token: Option<&HeaderValue>) -> Result<String, String> {
    let answer = async {
        let header = token.map(|token| (TOKEN_HEADER, token));
        let body =
            server.get_with(path, "application/json", header).await.map_err(|failure| failure.reason)?;
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    };
    let late = |_| format!("no answer within {} s", TIMEOUT.as_secs());
    timeout(TIMEOUT + Duration::from_secs(1), answer).await.map_err(late)?
}

fn parsed(body: &str) -> Result<Answer, String> {
    serde_json::from_str(body)
        .map_err(|error| format!("does not answer as an agent of this version: {error}"))
}

/// Without what to do about it, and without the URL, which is said beside it.
fn briefly(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { error, .. } => error.clone(),
        error => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;
    use netcause_apiserver::{Answer as Reply, Request};
    use serde_json::json;

    use super::*;
    use crate::expose::findings::tests::lately;
    use crate::expose::findings::{Answer, Query};
    use crate::sources::testing::TestServer;
    use crate::why::merged::Merged;

    const PODS: &str = "/api/v1/namespaces/monitoring/pods";

    fn answer(node: &str) -> serde_json::Value {
        serde_json::to_value(&Answer {
            node: node.to_owned(),
            ..Answer::new(&lately(None), &Query::default())
        })
        .unwrap()
    }

    async fn ask(server: &TestServer) -> Result<Answers, String> {
        let file = std::env::temp_dir().join(format!(
            "netcause-why-{}-{}",
            std::process::id(),
            server.address.port()
        ));
        let address = server.address;
        std::fs::write(
            &file,
            format!(
                "{{apiVersion: v1, kind: Config, current-context: none, clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}],\n\
                 contexts: [{{name: lab, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}\n"
            ),
        )
        .unwrap();
        let token = Some(HeaderValue::from_static("0123456789abcdef"));
        let agents = Agents::of_cluster("monitoring", Some(file.clone()), Some("lab".to_owned()), token);
        let answers = agents.ask("/api/v1/findings?workload=shop/checkout").await;
        std::fs::remove_file(file).unwrap();
        answers
    }

    #[tokio::test]
    async fn all_agents_of_a_cluster_are_asked_page_by_page() {
        let script = |request: &Request, _| {
            let page = |pods: &[(&str, &str)], next: &str| {
                let items: Vec<_> = pods
                    .iter()
                    .map(|(name, node)| {
                        let scheme = if *name == "b" { "HTTPS" } else { "HTTP" };
                        let probe = json!({"httpGet": {"path": "/livez", "scheme": scheme}});
                        let ports = json!([{"name": "other", "containerPort": 1}, {"name": "metrics", "containerPort": 9000}]);
                        let ports = if *name == "b" { ports } else { json!([]) };
                        let containers = json!([{"livenessProbe": probe, "ports": ports}, {"name": "other"}]);
                        json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": containers}})
                    })
                    .collect();
                Reply::json(&json!({"metadata": {"continue": next}, "items": items}))
            };
            match request.path.strip_prefix(PODS).unwrap() {
                "" if !request.parameters.contains_key("continue") => {
                    page(&[("a", "n1"), ("b", "n2")], "2/3")
                }
                "" => page(&[("c", "n3")], ""),
                "/a:9779/proxy/api/v1/findings" => Reply::json(&answer("n1")),
                "/https:b:9000/proxy/api/v1/findings" => Reply::json(&answer("n2")),
                _ => Reply::status(503, "no endpoints"),
            }
        };
        let server = TestServer::start(script);
        let merged = Merged::new(ask(&server).await.unwrap());
        // One cause, seen from both ends.
        assert_eq!(merged.findings.len(), 1);
        assert_eq!(merged.findings[0].nodes, ["n1", "n2"]);
        let errors: Vec<_> =
            merged.agents.iter().map(|agent| (agent.agent.as_str(), agent.error.is_some())).collect();
        assert_eq!(errors, [("a on n1", false), ("b on n2", false), ("c on n3", true)]);
        assert!(merged.agents[2].error.as_ref().unwrap().contains("no endpoints"));
        let list = server.asked(PODS);
        assert_eq!(
            list[0].parameters.get("labelSelector").map(String::as_str),
            Some("app.kubernetes.io/name=netcause")
        );
        let one = server.asked(&format!("{PODS}/a:9779/proxy/api/v1/findings"));
        assert_eq!(one[0].parameters.get("workload").map(String::as_str), Some("shop/checkout"));
        assert_eq!(one[0].header(&HeaderName::from_static(TOKEN_HEADER)), Some("0123456789abcdef"));
        assert_eq!(
            list[0].header(&HeaderName::from_static(TOKEN_HEADER)),
            None,
            "the API server itself gets no token"
        );
    }

    #[tokio::test]
    async fn without_agents_or_rights_the_error_says_so() {
        for (reply, words) in
            [(json!({"items": []}), "--kube=NAMESPACE"), (json!({"items": 7}), "cannot read the list")]
        {
            let server = TestServer::start(move |_, _| Reply::json(&reply));
            let error = ask(&server).await.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let forbidden = |_: &Request, _| Reply::status(403, "pods is forbidden");
        let server = TestServer::start(forbidden);
        assert_eq!(ask(&server).await.unwrap_err(), "cannot list the agents' pods: 403: pods is forbidden");
    }
}
