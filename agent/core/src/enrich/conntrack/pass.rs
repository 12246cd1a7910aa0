//! What is asked in one go, and what came of it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Failure, MAX_BACKENDS, Question, Service};

/// What is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Single connections, by their client's end.
    Connections(Vec<(Question, SocketAddr)>),
    /// The whole table, for all of these.
    Table(Vec<Question>),
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The pass.
    pub pass: Pass,
    /// What was found for each question, in their order.
    pub found: Vec<Tally>,
    /// Entries of the table that were read.
    pub entries: u64,
    /// Those of them that were malformed.
    pub malformed: u64,
    /// The table was not read to its end.
    pub is_cut: bool,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How long it took.
    pub took: Duration,
}

impl Pass {
    pub(super) fn questions(&self) -> impl Iterator<Item = Question> {
        let (connections, table) = match self {
            Self::Connections(connections) => (connections.as_slice(), [].as_slice()),
            Self::Table(table) => ([].as_slice(), table.as_slice()),
        };
        connections.iter().map(|(question, _)| *question).chain(table.iter().copied())
    }

    /// The outcome of a kernel that finds these.
    #[cfg(test)]
    pub fn answered(self, found: impl Fn(Question) -> Vec<SocketAddr>) -> Outcome {
        let mut outcome = Outcome::of(self);
        for (question, tally) in outcome.pass.questions().zip(&mut outcome.found) {
            found(question).into_iter().for_each(|backend| tally.add(backend));
        }
        outcome
    }
}

impl Outcome {
    /// Nothing yet.
    #[must_use]
    pub fn of(pass: Pass) -> Self {
        let found = pass.questions().map(|_| Tally::default()).collect();
        let took = Duration::ZERO;
        Self { pass, found, entries: 0, malformed: 0, is_cut: false, failure: None, took }
    }

    /// The pass never ended.
    #[must_use]
    pub fn lost(pass: Pass) -> Self {
        Self { failure: Some(Failure::Lost), ..Self::of(pass) }
    }

    /// Takes a connection that was looked up for the question at this place in the pass.
    pub fn see(&mut self, place: usize, tracked: &Tracked) {
        self.entries += 1;
        if let Some(tally) = self.found.get_mut(place) {
            tally.see(tracked);
        }
    }
}

/// Questions by service: the client, and the place of the question.
#[derive(Debug)]
pub struct Index(HashMap<Service, Vec<(Option<IpAddr>, usize)>>);

impl Index {
    /// Of these, by their places in the list.
    #[must_use]
    pub fn of(questions: &[Question]) -> Self {
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for (number, question) in questions.iter().enumerate() {
            index.entry(question.service).or_default().push((question.client, number));
        }
        Self(index)
    }

    /// Adds a connection of the table to what was found for each question that asks for its service.
    pub fn add(&self, tracked: &Tracked, found: &mut [Tally]) {
        let (address, port) = (tracked.destination.ip(), tracked.destination.port());
        let service = Service { address, port, protocol: tracked.protocol };
        for (client, number) in self.0.get(&service).into_iter().flatten() {
            if client.is_none_or(|client| client == tracked.client.ip())
                && let Some(tally) = found.get_mut(*number)
            {
                tally.see(tracked);
            }
        }
    }
}

/// A connection, as the kernel's table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// IANA protocol number.
    pub protocol: u8,
    /// Who began it.
    pub client: SocketAddr,
    /// Where its first packet was sent.
    pub destination: SocketAddr,
    /// Where its answers come from: another place when the destination is rewritten.
    pub answers_from: SocketAddr,
}

impl Tracked {
    /// Where it goes in truth; `None` when that is where it was sent.
    pub fn backend(&self) -> Option<SocketAddr> {
        (self.answers_from != self.destination).then_some(self.answers_from)
    }
}

/// Backends and how many connections go to each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    backends: Vec<(SocketAddr, u32)>,
    /// Connections to backends that there was no room for.
    pub left_out: u64,
}

impl Tally {
    fn see(&mut self, tracked: &Tracked) {
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

    /// Those with the most connections first.
    #[must_use]
    pub fn into_backends(mut self) -> Box<[SocketAddr]> {
        self.backends.sort_unstable_by_key(|(backend, count)| (std::cmp::Reverse(*count), *backend));
        self.backends.into_iter().map(|(backend, _)| backend).collect()
    }
}
