//! What is asked in one go, and what came of it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::message::Tracked;
use super::netlink::Socket;
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
    pub(super) pass: Pass,
    /// What was found for each question, in their order.
    pub(super) found: Vec<Tally>,
    pub(super) entries: u64,
    pub(super) malformed: u64,
    pub(super) is_cut: bool,
    pub(super) failure: Option<Failure>,
    pub(super) took: Duration,
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

    /// Asks the kernel. The thread is busy meanwhile, for up to some seconds.
    #[must_use]
    pub fn carry_out(self) -> Outcome {
        let began = Instant::now();
        let mut outcome = Outcome::of(self);
        match Socket::open() {
            Ok(socket) => outcome.ask(socket),
            Err(failure) => outcome.failure = Some(failure),
        }
        outcome.took = began.elapsed();
        outcome
    }
}

impl Outcome {
    /// Nothing yet.
    pub(super) fn of(pass: Pass) -> Self {
        let found = pass.questions().map(|_| Tally::default()).collect();
        let took = Duration::ZERO;
        Self { pass, found, entries: 0, malformed: 0, is_cut: false, failure: None, took }
    }

    /// The pass never ended.
    pub(super) fn lost(pass: Pass) -> Self {
        Self { failure: Some(Failure::Lost), ..Self::of(pass) }
    }

    fn ask(&mut self, mut socket: Socket) {
        match &self.pass {
            Pass::Connections(connections) => {
                for ((question, client), tally) in connections.iter().zip(&mut self.found) {
                    let Service { address, port, protocol } = question.service;
                    match socket.one(protocol, *client, SocketAddr::new(address, port)) {
                        Ok(tracked) => {
                            self.entries += u64::from(tracked.is_some());
                            tracked.iter().for_each(|tracked| tally.see(tracked));
                        }
                        Err(failure) => {
                            self.failure = Some(failure);
                            return;
                        }
                    }
                }
            }
            Pass::Table(questions) => {
                let index = Index::of(questions);
                let found = &mut self.found;
                let (read, failure) = socket.all(|tracked| index.add(tracked, found));
                (self.entries, self.malformed, self.is_cut) = (read.entries, read.malformed, read.is_cut);
                self.failure = failure;
            }
        }
    }
}

/// Questions by service: who wants to know, and which question that is.
struct Index(HashMap<Service, Vec<(Option<IpAddr>, usize)>>);

impl Index {
    fn of(questions: &[Question]) -> Self {
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for (number, question) in questions.iter().enumerate() {
            index.entry(question.service).or_default().push((question.client, number));
        }
        Self(index)
    }

    fn add(&self, tracked: &Tracked, found: &mut [Tally]) {
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

/// Backends and how many connections go to each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    backends: Vec<(SocketAddr, u32)>,
    /// Connections to backends that there was no room for.
    pub(super) left_out: u64,
}

impl Tally {
    fn see(&mut self, tracked: &Tracked) {
        if let Some(backend) = tracked.backend() {
            self.add(backend);
        }
    }

    pub(super) fn add(&mut self, backend: SocketAddr) {
        if let Some((_, count)) = self.backends.iter_mut().find(|(known, _)| *known == backend) {
            *count = count.saturating_add(1);
        } else if self.backends.len() < MAX_BACKENDS {
            self.backends.push((backend, 1));
        } else {
            self.left_out += 1;
        }
    }

    /// Those with the most connections first.
    pub(super) fn into_backends(mut self) -> Box<[SocketAddr]> {
        self.backends.sort_unstable_by_key(|(backend, count)| (std::cmp::Reverse(*count), *backend));
        self.backends.into_iter().map(|(backend, _)| backend).collect()
    }
}
