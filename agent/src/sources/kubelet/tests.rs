mod tls;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::State;
use super::*;
use netcause_core::enrich::objects::Owner;

/// What the server answers.
#[derive(Clone)]
enum Answer {
    /// A whole answer.
    Whole(StatusCode, String),
    /// The beginning of one, and then nothing.
    Stuck(String),
    /// The beginning of one, and then the end of the connection.
    Cut(String),
    /// Pods without end.
    Endless,
}

/// A path, and what was shown for a token.
type Asked = (String, Option<String>);

/// A kubelet of which the answers are given, the last one again and again; and what it was asked.
#[derive(Clone, Default)]
struct Kubelet {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Kubelet {
    fn answering(answers: &[Answer]) -> Self {
        let kubelet = Self::default();
        kubelet.answers.lock().unwrap().extend(answers.iter().cloned());
        kubelet
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pods", listener.local_addr().unwrap());
        tokio::spawn(self.clone().serve(listener));
        url
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.clone().connection(stream);
        }
    }

    fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        // A connection that is cut off is what some tests want.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<BoxBody<Bytes, io::Error>> {
        let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.asked.lock().unwrap().push((request.uri().to_string(), token));
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let data = |text: String| Ok(Frame::data(Bytes::from(text)));
        let (status, frames) = match answer.unwrap() {
            Answer::Whole(status, text) => (status, stream::iter([data(text)]).boxed()),
            Answer::Stuck(text) => {
                (StatusCode::OK, stream::iter([data(text)]).chain(stream::pending()).boxed())
            }
            Answer::Cut(text) => {
                let cut = stream::once(async {
                    // What was said before is sent meanwhile.
                    tokio::task::yield_now().await;
                    Err(io::Error::other("cut"))
                });
                (StatusCode::OK, stream::iter([data(text)]).chain(cut).boxed())
            }
            Answer::Endless => {
                let begin = stream::iter([data(r#"{"kind":"PodList","items":["#.to_owned())]);
                let pods = stream::iter(0_u64..).map(move |number| data(format!("{},", pod(number))));
                (StatusCode::OK, begin.chain(pods).boxed())
            }
        };
        let mut response = Response::new(BoxBody::new(StreamBody::new(shareable(frames))));
        *response.status_mut() = status;
        response
    }
}

/// `BoxBody` wants what may be shared.
fn shareable(
    frames: stream::BoxStream<'static, Result<Frame<Bytes>, io::Error>>,
) -> impl stream::Stream<Item = Result<Frame<Bytes>, io::Error>> + Send + Sync {
    let frames = Mutex::new(frames);
    stream::poll_fn(move |context| {
        frames.lock().unwrap_or_else(std::sync::PoisonError::into_inner).poll_next_unpin(context)
    })
}

fn pod(number: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"web-{number}","namespace":"bank","uid":"{number:08x}-0000-4000-8000-000000000000",
        "creationTimestamp":"2026-01-02T03:04:05Z","labels":{{"pod-template-hash":"5d4f"}},
        "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d4f","controller":true,"uid":"u"}}]}},
        "spec":{{"nodeName":"node-1","containers":[{{"name":"c","env":[{{"name":"PASSWORD","value":"x"}}]}}]}},
        "status":{{"phase":"Running","podIP":"10.0.0.7","podIPs":[{{"ip":"10.0.0.7"}},{{"ip":"fd00::7"}}]}}}}"#
    )
}

fn list(pods: &[String]) -> String {
    format!(r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{}},"items":[{}]}}"#, pods.join(","))
}

fn good(pods: &[String]) -> Answer {
    Answer::Whole(StatusCode::OK, list(pods))
}

fn refused(status: u16) -> Answer {
    Answer::Whole(StatusCode::from_u16(status).unwrap(), "Bearer secret is not welcome".to_owned())
}

