//! A server on loopback that answers as a test tells it to.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::super::{CAPACITY, Health, State, tls};
use super::{Options, Timing, run};
use netcause_core::enrich::objects::{Change, Kind, Source, Update};

/// A test that waits longer than this has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub token: Option<String>,
    pub accept: String,
}

impl Asked {
    pub fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    pub fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Whether it is a watch that goes on after a version.
    pub fn is_watch(&self) -> bool {
        self.has("watch") && !self.has("sendInitialEvents")
    }

    pub fn is_streaming(&self) -> bool {
        self.has("sendInitialEvents")
    }
}

/// A part of an answer.
pub enum Step {
    Text(String),
    /// Nothing more comes, and the connection stays.
    Hang,
    /// The connection ends in the middle of the answer.
    Cut,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<u64>,
    pub steps: VecDeque<Step>,
}

impl Answer {
    pub fn json(value: &Value) -> Self {
        Self::steps([Step::Text(value.to_string())])
    }

    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { status: 200, retry_after: None, steps: steps.into_iter().collect() }
    }

    /// Events, and then what comes after them.
    pub fn events(events: &[Value], then: Step) -> Self {
        let lines = events.iter().map(|event| Step::Text(format!("{event}\n")));
        Self::steps(lines.chain([then]))
    }

    /// A watch on which nothing happens.
    pub fn quiet() -> Self {
        Self::steps([Step::Hang])
    }

    pub fn status(code: u16, message: &str) -> Self {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
        Self { status: code, ..Self::json(&status) }
    }
}

type Behaviour = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// A server; it ends with its test.
pub struct TestServer {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl TestServer {
    /// Answers by what is asked, and how often that path was asked for before.
    pub async fn start(behaviour: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), behaviour)
    }

    pub fn on(
        listener: TcpListener,
        behaviour: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::behind(|stream| std::future::ready(Some(stream)), listener, behaviour)
    }

    /// Behind TLS, with [`tls::CERTIFICATE`].
    pub async fn start_tls(behaviour: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let acceptor = tls::acceptor();
        let accept = move |stream| {
            let accepted = acceptor.accept(stream);
            // A client that does not trust the certificate goes.
            async { accepted.await.ok() }
        };
        Self::behind(accept, TcpListener::bind("127.0.0.1:0").await.unwrap(), behaviour)
    }

    fn behind<S, F>(
        accept: impl Fn(TcpStream) -> F + Send + 'static,
        listener: TcpListener,
        behaviour: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (behaviour, log) = (Arc::clone(&behaviour), Arc::clone(&log));
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&request, behaviour.as_ref(), &log);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let accepted = accept(stream);
                connections.spawn(async move {
                    if let Some(stream) = accepted.await {
                        // A client goes when it likes.
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    }
                });
            }
        });
        Self { address, asked, task }
    }

    /// What was asked for a path so far.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(
    request: &Request<Incoming>,
    behaviour: &Behaviour,
    log: &Mutex<Vec<Asked>>,
) -> Response<StreamBody<impl stream::Stream<Item = io::Result<Frame<Bytes>>> + use<>>> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let parts = request.uri().query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let query = parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.to_owned(), value.replace("%3D", "=").replace("%3A", ":"))
    });
    let asked = Asked {
        path: request.uri().path().to_owned(),
        query: query.collect(),
        token: header("authorization"),
        accept: header("accept").unwrap_or_default(),
    };
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|other| other.path == asked.path).count();
        log.push(asked.clone());
        before
    };
    let Answer { status, retry_after, steps } = behaviour(&asked, before);
    let body = stream::unfold(steps, |mut steps| async move {
        match steps.pop_front()? {
            Step::Text(text) => Some((Ok(Frame::data(Bytes::from(text))), steps)),
            Step::Hang => std::future::pending().await,
            Step::Cut => {
                // What was written before is to arrive before the end does.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(io::Error::other("cut")), steps))
            }
        }
    });
    let mut response = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(StreamBody::new(body)).unwrap()
}

/// A client that runs, and what it tells.
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
        let mut options = Options { timing: short(), ..Options::default() };
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

    /// The next that is told of a kind (owners count as pods).
    pub async fn next(&mut self, kind: Kind) -> Change {
        loop {
            let update =
                tokio::time::timeout(PATIENCE, self.updates.recv()).await.expect("nothing is told").unwrap();
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

    pub fn failures(&self, reason: &str) -> u64 {
        self.state(Kind::Pod).and_then(|state| state.failures.get(reason).copied()).unwrap_or_default()
    }

    /// Waits until something is so.
    pub async fn until(&self, what: impl Fn(&Self) -> bool) {
        let is_so = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_so).await.expect("it never is so");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Waits that a test can bear; silence is long, unless silence is what is tested.
pub fn short() -> Timing {
    let millis = Duration::from_millis;
    Timing {
        first_wait: millis(5),
        max_wait: millis(20),
        refused: millis(20),
        lookup: millis(1),
        recheck: millis(20),
        list_silence: PATIENCE,
        watch_silence: PATIENCE,
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

/// What every kind but pods does in these tests: it is there, and quiet.
pub fn others(asked: &Asked) -> Answer {
    if asked.is_streaming() { Answer::events(&[list_end(1)], Step::Hang) } else { Answer::quiet() }
}
