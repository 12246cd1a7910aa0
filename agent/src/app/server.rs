//! The HTTP side's thread, and what it asks the agent for.
//!
//! Rendering and slow readers are none of the agent's business: they have a thread of their own, and share one view.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::agent::Agent;
use crate::expose::http::{self, Limits, Source};
use crate::expose::prometheus::{self, Durations, Format, Snapshot};

/// The agent answers within this, or is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the HTTP side asks the agent for.
pub(super) enum Request {
    /// The view.
    View(SyncSender<Result<Arc<Snapshot>, String>>),
    /// The body of `/api/v1/dns`.
    Dns(SyncSender<Result<String, String>>),
}

impl Request {
    /// Answers; that the other side has gone away is its business.
    pub fn answer(self, agent: &mut Agent) {
        match self {
            Self::View(to) => {
                let _ = to.send(agent.view().map_err(|error| format!("{error:#}")));
            }
            Self::Dns(to) => {
                let _ = to.send(agent.dns().map_err(|error| format!("{error:#}")));
            }
        }
    }
}

/// Starts the thread; the receiver hears of its end.
pub(super) fn start(
    listener: TcpListener,
    requests: mpsc::Sender<Request>,
    limits: Limits,
) -> Result<oneshot::Receiver<Result<()>>> {
    let listener = listener.into_std().context("cannot hand the listening socket over")?;
    let (ended, end) = oneshot::channel();
    let serve = move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let source = Arc::new(Server { requests, scrapes: Mutex::default() });
            http::serve(listener, source, limits).await;
            Ok(())
        })
    };
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            let _ = ended.send(serve());
        })
        .context("cannot start the HTTP thread")?;
    Ok(end)
}

struct Server {
    requests: mpsc::Sender<Request>,
    scrapes: Mutex<Durations>,
}

impl Server {
    fn ask<T>(&self, request: impl FnOnce(SyncSender<Result<T, String>>) -> Request) -> Result<T, String> {
        let (to, answer) = sync_channel(1);
        self.requests.try_send(request(to)).map_err(|_| "the agent is busy".to_owned())?;
        answer.recv_timeout(ANSWER_TIMEOUT).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("the agent did not answer within {ANSWER_TIMEOUT:?}"),
            RecvTimeoutError::Disconnected => "the agent is ending".to_owned(),
        })?
    }
}

impl Source for Server {
    fn metrics(&self, format: Format) -> Result<String, String> {
        let begin = Instant::now();
        let view = self.ask(Request::View)?;
        let text = prometheus::render(view, format).map_err(|error| error.to_string())?;
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner).observe(begin.elapsed());
        Ok(text)
    }

    fn dns(&self) -> Result<String, String> {
        self.ask(Request::Dns)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}
