mod tls;

use netcause_apiserver::{Answer, Request, Step};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::State;
use super::super::health::{Failure, FailureCode};
use super::super::testing::TestServer;
use super::*;
use netcause_core::enrich::objects::Owner;

/// A script of these answers in turn, the last one again and again.
fn answering(answers: &[Answer]) -> impl Fn(&Request, usize) -> Answer + Send + Sync + 'static {
    let answers = answers.to_vec();
    move |_, before| answers[before.min(answers.len() - 1)].clone()
}

fn url(server: &TestServer) -> String {
    format!("http://{}/pods", server.address)
}

fn whole(text: String) -> Answer {
    Answer::steps([Step::Text(text)])
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
    whole(list(pods))
}

fn refused(status: u16) -> Answer {
    Answer { status, ..whole("Bearer secret is not welcome".to_owned()) }
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
    let server = TestServer::start(answering(&[answer]));
    Client::new(options(&url(&server))).list().await
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
        assert!(ask(whole(text)).await.unwrap().pods.is_empty());
    }
}

#[tokio::test]
async fn refusals_are_told_apart_and_their_text_is_not_shown() {
    use FailureCode::{Forbidden, NotFound, ServerError, Throttled, Unauthorized};
    for (status, code) in
        [(401, Unauthorized), (403, Forbidden), (404, NotFound), (429, Throttled), (500, ServerError)]
    {
        let failure = ask(refused(status)).await.unwrap_err();
        assert_eq!(failure.code, code);
        assert!(
            failure.reason.contains(&status.to_string()) && !failure.reason.contains("secret"),
            "{failure:?}"
        );
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
        let failure = ask(whole(text.to_owned())).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::Malformed, "{text}");
    }
}

#[tokio::test]
async fn one_bad_pod_spoils_no_other() {
    let bad = r#"{"metadata":{"name":"a","namespace":"b","uid":7}}"#.to_owned();
    let List { pods, malformed } = ask(good(&[pod(1), bad, pod(2)])).await.unwrap();
    let malformed = malformed.unwrap();
    assert_eq!((pods.len(), malformed.code), (2, FailureCode::MalformedObject));
    assert!(malformed.reason.starts_with("1 pods"), "{}", malformed.reason);
}

#[tokio::test]
async fn a_huge_list_is_broken_off() {
    let begin = r#"{"kind":"PodList","items":["#.to_owned();
    let endless = Answer::steps([Step::Text(begin), Step::Endless(|number| format!("{},", pod(number)))]);
    assert_eq!(ask(endless).await.unwrap_err().code, FailureCode::TooLong);
    let mut reader = list::Reader::default();
    reader.read(br#"{"kind":"PodList","items":["#).unwrap();
    let blank = vec![b' '; list::MAX_BYTES];
    assert_eq!(reader.read(&blank).unwrap_err().code, FailureCode::TooLong);
}

#[tokio::test]
async fn an_answer_that_does_not_come_whole_is_none() {
    let half = list(&[pod(1), pod(2)])[..300].to_owned();
    let server = TestServer::start(answering(&[Answer::steps([Step::Text(half.clone()), Step::Hang])]));
    let hurried = Options { timeout: Duration::from_millis(100), ..options(&url(&server)) };
    assert_eq!(Client::new(hurried).list().await.unwrap_err().code, FailureCode::Timeout);
    let cut = Answer::steps([Step::Text(half), Step::Cut]);
    assert_eq!(ask(cut).await.unwrap_err().code, FailureCode::ConnectionLost);
    // Nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}/pods", listener.local_addr().unwrap());
    drop(listener);
    let failure = Client::new(options(&nowhere)).list().await.unwrap_err();
    assert_eq!(failure.code, FailureCode::Unreachable, "{failure:?}");
    // Not TLS.
    let secure = url(&server).replace("http:", "https:");
    let failure = Client::new(options(&secure)).list().await.unwrap_err();
    assert_eq!(failure.code, FailureCode::Tls, "{failure:?}");
    for url in ["", "127.0.0.1:10250", "ftp://127.0.0.1/pods", "https:///pods"] {
        let failure = Client::new(options(url)).list().await.unwrap_err();
        assert_eq!(failure.code, FailureCode::Unconfigured, "{url}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_in_the_clear_and_a_missing_one_is_said() {
    let path = std::env::temp_dir().join(format!("netcause-kubelet-token-{}", std::process::id()));
    std::fs::write(&path, "secret\n").unwrap();
    let server = TestServer::start(answering(&[good(&[])]));
    let url = url(&server);
    let with_token = Options { token: Some(path.clone()), ..options(&url) };
    Client::new(with_token.clone()).list().await.unwrap();
    let asked = server.asked("/pods");
    assert_eq!(asked.iter().map(Request::token).collect::<Vec<_>>(), [None]);
    let safe = Options { url: url.replace("http:", "https:"), ..with_token };
    for wrong in ["sec\u{1}ret", &"x".repeat(1 << 17)] {
        std::fs::write(&path, wrong).unwrap();
        let failure = Client::new(safe.clone()).list().await.unwrap_err();
        assert!(failure.code == FailureCode::Unconfigured && !failure.reason.contains(wrong), "{failure:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let failure = Client::new(safe).list().await.unwrap_err();
    assert!(
        failure.code == FailureCode::Unconfigured && failure.reason.contains("No such file"),
        "{failure:?}"
    );
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
    let answers = [two, refused(401), refused(503), refused(401), good(&[pod(3)])];
    let server = TestServer::start(answering(&answers));
    let (sender, mut updates) = mpsc::channel(1);
    let health = Health::default();
    let running = tokio::spawn(run(options(&url(&server)), sender, health.clone()));
    assert_eq!(told(&mut updates).await, 2);
    // No list is told that the kubelet did not give: the next one is the one after the refusals.
    assert_eq!(told(&mut updates).await, 1);
    assert_eq!(told(&mut updates).await, 1);
    let state = state(&health).unwrap();
    assert!(state.is_complete && state.last_contact.is_some() && state.message.is_none());
    assert_eq!(state.failures.into_iter().collect::<Vec<_>>(), [("server_error", 1), ("unauthorized", 2)]);
    drop(updates);
    running.await.unwrap();
}
