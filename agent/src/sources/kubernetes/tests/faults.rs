//! What goes wrong, and goes on.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;

use super::super::testing::{Client, TIMEOUT, TestServer, event, kubeconfig_of, list_end, pod};
use super::PODS;
use netcause_apiserver::{Answer, Step};
use netcause_core::enrich::objects::Kind;

fn good() -> Answer {
    Answer::events(&[event("ADDED", &pod("a", 1)), list_end(7)], Step::Hang)
}

#[tokio::test]
async fn an_expired_watch_lists_anew() {
    let gone =
        event("ERROR", &json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}));
    let server = TestServer::start(move |asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(
            &[event("ADDED", &pod("a", 1)), event("ADDED", &pod("b", 2)), list_end(7), gone.clone()],
            Step::Hang,
        ),
        (PODS, _) => good(),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(7).await, ["begin", "+a", "+b", "end", "begin", "+a", "end"]);
    assert_eq!(client.failures("expired"), 1);
    assert!(server.asked(PODS)[1].is_streaming());
    assert_eq!(server.asked(PODS)[1].get("resourceVersion"), "");
}

#[tokio::test]
async fn a_server_that_refuses_while_it_starts_is_soon_asked_again() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(&[event("ADDED", &pod("a", 1)), list_end(7)], Step::Cut),
        (PODS, 1..4) => Answer::status(403, "RBAC: clusterrole not found"),
        (PODS, _) if asked.get("resourceVersion") == "7" => {
            Answer::events(&[event("ADDED", &pod("b", 8))], Step::Hang)
        }
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.timing.refused = TIMEOUT * 10;
    });
    assert_eq!(client.pods(4).await, ["begin", "+a", "end", "+b"]);
    assert_eq!(client.failures("forbidden"), 3);
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_none() {
    let gone =
        event("ERROR", &json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}));
    let server = TestServer::start(move |asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(&[event("ADDED", &pod("a", 1)), list_end(7)], Step::Cut),
        (PODS, 1) => Answer::status(500, "no leader"),
        (PODS, 2) => Answer::events(std::slice::from_ref(&gone), Step::Cut),
        // The list does not come to an end.
        (PODS, _) => Answer::events(&[event("ADDED", &pod("a", 9))], Step::Hang),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.timing.accepted = Duration::from_millis(500);
    });
    assert_eq!(client.pods(5).await, ["begin", "+a", "end", "begin", "+a"]);
    assert_eq!((client.failures("server_error"), client.failures("expired")), (1, 1));
    let message = client.state(Kind::Pod).unwrap().message;
    assert_eq!(message.as_deref(), Some("500: no leader"), "it is down until the list is complete");
}

#[tokio::test]
async fn a_watch_of_a_server_that_was_down_is_one_when_it_stays_silent() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(&[list_end(7)], Step::Cut),
        (PODS, 1) => Answer::status(500, "no leader"),
        (PODS, _) => Answer::quiet(),
        _ => Answer::unscripted(),
    });
    let client = Client::start(server.address, |_, _| {});
    client.until(|client| client.failures("server_error") == 1).await;
    client.until(|client| client.state(Kind::Pod).unwrap().message.is_none()).await;
}

#[tokio::test]
async fn a_version_that_the_server_has_not_reached_lists_anew() {
    let server = TestServer::start(move |asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(&[list_end(7000)], Step::Text(String::new())),
        (PODS, 1) => Answer {
            status: 504,
            ..Answer::json(&json!({"code": 504, "message": "Too large resource version",
                "details": {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 0}}))
        },
        (PODS, _) => good(),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(5).await, ["begin", "end", "begin", "+a", "end"]);
}

#[tokio::test]
async fn a_throttling_server_is_asked_when_it_says() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer { retry_after: Some(1), ..Answer::status(429, "too many requests") },
        (PODS, _) => good(),
        _ => Answer::unscripted(),
    });
    let begun = Instant::now();
    let mut client = Client::start(server.address, |_, _| {});
    client.until(|client| client.failures("throttled") == 1).await;
    assert_eq!(client.state(Kind::Pod).unwrap().message.as_deref(), Some("429: too many requests"));
    assert_eq!(client.pods(3).await, ["begin", "+a", "end"]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(client.state(Kind::Pod).unwrap().message.is_none());
}

#[tokio::test]
async fn a_connection_that_is_cut_within_a_line_goes_on_where_it_was() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => {
            let whole = event("MODIFIED", &pod("a", 9)).to_string();
            let mut answer = Answer::events(&[event("ADDED", &pod("a", 1)), list_end(8)], Step::Cut);
            answer.steps.insert(2, Step::Text(whole[..whole.len() / 2].to_owned()));
            answer
        }
        (PODS, 1) if asked.get("resourceVersion") == "8" => {
            Answer::events(&[event("MODIFIED", &pod("a", 9)), event("ADDED", &pod("b", 10))], Step::Hang)
        }
        (PODS, _) => Answer::status(500, "it did not go on where it was"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(5).await, ["begin", "+a", "end", "+a", "+b"]);
    assert_eq!((client.failures("connection_lost"), client.failures("malformed")), (1, 0));
    assert!(client.state(Kind::Pod).unwrap().message.is_none());
}

#[tokio::test]
async fn a_list_that_is_cut_begins_again() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => Answer::events(&[event("ADDED", &pod("a", 1))], Step::Cut),
        (PODS, _) => good(),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(5).await, ["begin", "+a", "begin", "+a", "end"]);
}

