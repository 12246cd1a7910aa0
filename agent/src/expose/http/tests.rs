//! Against real sockets on loopback.

mod bodies;
mod web;

use std::future::ready;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use netcause_common::flow::TcpCounters;

use super::*;
use crate::web::Files;

struct Fake {
    view: Result<Arc<Snapshot>, String>,
    scrapes: AtomicU32,
}

impl Source for Fake {
    fn view(&self, _: Seen) -> View<'_> {
        Box::pin(ready(self.view.clone()))
    }

    fn windows(&self) -> Windows<'_> {
        Box::pin(ready(self.view.as_ref().map(|_| Arc::default()).map_err(Clone::clone)))
    }

    fn ready(&self) -> Result<(), String> {
        self.view.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn scraped(&self, _: Duration) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server in a thread of its own, which ends with the test.
struct Running {
    address: SocketAddr,
    source: Arc<Fake>,
}

fn start(view: Result<Snapshot, String>, max_connections: u32, timeout: Duration) -> Running {
    start_with(view, max_connections, timeout, Web::load(&Files::default()).unwrap())
}

fn start_with(view: Result<Snapshot, String>, max_connections: u32, timeout: Duration, web: Web) -> Running {
    let source = Arc::new(Fake { view: view.map(Arc::new), scrapes: AtomicU32::new(0) });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::clone(&source);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            serve(listener, served, Limits { max_connections, timeout }, Arc::new(web)).await;
        });
    });
    Running { address, source }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends a request and leaves the response unread.
    fn send(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream
    }

    /// The whole response, on a connection that is closed after it.
    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Asks for /livez as a probe does that gives up after a second.
    fn assert_live(&self) {
        let begin = Instant::now();
        assert!(self.get("/livez").starts_with("HTTP/1.1 200"));
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
}

/// A view whose exposition does not fit into socket buffers.
fn large() -> Snapshot {
    let tcp = TcpCounters {
        opened: 1,
        closed: [1, 0, 0, 0, 0, 0],
        sent_bytes: 1,
        received_bytes: 1,
        ..TcpCounters::ZERO
    };
    Snapshot::of_pairs(10_000, tcp)
}

fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    String::from_utf8_lossy(&line).into_owned()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn health_is_answered_beside_idle_connections() {
    let server = start(Ok(Snapshot::default()), 64, LONG);
    // Some never sent anything, some sent half a request, some were used and are kept open.
    let idle: Vec<_> = (0..200)
        .map(|number| match number % 3 {
            0 => server.connect(),
            1 => {
                let mut stream = server.connect();
                stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
                stream
            }
            _ => {
                let mut stream = server.send("/livez");
                assert_eq!(status(&mut stream), "HTTP/1.1 200");
                stream
            }
        })
        .collect();
    server.assert_live();
    drop(idle);
}

#[test]
fn health_is_answered_beside_readers_that_do_not_read() {
    let server = start(Ok(large()), 4, LONG);
    let mut slow: Vec<_> = (0..4).map(|_| server.send("/metrics")).collect();
    for stream in &mut slow {
        assert_eq!(status(stream), "HTTP/1.1 200");
    }
    let refused = server.get("/metrics");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"), "{refused}");
    let idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    server.assert_live();
    // The slow ones are not closed for it, and get all once they read.
    let mut first = slow.remove(0);
    let mut rest = String::new();
    first.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let _ = first.read_to_string(&mut rest);
    assert!(rest.ends_with("netcause_external_names_limit 0\n") || rest.contains("netcause_series_limit"));
    assert!(server.get("/metrics").starts_with("HTTP/1.1 200"), "a place is free again");
    assert_eq!(server.source.scrapes.load(Ordering::Relaxed), 5);
    drop(idle);
}

#[test]
fn a_reader_that_does_not_read_loses_its_place() {
    let server = start(Ok(large()), 1, Duration::from_millis(200));
    let mut slow = server.send("/metrics");
    assert_eq!(status(&mut slow), "HTTP/1.1 200");
    assert!(server.get("/metrics").starts_with("HTTP/1.1 503"));
    thread::sleep(Duration::from_millis(200) * (READ_TIMEOUTS + 2));
    assert!(server.get("/metrics").starts_with("HTTP/1.1 200"));
}

#[test]
fn each_route_answers() {
    let server = start(Ok(Snapshot::default()), 64, LONG);
    for (path, content_type, part) in [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "netcause_series 0\n"),
        ("/api/v1/dns", "application/json", "\"workloads\":[]"),
        ("/api/v1/status", "application/json", "\"name_sources\":[]"),
        ("/livez", "text/plain; charset=utf-8", "ok\n"),
        ("/readyz", "text/plain; charset=utf-8", "ok\n"),
        ("/", "text/plain; charset=utf-8", "/api/v1/status"),
    ] {
        let response = server.get(path);
        assert!(response.starts_with("HTTP/1.1 200"), "{path}: {response}");
        assert!(response.contains(&format!("content-type: {content_type}\r\n")), "{path}: {response}");
        assert!(response.contains(part), "{path}: {response}");
    }
    let missing = server.get("/metric");
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("/metrics"), "{missing}");
}

#[test]
fn errors_are_said() {
    let server = start(Err("no table".to_owned()), 64, LONG);
    for (path, status) in [("/metrics", 500), ("/api/v1/dns", 500), ("/readyz", 503)] {
        let response = server.get(path);
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {response}");
        assert!(response.ends_with("no table\n"), "{path}: {response}");
    }
    let mut stream = server.connect();
    write!(stream, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 405") && response.contains("allow: GET, HEAD"), "{response}");
}

#[test]
fn a_connection_is_kept_between_scrapes() {
    let server = start(Ok(Snapshot::default()), 64, Duration::from_millis(200));
    let mut unused = server.connect();
    let mut scraper = server.send("/livez");
    let answer = |stream: &mut TcpStream| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\nok\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    };
    assert!(answer(&mut scraper).starts_with("HTTP/1.1 200"));
    thread::sleep(Duration::from_millis(200) * (READ_TIMEOUTS + 2));
    write!(scraper, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(answer(&mut scraper).starts_with("HTTP/1.1 200"));
    assert_eq!(unused.read(&mut [0]).unwrap(), 0, "one without a request is closed");
}

#[test]
fn bodies_are_compressed_when_that_is_asked_for() {
    let server = start(Ok(large()), 64, LONG);
    let get = |path: &str, coding: &str| {
        let mut stream = server.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        let body = response.split_off(end);
        (String::from_utf8(response).unwrap(), body)
    };
    for path in ["/metrics", "/api/v1/status"] {
        let (plain_head, plain) = get(path, "identity");
        let (head, compressed) = get(path, "deflate, gzip");
        assert!(head.contains("content-encoding: gzip\r\n") && head.contains("vary: "), "{head}");
        assert!(!plain_head.contains("content-encoding") && plain_head.contains("vary: "), "{plain_head}");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut text).unwrap();
        // The scrapes counted in between are no part of this view.
        assert_eq!(text, plain, "{path}");
    }
    assert!(!get("/livez", "gzip").0.contains("content-encoding"));
}
