//! OTLP export: metrics and findings to an OpenTelemetry Collector, over HTTP with protobuf and gzip. Off by default.
//!
//! One thread owns it: it asks for a view as a scrape does, writes it as messages and puts them into a queue, and likewise what
//! happens to findings. A task for each signal takes them out, sends them, and sends them again where that may help
//! (opentelemetry-proto, docs/specification.md). What is lost is counted. Nothing else in the agent waits for any of it, but for
//! its end ([`Ending`]).

mod answer;
mod body;
mod client;
mod counts;
mod ending;
mod logs;
mod metrics;
mod options;
mod queue;
mod resource;

use std::sync::Arc;
use std::time::Duration;

use netcause_core::diagnose::Turn;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tracing::{info, warn};

use self::answer::Failure;
use self::client::{Client, wait};
use self::counts::{Counts, Dropped, Exported, Failed};
use self::ending::{Asked, asked};
use self::logs::Happened;
use self::queue::Queue;
use crate::expose::births::{Births, ViewNumber};
use crate::expose::http::View;
use crate::sources::{Backoff, Jitter};

pub use ending::{Ending, FLUSH};
pub use options::{Endpoint, Files, Options, OtlpError, TIMEOUT, WAITS};
pub use resource::Resource;

/// Turns of findings that may wait to be written: twice as many as may be active at a time.
const MAX_TURNS: usize = 1024;

/// Asks for views.
pub trait Source: Send + 'static {
    /// The current view, or why there is none. `seen` is when the view before was read, by the kernel's `CLOCK_MONOTONIC`: what it had is
    /// got by value now. The last one (`is_last`) is read for it, where others may be a second old.
    fn view(&self, seen: Option<Duration>, is_last: bool) -> View<'_>;
}

/// What is sent, by [`Counts`].
#[derive(Clone, Debug, Default)]
pub struct Exports {
    metrics: Option<Arc<Counts>>,
    findings: Option<Arc<Counts>>,
    turns: Option<mpsc::Sender<Happened>>,
}

impl Exports {
    /// Whether metrics are sent.
    #[must_use]
    pub fn has_metrics(&self) -> bool {
        self.metrics.is_some()
    }

    /// Counts of each signal that is sent.
    #[must_use]
    pub fn read(&self) -> Vec<(&'static str, Exported)> {
        let signals = [("metrics", &self.metrics), ("findings", &self.findings)];
        signals.into_iter().filter_map(|(signal, counts)| Some((signal, counts.as_ref()?.read()))).collect()
    }

    /// Has something that happened to a finding sent, if findings are; never waits. `at` is in seconds since 1970.
    pub fn record(&self, turn: &Turn, at: u64) {
        let (Some(turns), Some(counts)) = (&self.turns, &self.findings) else { return };
        if turns.try_send(Happened { turn: turn.clone(), at }).is_err() {
            counts.dropped(Dropped::QueueFull, 1);
        }
    }
}

/// Sends what [`Exports`] is given, and views.
pub struct Exporter {
    options: Options,
    exports: Exports,
    turns: Option<mpsc::Receiver<Happened>>,
}

impl Exporter {
    /// With what is to be counted and recorded.
    #[must_use]
    pub fn new(options: Options) -> (Exports, Self) {
        let counts = |is_sent: bool| is_sent.then(|| Counts::new(options.max_bytes));
        let (sender, turns) =
            if options.findings { Some(mpsc::channel(MAX_TURNS)).unzip() } else { (None, None) };
        let exports =
            Exports { metrics: counts(options.metrics), findings: counts(options.findings), turns: sender };
        // Its own would keep the channel open.
        let own = Exports { turns: None, ..exports.clone() };
        (exports, Self { options, exports: own, turns })
    }

    /// What ends it, and what it is to be given for that.
    #[must_use]
    pub fn ending(&self) -> (Ending, Asked) {
        Ending::new(self.exports.clone())
    }