/// As the kubelet runs it from a file: without an owner, an address of its own, or a time.
const STATIC: &str = r#"{"metadata":{"name":"etcd-node-1","namespace":"kube-system",
    "uid":"0123456789abcdef0123456789abcdef","creationTimestamp":null,
    "annotations":{"kubernetes.io/config.hash":"0123456789abcdef0123456789abcdef","kubernetes.io/config.source":"file"}},
    "spec":{"nodeName":"node-1","hostNetwork":true},
    "status":{"phase":"Running","podIP":"192.0.2.1","podIPs":[{"ip":"192.0.2.1"}]}}"#;

fn options(url: &str) -> Options {
    Options {
        url: url.to_owned(),
        token: None,
        interval: Duration::from_millis(5),
        timeout: Duration::from_secs(30),
        max_wait: Duration::from_millis(10),
        ..Options::default()
    }
}

async fn ask(answer: Answer) -> Result<List, Failure> {
    let url = Kubelet::answering(&[answer]).start().await;
    Client::new(options(&url)).list().await
}

#[tokio::test]
async fn a_list_is_read_with_static_pods_and_without_what_names_do_not_need() {
    let List { pods, malformed } = ask(good(&[pod(1), STATIC.to_owned()])).await.unwrap();
    assert_eq!(malformed, None);
    let hash: Box<str> = "0123456789abcdef0123456789abcdef".into();
    let expected = [
        Pod {
            uid: "00000001-0000-4000-8000-000000000000".into(),
            namespace: "bank".into(),
            name: "web-1".into(),
            owner: Some(Owner {
                kind: "ReplicaSet".into(),
                name: "web-5d4f".into(),
                api_version: "apps/v1".into(),
            }),
            template_hash: Some("5d4f".into()),
            node: Some("node-1".into()),
            addresses: vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            since: Some(1_767_323_045),
            ..Pod::default()
        },
        Pod {
            uid: hash.clone(),
            static_uid: Some(hash),
            namespace: "kube-system".into(),
            name: "etcd-node-1".into(),
            node: Some("node-1".into()),
            is_host_network: true,
            addresses: vec!["192.0.2.1".parse().unwrap()],
            ..Pod::default()
        },
    ];
    assert_eq!(pods, expected);
}

