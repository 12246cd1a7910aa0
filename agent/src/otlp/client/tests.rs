//! The whole way out, against real sockets on loopback: collectors that are well, away, and hostile.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream as Std};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::*;
use crate::otlp::counts::{Counts, Dropped, Exported};
use crate::otlp::queue::Queue;
use crate::otlp::{Endpoint, Files, Resource, send};

/// A request as it came.
pub struct Taken {
    pub head: String,
    pub body: Vec<u8>,
}

/// Answers the requests of one connection after the other, until the script ends; then it is away.
pub fn collector(listener: TcpListener, script: Vec<Answer>) -> mpsc::Receiver<Taken> {
    let (sender, taken) = mpsc::channel();
    thread::spawn(move || {
        let mut script = script.into_iter();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if !serve(stream, &mut script, &sender) {
                return;
            }
        }
    });
    taken
}

pub enum Answer {
    /// These bytes.
    Says(Vec<u8>),
    /// Closes the connection without a word.
    Closes,
    /// Says nothing for ever.
    Waits,
    /// An endless body after this head.
    Floods(&'static str),
}

/// False when the script is at its end.
fn serve(stream: Std, script: &mut impl Iterator<Item = Answer>, taken: &mpsc::Sender<Taken>) -> bool {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
            head.push_str(&line.to_ascii_lowercase());
            line.clear();
        }
        let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) else {
            return true;
        };
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        drop(taken.send(Taken { head, body }));
        match script.next() {
            None => return false,
            Some(Answer::Says(bytes)) => drop(stream.write_all(&bytes)),
            Some(Answer::Closes) => return true,
            Some(Answer::Waits) => {
                // Until the client has enough of it.
                drop(reader.read(&mut [0]));
                return true;
            }
            Some(Answer::Floods(head)) => {
                drop(stream.write_all(head.as_bytes()));
                while stream.write_all(&[b'x'; 4096]).is_ok() {}
                return true;
            }
        }
    }
}

