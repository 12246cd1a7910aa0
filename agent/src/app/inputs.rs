//! The loop of the agent: waits for whatever comes next, and gives it to the agent.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use netcause_core::enrich::conntrack::Outcome;
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::Update;
use netcause_core::node::Reading;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};
use tracing::warn;

use super::agent::Agent;
use super::server::Request;
use crate::kernel::Wakeups;
use crate::sources::CAPACITY;

/// Events are collected this often, and whenever a quarter of a ring is used.
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);
/// DNS queries are timed out this often, and before each reading of the tables.
const DNS_INTERVAL: Duration = Duration::from_secs(1);
/// How often addresses are looked up again that are known and in use: they may have another holder.
const IN_USE_INTERVAL: Duration = Duration::from_secs(30);

/// Where everything comes from that the agent takes.
pub(super) struct Inputs {
    /// Of the ring of events, and of that of DNS answers.
    pub wakeups: [Wakeups; 2],
    /// What sources of names say.
    pub named: mpsc::Receiver<Update>,
    /// Names of networks and cgroups; `None` without a names file.
    pub extra: Option<watch::Receiver<Arc<Extra>>>,
    /// What the connection tracking answered.
    pub answers: mpsc::UnboundedReceiver<Outcome>,
    /// What the readers of the node found.
    pub node: mpsc::Receiver<Reading>,
    /// Requests of the HTTP side.
    pub requests: mpsc::Receiver<Request>,
    /// Where addresses go that are to be looked up; `None` where the source lists them all.
    pub lookups: Option<mpsc::Sender<IpAddr>>,
    /// The tables are read this often without a request.
    pub interval: Duration,
}

impl Inputs {
    /// Serves the agent for ever.
    pub async fn serve(mut self, agent: &mut Agent) -> Result<()> {
        let [mut drain, mut dns, mut read, mut in_use] =
            [DRAIN_INTERVAL, DNS_INTERVAL, self.interval, IN_USE_INTERVAL].map(every);
        let mut updates = Vec::new();
        loop {
            let cgroups_due = agent.cgroups_due();
            tokio::select! {
                // The rings first, then in this order: nothing that is asked for may have events overwritten.
                biased;
                result = self.wakeups[0].wait() => { result?; agent.drain(); }
                result = self.wakeups[1].wait() => { result?; agent.drain(); }
                _ = drain.tick() => {
                    agent.tick();
                    agent.drain();
                    self.look_up(agent.take_unknown());
                }
                () = at(cgroups_due) => agent.look_up_cgroups(),
                _ = dns.tick() => warn_of(agent.expire_dns(), "cannot read the tables of DNS queries"),
                _ = read.tick() => warn_of(agent.observe(), "cannot read the kernel's tables"),
                Some(outcome) = self.answers.recv() => agent.answer_conntrack(outcome),
                Some(reading) = self.node.recv() => agent.take_node(reading),
                Some(extra) = changed(&mut self.extra) => agent.set_extra(extra),
                Some(request) = self.requests.recv() => request.answer(agent),
                count = self.named.recv_many(&mut updates, CAPACITY), if !self.named.is_closed() || !self.named.is_empty() => {
                    if count > 0 { agent.learn(&mut updates); }
                }
                _ = in_use.tick() => self.look_up(agent.remotes()),
            }
        }
    }

    fn look_up(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let Some(lookups) = &self.lookups else { return };
        for address in addresses {
            // What does not fit now is named again.
            if lookups.try_send(address).is_err() {
                break;
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn changed(extra: &mut Option<watch::Receiver<Arc<Extra>>>) -> Option<Arc<Extra>> {
    let extra = extra.as_mut()?;
    extra.changed().await.ok()?;
    Some(Arc::clone(&extra.borrow_and_update()))
}

fn warn_of(result: Result<()>, what: &str) {
    if let Err(error) = result {
        warn!(error = format!("{error:#}"), "{what}");
    }
}