#[tokio::test]
async fn a_node_without_pods_has_none() {
    for items in ["null", "[]"] {
        let text = format!(r#"{{"kind":"PodList","metadata":{{}},"items":{items}}}"#);
        assert!(ask(Answer::Whole(StatusCode::OK, text)).await.unwrap().pods.is_empty());
    }
}

#[tokio::test]
async fn refusals_are_told_apart_and_their_text_is_not_shown() {
    for (status, reason) in
        [(401, "unauthorized"), (403, "forbidden"), (404, "absent"), (429, "throttled"), (500, "failing")]
    {
        let failure = ask(refused(status)).await.unwrap_err();
        assert_eq!(failure.reason, reason);
        assert!(failure.why.contains(&status.to_string()) && !failure.why.contains("secret"), "{failure:?}");
    }
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    for text in [
        "",
        "<html></html>",
        "]",
        r#"{"kind":"Status","items":[]}"#,
        r#"{"kind":"PodList","items":[{"metadata":{}}]}"#,
        &list(&[pod(1)])[..200],
    ] {
        let failure = ask(Answer::Whole(StatusCode::OK, text.to_owned())).await.unwrap_err();
        assert_eq!(failure.reason, "malformed", "{text}");
    }
}

#[tokio::test]
async fn one_bad_pod_spoils_no_other() {
    let bad = r#"{"metadata":{"name":"a","namespace":"b","uid":7}}"#.to_owned();
    let List { pods, malformed } = ask(good(&[pod(1), bad, pod(2)])).await.unwrap();
    let malformed = malformed.unwrap();
    assert_eq!((pods.len(), malformed.reason), (2, "malformed_object"));
    assert!(malformed.why.starts_with("1 pods"), "{}", malformed.why);
}

#[tokio::test]
async fn a_huge_list_is_broken_off() {
    assert_eq!(ask(Answer::Endless).await.unwrap_err().reason, "too_long");
    let mut reader = list::Reader::default();
    reader.read(br#"{"kind":"PodList","items":["#).unwrap();
    let blank = vec![b' '; list::MAX_BYTES];
    assert_eq!(reader.read(&blank).unwrap_err().reason, "too_long");
}

#[tokio::test]
async fn an_answer_that_does_not_come_whole_is_none() {
    let half = list(&[pod(1), pod(2)])[..300].to_owned();
    let url = Kubelet::answering(&[Answer::Stuck(half.clone())]).start().await;
    let hurried = Options { timeout: Duration::from_millis(100), ..options(&url) };
    assert_eq!(Client::new(hurried).list().await.unwrap_err().reason, "silent");
    assert_eq!(ask(Answer::Cut(half)).await.unwrap_err().reason, "broken");
    // Nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/pods", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(Client::new(options(&url)).list().await.unwrap_err().reason, "unreachable");
    // Not TLS.
    let url = Kubelet::answering(&[good(&[])]).start().await.replace("http:", "https:");
    let failure = Client::new(options(&url)).list().await.unwrap_err();
    assert_eq!(failure.reason, "tls", "{failure:?}");
    for url in ["", "127.0.0.1:10250", "ftp://127.0.0.1/pods", "https:///pods"] {
        assert_eq!(Client::new(options(url)).list().await.unwrap_err().reason, "unconfigured", "{url}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_in_the_clear_and_a_missing_one_is_said() {
    let path = std::env::temp_dir().join(format!("netcause-kubelet-token-{}", std::process::id()));
    std::fs::write(&path, "secret\n").unwrap();
    let kubelet = Kubelet::answering(&[good(&[])]);
    let url = kubelet.start().await;
    let with_token = Options { token: Some(path.clone()), ..options(&url) };
    Client::new(with_token.clone()).list().await.unwrap();
    assert_eq!(*kubelet.asked.lock().unwrap(), [("/pods".to_owned(), None)]);
    let safe = Options { url: url.replace("http:", "https:"), ..with_token };
    for wrong in ["sec\u{1}ret", &"x".repeat(1 << 17)] {
        std::fs::write(&path, wrong).unwrap();
        let failure = Client::new(safe.clone()).list().await.unwrap_err();
        assert!(failure.reason == "unconfigured" && !failure.why.contains(wrong), "{failure:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let failure = Client::new(safe).list().await.unwrap_err();
    assert!(failure.reason == "unconfigured" && failure.why.contains("No such file"), "{failure:?}");
}

fn state(health: &Health) -> Option<State> {
    let (source, kind, state) = health.all().pop()?;
    assert_eq!((source, kind), (Source::Kubelet, Some(Kind::Pod)));
    Some(state)
}

async fn told(updates: &mut mpsc::Receiver<Update>) -> usize {
    let mut pods = 0;
    assert_eq!(updates.recv().await.unwrap().change, Change::Init(Kind::Pod));
    loop {
        match updates.recv().await.unwrap() {
            Update { source: Source::Kubelet, change: Change::ApplyPod(_) } => pods += 1,
            update => {
                assert_eq!(update.change, Change::InitDone(Kind::Pod));
                return pods;
            }
        }
    }
}

#[tokio::test]
async fn what_was_told_stays_while_the_kubelet_is_away() {
    let two = good(&[pod(1), pod(2)]);
    let url =
        Kubelet::answering(&[two, refused(401), refused(503), refused(401), good(&[pod(3)])]).start().await;
    let (sender, mut updates) = mpsc::channel(1);
    let health = Health::default();
    let running = tokio::spawn(run(options(&url), sender, health.clone()));
    assert_eq!(told(&mut updates).await, 2);
    // No list is told that the kubelet did not give: the next one is the one after the refusals.
    assert_eq!(told(&mut updates).await, 1);
    assert_eq!(told(&mut updates).await, 1);
    let state = state(&health).unwrap();
    assert!(state.is_complete && state.last_contact.is_some() && state.trouble.is_none());
    assert_eq!(state.failures.into_iter().collect::<Vec<_>>(), [("failing", 1), ("unauthorized", 2)]);
    drop(updates);
    running.await.unwrap();
}
