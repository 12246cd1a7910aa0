//! Listening sockets: their accept queues, and what they have dropped.

use std::collections::HashSet;
use std::time::Duration;

use netcause_common::flow::PROTOCOL_TCP;
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};

use super::Engine;
use crate::aggregate::listeners::{DropReason, Dropped, Listeners, Namespace, NamespaceCounters};
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
pub(super) type Sum = Sums<(Workload, Option<u16>), QueueKey, Counters>;

/// Discards, cookies, handshakes by reason: [`Place::counters`](crate::aggregate::places::Place::counters).
type Counters = [u64; 2 + DropReason::COUNT];

/// The listening ports and what each has dropped, then those where nobody listens any more.
pub(super) fn ports(
    queues: &[(QueueKey, AcceptQueue)],
    listeners: &Listeners,
) -> impl Iterator<Item = (QueueKey, AcceptQueue, Dropped)> {
    let open: HashSet<_> = queues.iter().map(|(key, _)| *key).collect();
    let others = listeners.others(move |key| open.contains(key));
    let others = others.map(|(key, dropped)| (key, AcceptQueue::default(), dropped));
    queues.iter().map(|(key, queue)| (*key, *queue, listeners.of(key))).chain(others)
}

/// The counters of a port.
pub(super) fn counters(queue: &AcceptQueue, dropped: &Dropped) -> Counters {
    let [full, requests, other] = dropped.handshakes;
    [queue.discards, dropped.cookies, full, requests, other]
}

impl Engine {
    /// Listening sockets, in the order of their workloads and ports. Several of one workload and port are to be shown as
    /// their wrapping sum; what those had that have ended since is one more, less by what other workloads show of them.
    #[must_use]
    pub fn listeners(&mut self) -> Vec<Listener> {
        let moment = self.moment();
        let Self { names, queues, listeners, listener_sums, waiting, .. } = self;
        let listener = |(key, queue, dropped): (QueueKey, AcceptQueue, Dropped)| {
            let port = (key.port != 0).then_some(key.port);
            let workload = names.server(key.local, key.port);
            (key, Listener { workload, port, queue, oldest: waiting.oldest_unaccepted(&key), dropped })
        };
        let now: Vec<_> = ports(queues, listeners).map(listener).collect();
        let parts = now.iter().map(|(key, listener)| {
            (*key, (listener.workload.clone(), listener.port), counters(&listener.queue, &listener.dropped))
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
        let open = || queues.iter().filter(|(_, queue)| queue.sweep != 0);
        self.names.held(PROTOCOL_TCP, open().map(|(key, queue)| (*key, queue.holders)));
        self.names.listen_in(open().map(|(key, queue)| (queue.namespace, key.local)));
        self.listeners.update(&queues, namespaces, self.time.monotonic);
        self.queues = queues;
        self.read_listeners();
    }
}
