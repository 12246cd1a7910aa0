//! `/metrics`: what each client is shown of the view, and which scraper has seen what.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::HeaderMap;
use netcause_core::seen::Seen;

use super::body::Taken;
use super::cache::{Cache, Key};
use super::encoding::{accepts_gzip, encode};
use crate::expose::exposed::{Exposed, Showing};
use crate::expose::prometheus::{self, Format};
use crate::expose::scrapers::Client;
use crate::expose::snapshot::Snapshot;

/// Who asks.
pub(super) struct Peer {
    pub address: IpAddr,
    /// Lives as long as its connection.
    pub connection: Arc<()>,
}

/// What has been shown to whom.
#[derive(Clone)]
pub(super) struct Scrapes(Arc<Mutex<State>>);

struct State {
    exposed: Exposed,
    began: Instant,
    /// When a view was taken last.
    followed: Instant,
    has_followed: bool,
}

impl Scrapes {
    pub fn new() -> Self {
        let now = Instant::now();
        let exposed = Exposed::default();
        Self(Arc::new(Mutex::new(State { exposed, began: now, followed: now, has_followed: false })))
    }

    /// Time since a view was taken.
    pub fn age(&self) -> Duration {
        self.state().followed.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a view that no scraper asked for, so that the start of each series is known better.
    pub fn follow(&self, view: &Arc<Snapshot>) {
        let mut state = self.state();
        (state.followed, state.has_followed) = (Instant::now(), true);
        state.exposed.follow(view);
    }

    /// What scrapers have got when this client has got the view that it asks for; `None` before a view was taken.
    pub fn seen(&self, headers: &HeaderMap, peer: &Peer) -> Option<Seen> {
        let state = self.state();
        let scraper = Client::scraper(peer.address, headers, &peer.connection);
        state.has_followed.then(|| state.exposed.seen(scraper.as_ref(), state.began.elapsed()))
    }

    /// The body for a client, and what is to be called when it has taken it.
    pub fn body(
        &self,
        view: &Arc<Snapshot>,
        path: &'static str,
        format: Format,
        headers: &HeaderMap,
        peer: &Peer,
        cache: &Cache,
    ) -> Result<(Bytes, Option<Taken>), String> {
        let mut state = self.state();
        let now = state.began.elapsed();
        (state.followed, state.has_followed) = (Instant::now(), true);
        let scraper = Client::scraper(peer.address, headers, &peer.connection);
        let showing = state.exposed.show(view, scraper.as_ref(), now);
        let seen = showing.seen;
        let key = Key { path, exposition: Some((format, seen)), gzip: accepts_gzip(headers) };
        let body = cache.get(view, key, || {
            encode(key.gzip, |to| prometheus::write(view, format, state.exposed.reader(seen), to))
        })?;
        let taken = scraper.map(|client| {
            let scrapes = self.clone();
            Box::new(move || scrapes.saw(client, &showing)) as Taken
        });
        Ok((body, taken))
    }

    fn saw(&self, client: Client, showing: &Showing) {
        let mut state = self.state();
        let now = state.began.elapsed();
        state.exposed.saw(client, showing, now);
    }
}
