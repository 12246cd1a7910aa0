//! An export that is asked to end, against real sockets on loopback.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use flate2::read::GzDecoder;
use netcause_core::diagnose::Turn;
use netcause_core::diagnose::finding::Dated;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use tokio::time::sleep;

use super::*;
use crate::expose::findings::tests::finding;
use crate::expose::http::View;
use crate::expose::snapshot::Snapshot;
use crate::expose::tables::tests::full;
use crate::otlp::client::tests::{Answer, Taken, bind, collector, options, says};
use crate::otlp::counts::{Dropped, Exported};
use crate::otlp::{Exporter, Options, Source};

struct Always(Arc<Snapshot>);

impl Source for Always {
    fn view(&self, _: Option<Duration>, is_last: bool) -> View<'_> {
        assert!(is_last, "an hour has not passed");
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }
}

fn began() -> Turn {
    Turn::Began(Dated { finding: Arc::new(finding()), since: 1_000, until: None })
}

/// An export whose collector is away, and which would try again after a minute and send metrics after an hour at most: a finding waits for
/// the former, another one comes when it is to end, and only then there are answers. What is left after `limit`, and counted.
fn ended(
    answers: impl Fn() -> Vec<Answer>,
    limit: Duration,
) -> (Vec<(&'static str, u64)>, Vec<Exported>, Vec<Taken>) {
    let (listener, at) = bind();
    drop(listener);
    let options = Options {
        interval: Duration::from_hours(1),
        max_bytes: 1 << 20,
        waits: [Duration::from_mins(1); 2],
        ..options(at, 60_000, 0)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (exports, exporter) = Exporter::new(options);
        let (ending, end) = exporter.ending();
        let end_it = async {
            exports.record(&began(), 1_001);
            let failed =
                || exports.read().iter().map(|(_, read)| read.failed.iter().sum::<u64>()).sum::<u64>();
            while failed() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
            let taken = collector(TcpListener::bind(at).unwrap(), answers());
            exports.record(&began(), 1_002);
            let left = ending.flush(limit).await;
            (left, exports.read().into_iter().map(|(_, read)| read).collect(), taken.try_iter().collect())
        };
        let running = async {
            exporter.run(Always(Arc::new(full())), end).await;
            // It has ended; the flush is about to say so.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = end_it => ended,
            () = running => unreachable!("it waits for ever"),
        }
    })
}

fn unpacked(taken: &Taken) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(taken.body.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_waits_and_the_last_metrics_are_sent_at_once() {
    let began = Instant::now();
    let (left, counts, taken) =
        ended(|| (0..20).map(|_| says("200 OK", "")).collect(), Duration::from_secs(20));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(left, []);
    let of = |path: &'static str| {
        taken.iter().filter(move |taken| taken.head.starts_with(&format!("post /prefix{path} ")))
    };
    let records = of("/v1/logs").flat_map(|taken| {
        let request = ExportLogsServiceRequest::decode(unpacked(taken).as_slice()).unwrap();
        request.resource_logs[0].scope_logs[0].log_records.clone()
    });
    assert_eq!(
        records.map(|record| record.time_unix_nano / 1_000_000_000).collect::<Vec<_>>(),
        [1_001, 1_002]
    );
    // Their series are new, and would have been left out once.
    let names: Vec<String> = of("/v1/metrics")
        .flat_map(|taken| {
            let request = ExportMetricsServiceRequest::decode(unpacked(taken).as_slice()).unwrap();
            request.resource_metrics[0].scope_metrics[0].metrics.clone()
        })
        .map(|metric| metric.name)
        .collect();
    assert!(names.iter().any(|name| name == "netcause_tcp_connections_opened_total"), "{names:?}");
    let [metrics, findings] = &counts[..] else { panic!("{counts:?}") };
    assert_eq!((findings.exported, findings.dropped), (2, [0; Dropped::COUNT]));
    assert!(metrics.exported > 100 && metrics.waiting_bytes == 0, "{metrics:?}");
}

#[test]
fn what_no_collector_takes_is_counted_after_a_bounded_time() {
    let began = Instant::now();
    let (left, counts, _) = ended(|| vec![Answer::Waits, Answer::Waits], Duration::from_millis(500));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(10), "{took:?}");
    let [(metrics, points), findings] = left[..] else { panic!("{left:?}") };
    assert_eq!((metrics, findings), ("metrics", ("findings", 2)));
    assert!(points > 100, "{points}");
    assert_eq!(counts.iter().map(|read| read.exported).sum::<u64>(), 0);
}