    /// Sends until it is asked to end, and then what waits.
    pub async fn run(self, source: impl Source, end: Asked) {
        let Self { options, exports, turns } = self;
        let to = &options.endpoint.authority;
        info!(to, metrics = options.metrics, findings = options.findings, "exporting by OTLP");
        let encoded = options.resource.encoded();
        let metrics = async {
            let Some(counts) = exports.metrics else { return };
            let queue = Queue::new(Arc::clone(&counts));
            tokio::join!(
                write_metrics(&source, options.interval, &encoded, &queue, end.receiver()),
                send(&queue, "/v1/metrics", &counts, &options),
            );
        };
        let findings = async {
            let (Some(counts), Some(turns)) = (exports.findings, turns) else { return };
            let queue = Queue::new(Arc::clone(&counts));
            tokio::join!(
                write_findings(turns, &options.resource.node, &encoded, &queue, end.receiver()),
                send(&queue, "/v1/logs", &counts, &options),
            );
        };
        tokio::join!(metrics, findings);
    }
}

/// Writes all metrics at each interval, and once more at the end; when it begins is random, so that agents of a cluster do not send at
/// once.
///
/// A counter or histogram that is new is left out once, where a scraper gets a zero: a name that comes late may still take its past along. Its
/// start says then that nothing is missing. At the end no name can come any more.
async fn write_metrics(
    source: &impl Source,
    every: Duration,
    resource: &[u8],
    queue: &Queue,
    mut end: watch::Receiver<bool>,
) {
    let mut ticks = interval_at(Instant::now() + Jitter::default().up_to(every), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut births, mut seen, mut seen_at) = (Births::default(), ViewNumber::default(), None);
    let mut is_last = false;
    while !is_last {
        is_last = tokio::select! {
            () = asked(&mut end) => true,
            _ = ticks.tick() => false,
        };
        match source.view(seen_at, is_last).await {
            Ok(view) => {
                let number = births.follow(&view);
                let reader = births.reader(if is_last { number } else { seen });
                metrics::write(&view, reader, resource, |body| queue.push(body));
                (seen, seen_at) = (number, Some(view.at));
            }
            Err(error) => warn!(error, "no metrics for OTLP this time"),
        }
    }
    queue.close();
}

/// Writes what happens to findings, as it happens.
async fn write_findings(
    mut turns: mpsc::Receiver<Happened>,
    node: &str,
    resource: &[u8],
    queue: &Queue,
    mut end: watch::Receiver<bool>,
) {
    let mut all = Vec::new();
    loop {
        tokio::select! {
            // What is in the channel can be received still.
            () = asked(&mut end), if !turns.is_closed() => turns.close(),
            count = turns.recv_many(&mut all, logs::MOST) => {
                if count == 0 {
                    break;
                }
                queue.push(logs::write(&all, node, resource));
                all.clear();
            }
        }
    }
    queue.close();
}

/// Sends what is in a queue, until it is closed and empty.
async fn send(queue: &Queue, path: &'static str, counts: &Counts, options: &Options) {
    let mut client = Client::new(options.clone(), path);
    let mut backoff = Backoff::new(options.waits[0], options.waits[1]);
    let mut log = Log { path, last: None };
    while let Some(body) = queue.take().await {
        loop {
            match client.post(&body).await {
                Ok(accepted) => {
                    if accepted.is_malformed {
                        counts.failed(Failed::Malformed);
                    }
                    counts.exported(body.items.saturating_sub(accepted.rejected));
                    counts.dropped(Dropped::Rejected, accepted.rejected);
                    log.accepted(accepted.rejected, &accepted.message);
                    backoff.reset();
                    break;
                }
                Err(failure) => {
                    counts.failed(failure.why);
                    log.failed(&failure);
                    match wait(failure.retry, &mut backoff) {
                        Some(wait) => tokio::select! {
                            () = sleep(wait) => {}
                            // At the end it is tried again at once.
                            () = queue.closing() => backoff.reset(),
                        },
                        None => {
                            counts.dropped(Dropped::Refused, body.items);
                            break;
                        }
                    }
                }
            }
        }
        queue.settled(&body);
    }
}

/// Logs what changes, and not each request.
struct Log {
    path: &'static str,
    last: Option<Failed>,
}

impl Log {
    fn failed(&mut self, failure: &Failure) {
        if self.last.replace(failure.why) != Some(failure.why) {
            let (path, reason) = (self.path, failure.why.label());
            warn!(path, reason, "cannot export by OTLP: {}", failure.message);
        }
    }

    fn accepted(&mut self, rejected: u64, message: &str) {
        if rejected > 0 || !message.is_empty() {
            if self.last.replace(Failed::Refused) != Some(Failed::Refused) {
                warn!(path = self.path, rejected, "the OTLP collector says: {message}");
            }
        } else if self.last.take().is_some() {
            info!(path = self.path, "the OTLP collector takes everything again");
        }
    }
}