#[tokio::test]
async fn a_silent_watch_is_made_anew() {
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, 0) => good(),
        (PODS, 1) if asked.get("resourceVersion") == "7" => {
            Answer::events(&[event("ADDED", &pod("b", 9))], Step::Hang)
        }
        (PODS, _) => Answer::quiet(),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.timing.watch_idle_timeout = Duration::from_millis(200);
    });
    assert_eq!(client.pods(4).await, ["begin", "+a", "end", "+b"]);
    assert!(client.failures("timeout") >= 1);
}

#[tokio::test]
async fn a_list_that_stops_halfway_is_made_page_by_page() {
    let server = TestServer::start(|asked, _| match &*asked.path {
        PODS if asked.is_streaming() => Answer::events(&[event("ADDED", &pod("a", 1))], Step::Hang),
        PODS if asked.is_watch() => Answer::quiet(),
        PODS => Answer::json(&super::super::testing::list(&[pod("b", 1)], 7, None)),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |options, _| {
        options.timing.list_idle_timeout = Duration::from_millis(200);
    });
    assert_eq!(client.pods(5).await, ["begin", "+a", "begin", "+b", "end"]);
}

#[tokio::test]
async fn what_is_forbidden_is_one_kind_and_is_tried_again() {
    const SERVICES: &str = "/api/v1/services";
    let server = TestServer::start(|asked, before| match (&*asked.path, before) {
        (PODS, _) => good(),
        (SERVICES, 0..3) => Answer::status(403, "services is forbidden"),
        _ => Answer::unscripted(),
    });
    let mut client = Client::start(server.address, |_, _| {});
    assert_eq!(client.pods(3).await, ["begin", "+a", "end"]);
    client.until(|client| client.state(Kind::Service).is_some_and(|state| state.is_complete)).await;
    let state = client.state(Kind::Service).unwrap();
    assert_eq!((state.failures.get("forbidden"), state.message), (Some(&3), None));
    assert!(client.state(Kind::Pod).unwrap().failures.is_empty());
}

#[tokio::test]
async fn a_server_that_is_away_and_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut client = Client::start(address, |_, _| {});
    client.until(|client| client.failures("unreachable") >= 3).await;
    assert!(client.state(Kind::Pod).unwrap().message.is_some());
    let server =
        TestServer::on(address, |asked, _| if asked.path == PODS { good() } else { Answer::unscripted() });
    assert_eq!(client.pods(3).await, ["begin", "+a", "end"]);
    assert!(client.state(Kind::Pod).unwrap().message.is_none());
    assert!(!server.asked(PODS).is_empty());
}

/// What is logged, all of it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_token_rotates_and_is_never_told() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    const OLD: &str = "eyJold.secret.one";
    const NEW: &str = "eyJnew.secret.two";
    let valid = Arc::new(Mutex::new(OLD));
    let is_valid = Arc::clone(&valid);
    let server = TestServer::start(move |asked, before| {
        let token = asked.token().unwrap_or_default();
        match &*asked.path {
            // A server, or what is before it, that repeats what it was sent.
            _ if token != *is_valid.lock().unwrap() => {
                Answer::status(401, &format!("no such token: {token}"))
            }
            PODS if before == 0 => Answer::events(&[event("ADDED", &pod("a", 1)), list_end(7)], Step::Hang),
            PODS => Answer::events(&[event("ADDED", &pod("b", 9))], Step::Hang),
            _ => Answer::unscripted(),
        }
    });
    let mut file = None;
    let mut client = Client::start(server.address, |options, directory| {
        let path = directory.join("token");
        std::fs::write(&path, OLD).unwrap();
        let user = format!("{{tokenFile: '{}'}}", path.display());
        std::fs::write(options.kubeconfig.as_ref().unwrap(), kubeconfig_of(server.address, &user)).unwrap();
        options.timing.watch_idle_timeout = Duration::from_millis(300);
        file = Some(path);
    });
    assert_eq!(client.pods(3).await, ["begin", "+a", "end"]);
    // The server refuses the old one before the new one is there.
    *valid.lock().unwrap() = NEW;
    client.until(|client| client.failures("unauthorized") >= 2).await;
    let message = client.state(Kind::Pod).unwrap().message.unwrap();
    assert!(message.starts_with("401: "), "{message}");
    std::fs::write(file.unwrap(), NEW).unwrap();
    assert_eq!(client.pods(1).await, ["+b"]);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("list/watch failed; keeping cached objects and retrying"), "it is logged");
    for text in [log, format!("{:?}", client.health)] {
        assert!(!text.contains("secret.one") && !text.contains("secret.two"), "{text}");
    }
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_said_without_its_text() {
    for text in [
        "users: [{name: u, user: {token: eyJtop.secret}}]\nclusters: {",
        "users: [{user: {token: [eyJtop.secret]}}]",
    ] {
        let server = TestServer::start(|_, _| Answer::unscripted());
        let client = Client::start(server.address, |options, _| {
            std::fs::write(options.kubeconfig.as_ref().unwrap(), text).unwrap();
        });
        client.until(|client| client.failures("unconfigured") > 0).await;
        assert!(!format!("{:?}", client.health).contains("secret"), "{:?}", client.health);
    }
}

#[tokio::test]
async fn a_server_with_tls_needs_no_more() {
    // Nobody speaks TLS there: it is no panic that answers, whichever cryptography is built in.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::start(address, |options, _| {
        let text = kubeconfig_of(address, "{}")
            .replace("server: 'http:", "insecure-skip-tls-verify: true, server: 'https:");
        std::fs::write(options.kubeconfig.as_ref().unwrap(), text).unwrap();
    });
    let (stream, _) = listener.accept().await.unwrap();
    drop((stream, listener));
    client.until(|client| client.failures("unreachable") > 0).await;
}