pub fn says(status: &str, more: &str) -> Answer {
    Answer::Says(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{more}\r\n").into_bytes())
}

pub fn options(at: SocketAddr, timeout: u64, first_wait: u64) -> Options {
    Options {
        endpoint: Endpoint::parse(&format!("http://{at}/prefix")).unwrap(),
        files: Files::default(),
        metrics: true,
        findings: true,
        interval: Duration::from_secs(1),
        max_bytes: 1000,
        resource: Resource::default(),
        timeout: Duration::from_millis(timeout),
        waits: [Duration::from_millis(first_wait), Duration::from_millis(100)],
    }
}

fn body(items: u64) -> Body {
    Body { bytes: vec![u8::try_from(items).unwrap(); 100].into(), items }
}

/// Sends these bodies until all are settled, and says what became of them.
fn exported(options: &Options, items: &[u64]) -> Exported {
    let counts = Counts::new(options.max_bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Queue::new(Arc::clone(&counts));
        items.iter().for_each(|items| queue.push(body(*items)));
        let settled = async {
            while counts.read().waiting_items > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limited = tokio::time::timeout(Duration::from_secs(20), settled);
        tokio::select! {
            () = send(&queue, "/v1/metrics", &counts, options) => {}
            settled = limited => settled.unwrap(),
        }
    });
    counts.read()
}

pub fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

fn failures(read: &Exported) -> Vec<(&'static str, u64)> {
    let all = Failed::LABELS.iter().copied().zip(read.failed);
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn requests_are_what_the_protocol_wants_and_share_a_connection() {
    let (listener, at) = bind();
    let taken = collector(listener, vec![says("200 OK", ""), says("200 OK", "")]);
    let headers = std::env::temp_dir().join(format!("netcause-otlp-headers-{}", std::process::id()));
    std::fs::write(&headers, "# of the gateway\nAuthorization: Bearer s3cret\nX-Scope-OrgID: a\n").unwrap();
    let options = Options {
        files: Files { headers: Some(headers.clone()), ..Files::default() },
        ..options(at, 5000, 10)
    };
    let read = exported(&options, &[3, 4]);
    std::fs::remove_file(headers).unwrap();
    assert_eq!((read.exported, read.dropped, failures(&read)), (7, [0; Dropped::COUNT], vec![]));
    let first = taken.recv().unwrap();
    for line in [
        "post /prefix/v1/metrics http/1.1",
        &format!("host: {at}"),
        "content-type: application/x-protobuf",
        "content-encoding: gzip",
        "content-length: 100",
        "authorization: bearer s3cret",
        "x-scope-orgid: a",
        concat!("user-agent: netcause/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(first.head.lines().any(|of| of == line), "{line} is not in\n{}", first.head);
    }
    assert_eq!(first.body, vec![3; 100]);
    // The first connection's: this collector serves one after the other.
    assert_eq!(taken.recv().unwrap().body, vec![4; 100]);
}

#[test]
fn what_may_pass_is_sent_again_and_what_does_not_is_counted() {
    let (listener, at) = bind();
    let script = vec![
        says("503 Service Unavailable", ""),
        says("429 Too Many Requests", "Retry-After: 0\r\n"),
        Answer::Closes,
        Answer::Says(b"no HTTP at all\r\n\r\n".to_vec()),
        says("502 Bad Gateway", ""),
        says("200 OK", ""),
        says("400 Bad Request", ""),
        says("307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n"),
        Answer::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x0a\x02\x08\x05".to_vec()),
    ];
    let taken = collector(listener, script);
    let read = exported(&options(at, 5000, 1), &[10, 20, 30, 40]);
    assert_eq!(read.exported, 10 + 35);
    // Queue full, rejected, refused.
    assert_eq!(read.dropped, [0, 5, 20 + 30]);
    let expected = vec![("unreachable", 2), ("throttled", 1), ("unavailable", 2), ("refused", 2)];
    assert_eq!(failures(&read), expected);
    let sent: Vec<u8> = taken.iter().take(9).map(|taken| taken.body[0]).collect();
    assert_eq!(sent, [10, 10, 10, 10, 10, 10, 20, 30, 40]);
}

#[test]
fn hostile_answers_cost_a_bounded_time_and_nothing_that_was_taken_is_sent_again() {
    let (listener, at) = bind();
    let script = vec![
        // Of a request that was not taken.
        Answer::Waits,
        Answer::Floods("HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"),
        Answer::Floods("HTTP/1.1 200 OK\r\nX: "),
        // Of one that was.
        Answer::Floods("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        Answer::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort".to_vec()),
        Answer::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html".to_vec()),
    ];
    let _taken = collector(listener, script);
    let began = std::time::Instant::now();
    let read = exported(&options(at, 300, 1), &[1, 2, 4]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((read.exported, read.dropped), (7, [0; Dropped::COUNT]));
    let expected = vec![("unreachable", 1), ("timeout", 1), ("unavailable", 1), ("malformed", 3)];
    assert_eq!(failures(&read), expected);
}

/// Away for longer than the queue holds: what is lost, what is delivered and what was made agree to the item.
#[test]
fn loss_is_counted_exactly_while_the_collector_is_away() {
    let (listener, at) = bind();
    drop(listener);
    let options = options(at, 300, 1);
    let counts = Counts::new(options.max_bytes);
    let delivered = Arc::<Mutex<Vec<u64>>>::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Queue::new(Arc::clone(&counts));
        let back = async {
            // The first one is on its way when the others come.
            queue.push(body(1));
            tokio::time::sleep(Duration::from_millis(50)).await;
            (2..=30).for_each(|items| queue.push(body(items)));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let read = counts.read();
            assert_eq!(
                read.waiting_items,
                1 + (22..=30).sum::<u64>(),
                "of a thousand bytes, each has a hundred"
            );
            assert_eq!(read.dropped[Dropped::QueueFull as usize], (2..=21).sum::<u64>());
            assert_eq!(read.exported, 0);
            let listener = TcpListener::bind(at).unwrap();
            let script = (0..10).map(|_| says("200 OK", "")).collect();
            let taken = collector(listener, script);
            while counts.read().waiting_items > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            delivered.lock().unwrap().extend(taken.try_iter().map(|taken| u64::from(taken.body[0])));
        };
        tokio::select! {
            () = send(&queue, "/v1/metrics", &counts, &options) => {}
            back = tokio::time::timeout(Duration::from_secs(20), back) => back.unwrap(),
        }
    });
    let delivered = delivered.lock().unwrap();
    assert_eq!(**delivered, [1, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
    let read = counts.read();
    assert_eq!(read.exported, delivered.iter().sum::<u64>());
    assert_eq!(read.exported + read.dropped.iter().sum::<u64>(), (1..=30).sum::<u64>());
    assert!(read.failed[Failed::Unreachable as usize] > 0);
}

#[test]
fn a_collector_with_tls_is_verified() {
    let pem = crate::sources::tls::CERTIFICATE;
    let ca = std::env::temp_dir().join(format!("netcause-otlp-ca-{}", std::process::id()));
    std::fs::write(&ca, pem).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let post = |files: Files| {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let acceptor = crate::sources::tls::acceptor();
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = |_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) };
                let serving =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
                // The client closes it.
                let _ = serving.await;
            });
            let endpoint = Endpoint::parse(&format!("https://{at}")).unwrap();
            let options = Options { endpoint, files, ..options(at, 5000, 1) };
            Client::new(options, "/v1/logs").post(&body(1)).await
        })
    };
    let ours = Files { ca: Some(ca.clone()), ..Files::default() };
    assert_eq!(post(ours), Ok(Accepted::default()));
    let failure = post(Files::default()).unwrap_err();
    assert_eq!((failure.why, failure.retry), (Failed::Tls, Retry::After(None)));
    std::fs::remove_file(&ca).unwrap();
    let gone = post(Files { ca: Some(ca), ..Files::default() }).unwrap_err();
    assert_eq!(gone.why, Failed::Unconfigured);
    assert!(gone.message.starts_with("otlp_ca_file: cannot read"), "{}", gone.message);
}
