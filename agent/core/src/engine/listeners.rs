//! Listening sockets: their accept queues, and what they have dropped.

use std::collections::HashSet;
use std::time::Duration;

use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};

use super::Engine;
use crate::aggregate::listeners::{DropReason, Dropped, Namespace, NamespaceCounters};
use crate::aggregate::sums::Sums;
use crate::enrich::Workload;

/// A listening socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The workload that listens; the network namespace where drops belong to several workloads.
    pub workload: Workload,
    /// Its port; `None` where drops belong to several.
    pub port: Option<u16>,
    /// Its queue; without a sweep what was discarded by sockets that are closed.
    pub queue: AcceptQueue,
    /// For how long the oldest connection had waited to be accepted at the last sweep; zero when none waited.
    pub oldest: Duration,
    /// What it has dropped.
    pub dropped: Dropped,
}

/// What a workload's listening sockets at a port add up to: discards, cookies, handshakes by reason.
pub(super) type Sum = Sums<(Workload, Option<u16>), QueueKey, [u64; 2 + DropReason::COUNT]>;

impl Engine {
    /// Listening sockets, in the order of their workloads and ports. Several of one workload and port are to be shown as
    /// their wrapping sum; what those had that have ended since is one more, less by what other workloads show of them.
    #[must_use]
    pub fn listeners(&mut self) -> Vec<Listener> {
        let moment = self.moment();
        let Self { names, queues, listeners, listener_sums, waiting, .. } = self;
        let listener = |key: QueueKey, queue, dropped| {
            let port = (key.port != 0).then_some(key.port);
            let workload = names.server(key.local, key.port);
            (key, Listener { workload, port, queue, oldest: waiting.oldest_unaccepted(&key), dropped })
        };
        let open: HashSet<_> = queues.iter().map(|(key, _)| *key).collect();
        let others = listeners.others(|key| open.contains(key));
        let now: Vec<_> = queues
            .iter()
            .map(|(key, queue)| listener(*key, *queue, listeners.of(key)))
            .chain(others.map(|(key, dropped)| listener(key, AcceptQueue::default(), dropped)))
            .collect();
        let parts = now.iter().map(|(key, listener)| {
            let [full, requests, other] = listener.dropped.handshakes;
            let counters = [listener.queue.discards, listener.dropped.cookies, full, requests, other];
            (*key, (listener.workload.clone(), listener.port), counters)
        });
        let kept = listener_sums.keep(parts, &moment).map(|((workload, port), counters)| {
            let [discards, cookies, handshakes @ ..] = counters;
            Listener {
                workload: workload.clone(),
                port: *port,
                queue: AcceptQueue { discards, ..AcceptQueue::default() },
                oldest: Duration::ZERO,
                dropped: Dropped { handshakes, cookies },
            }
        });
        let mut all: Vec<_> = kept.collect();
        all.extend(now.into_iter().map(|(_, listener)| listener));
        all.sort_by(|a, b| (&a.workload, a.port).cmp(&(&b.workload, b.port)));
        all
    }

    pub(super) fn listen(
        &mut self,
        queues: Vec<(QueueKey, AcceptQueue)>,
        namespaces: &[(Namespace, NamespaceCounters)],
    ) {
        for (key, queue) in &queues {
            self.names.observe_local(key.local);
            if queue.sweep != 0 {
                self.names.listens(key.local, key.port);
            }
        }
        self.names.held(&queues);
        let open = queues.iter().filter(|(_, queue)| queue.sweep != 0);
        self.names.listen_in(open.map(|(key, queue)| (queue.namespace, key.local)));
        self.listeners.update(&queues, namespaces, self.time.monotonic);
        self.queues = queues;
        self.read_listeners();
    }
}
