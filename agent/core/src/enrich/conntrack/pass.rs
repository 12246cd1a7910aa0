//! A pass: the lookups that are done in one go, and their outcome.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Failure, MAX_BACKENDS, ServiceAddress, ServiceQuery};

/// Lookups to do in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Look up single connections, each by its client's address and port.
    Connections(Vec<(ServiceQuery, SocketAddr)>),
    /// Dump the whole table, for all of these queries.
    Table(Vec<ServiceQuery>),
}

/// The outcome of a pass.
#[derive(Debug)]
pub struct Outcome {
    /// The pass that was done.
    pub pass: Pass,
    /// The backends found for each query of the pass, in their order.
    pub found: Vec<Tally>,
    /// Entries of the table that were read.
    pub entries: u64,
    /// Entries that could not be decoded.
    pub malformed: u64,
    /// Whether the dump was cut at the limit of entries or of time.
    pub is_cut: bool,
    /// Why the pass failed, if it did.
    pub failure: Option<Failure>,
    /// How long the pass took.
    pub took: Duration,
}

impl Pass {
    pub(super) fn queries(&self) -> impl Iterator<Item = ServiceQuery> {
        let (connections, table) = match self {
            Self::Connections(connections) => (connections.as_slice(), [].as_slice()),
            Self::Table(table) => ([].as_slice(), table.as_slice()),
        };
        connections.iter().map(|(query, _)| *query).chain(table.iter().copied())
    }

    /// The outcome in which these backends are found for each query.
    #[cfg(test)]
    pub fn answered(self, found: impl Fn(ServiceQuery) -> Vec<SocketAddr>) -> Outcome {
        let mut outcome = Outcome::of(self);
        for (query, tally) in outcome.pass.queries().zip(&mut outcome.found) {
            found(query).into_iter().for_each(|backend| tally.add(backend));
        }
        outcome
    }
}

impl Outcome {
    /// The outcome of a pass that has found nothing yet.
    #[must_use]
    pub fn of(pass: Pass) -> Self {
        let found = pass.queries().map(|_| Tally::default()).collect();
        let took = Duration::ZERO;
        Self { pass, found, entries: 0, malformed: 0, is_cut: false, failure: None, took }
    }

    /// The outcome of a pass whose result was lost.
    #[must_use]
    pub fn lost(pass: Pass) -> Self {
        Self { failure: Some(Failure::Lost), ..Self::of(pass) }
    }

    /// Adds a connection that was looked up for the query at this index in the pass.
    pub fn add(&mut self, index: usize, tracked: &Tracked) {
        self.entries += 1;
        if let Some(tally) = self.found.get_mut(index) {
            tally.add_entry(tracked);
        }
    }
}

/// The queries of a pass by service: each with its client and its index in the pass.
#[derive(Debug)]
pub struct QueryIndex(HashMap<ServiceAddress, Vec<(Option<IpAddr>, usize)>>);

impl QueryIndex {
    /// Indexes these queries.
    #[must_use]
    pub fn new(queries: &[ServiceQuery]) -> Self {
        let mut queries_of: HashMap<_, Vec<_>> = HashMap::new();
        for (index, query) in queries.iter().enumerate() {
            queries_of.entry(query.service).or_default().push((query.client, index));
        }
        Self(queries_of)
    }

    /// Adds an entry of the table to the tallies of the queries for its service.
    pub fn add(&self, tracked: &Tracked, found: &mut [Tally]) {
        let (address, port) = (tracked.destination.ip(), tracked.destination.port());
        let service = ServiceAddress { address, port, protocol: tracked.protocol };
        for (client, index) in self.0.get(&service).into_iter().flatten() {
            if client.is_none_or(|client| client == tracked.client.ip())
                && let Some(tally) = found.get_mut(*index)
            {
                tally.add_entry(tracked);
            }
        }
    }
}

/// An entry of the kernel's conntrack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// IANA protocol number.
    pub protocol: u8,
    /// Source of the original direction: the client.
    pub client: SocketAddr,
    /// Destination of the original direction, before translation.
    pub destination: SocketAddr,
    /// Source of the reply direction: differs from `destination` when that is translated (DNAT).
    pub answers_from: SocketAddr,
}

impl Tracked {
    /// The translated destination; `None` when the destination is not translated.
    pub fn backend(&self) -> Option<SocketAddr> {
        (self.answers_from != self.destination).then_some(self.answers_from)
    }
}

/// Counts connections by backend; at most [`MAX_BACKENDS`] backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    backends: Vec<(SocketAddr, u32)>,
    /// Connections to further backends.
    pub left_out: u64,
}

impl Tally {
    fn add_entry(&mut self, tracked: &Tracked) {
        if let Some(backend) = tracked.backend() {
            self.add(backend);
        }
    }

    /// Counts one more connection to a backend.
    pub fn add(&mut self, backend: SocketAddr) {
        if let Some((_, count)) = self.backends.iter_mut().find(|(known, _)| *known == backend) {
            *count = count.saturating_add(1);
        } else if self.backends.len() < MAX_BACKENDS {
            self.backends.push((backend, 1));
        } else {
            self.left_out += 1;
        }
    }

    /// The backends, the one with the most connections first.
    #[must_use]
    pub fn into_backends(mut self) -> Box<[SocketAddr]> {
        self.backends.sort_unstable_by_key(|(backend, count)| (std::cmp::Reverse(*count), *backend));
        self.backends.into_iter().map(|(backend, _)| backend).collect()
    }
}
