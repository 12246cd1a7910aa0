//! The HTTP side's thread, and what it asks the agent for.
//!
//! Rendering and slow readers are none of the agent's business: they have a thread of their own, and share one view.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use netcause_core::seen::Seen;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::agent::Agent;
use crate::expose::http::{self, Limits, Source, View, Windows};
use crate::expose::lately::Lately;
use crate::expose::snapshot::Snapshot;
use crate::kernel::heap;
use crate::otlp::{self, Ending, Exporter};
use crate::web::Web;

/// The agent answers within this, or is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the HTTP side asks of the agent.
pub(super) enum Request {
    /// The view, and what scrapers have got when they have got that.
    View(Seen, oneshot::Sender<Result<Arc<Snapshot>, String>>),
    /// The view, for the export by OTLP: when the one before was read, and whether it is the last.
    Export(Option<Duration>, bool, oneshot::Sender<Result<Arc<Snapshot>, String>>),
    /// What edges have counted lately.
    Windows(oneshot::Sender<Result<Arc<Lately>, String>>),
    /// Count a scrape that took so long.
    Scraped(Duration),
}

impl Request {
    /// Does what is asked.
    pub fn answer(self, agent: &mut Agent) {
        match self {
            // The reader may have gone away.
            Self::View(seen, to) => drop(to.send(agent.view(seen).map_err(|error| format!("{error:#}")))),
            Self::Export(seen, is_last, to) => {
                drop(to.send(agent.exported_view(seen, is_last).map_err(|error| format!("{error:#}"))));
            }
            Self::Windows(to) => drop(to.send(agent.lately().map_err(|error| format!("{error:#}")))),
            Self::Scraped(took) => {
                agent.counts.scrapes.observe(took);
                // Nobody waits now, and until the next scrape most of this one's memory is not needed.
                heap::trim();
            }
        }
    }
}

/// Starts the thread; the receiver gets the error that ended it.
pub(super) fn start(
    listener: TcpListener,
    requests: mpsc::Sender<Request>,
    limits: Limits,
    web: Web,
) -> Result<oneshot::Receiver<Result<()>>> {
    let listener = listener.into_std().context("cannot hand the listening socket over")?;
    let (ended, end) = oneshot::channel();
    let serve = move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            http::serve(listener, Arc::new(Server { requests }), limits, Arc::new(web)).await;
            Ok(())
        })
    };
    std::thread::Builder::new()
        .name("http".to_owned())
        // The agent may have ended before.
        .spawn(move || drop(ended.send(serve())))
        .context("cannot start the HTTP thread")?;
    Ok(end)
}

/// Starts the thread that exports by OTLP.
pub(super) fn export(exporter: Exporter, requests: mpsc::Sender<Request>) -> Result<Ending> {
    let (ending, end) = exporter.ending();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("otlp".to_owned())
        .spawn(move || runtime.block_on(exporter.run(Server { requests }, end)))
        .context("cannot start the OTLP thread")?;
    Ok(ending)
}

struct Server {
    requests: mpsc::Sender<Request>,
}

impl Server {
    /// The answer to a request, if it comes in time.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Request,
    ) -> Result<T, String> {
        let asked = async {
            let (to, answer) = oneshot::channel();
            let ending = || "the agent is ending".to_owned();
            self.requests.send(request(to)).await.map_err(|_| ending())?;
            answer.await.map_err(|_| ending())?
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        answer.unwrap_or_else(|_| Err(format!("the agent did not answer within {ANSWER_TIMEOUT:?}")))
    }
}

impl otlp::Source for Server {
    fn view(&self, seen: Option<Duration>, is_last: bool) -> View<'_> {
        Box::pin(self.ask(move |to| Request::Export(seen, is_last, to)))
    }
}

impl Source for Server {
    fn view(&self, seen: Seen) -> View<'_> {
        Box::pin(self.ask(move |to| Request::View(seen, to)))
    }

    fn windows(&self) -> Windows<'_> {
        Box::pin(self.ask(Request::Windows))
    }

    fn ready(&self) -> Result<(), String> {
        // The programs are attached before this thread starts, and stay so while the process lives.
        Ok(())
    }

    fn scraped(&self, took: Duration) {
        // Where so many requests wait, this one is not counted.
        let _ = self.requests.try_send(Request::Scraped(took));
    }
}
