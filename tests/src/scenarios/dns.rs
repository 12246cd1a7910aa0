//! DNS: real servers and clients, faults between them, and the counts of the agent.

pub(super) mod abandoned;
pub(super) mod answers;
pub(super) mod failures;
pub(super) mod hostile;
pub(super) mod limits;
pub(super) mod load;
pub(super) mod names;
pub(super) mod odd;
pub(super) mod ports;
pub(super) mod search;
pub(super) mod server;
pub(super) mod slow;
pub(super) mod stub;
pub(super) mod tcp;
pub(super) mod timeouts;
pub(super) mod translated;
pub(super) mod zoo;

use anyhow::Result;

use crate::lab::{
    crossed::Ends,
    dns::{
        PORT,
        counted::{Counted, Served},
    },
    metrics::{Edge, Metrics},
    topology::Pod,
};

/// A client, the only server that it queries, over IPv4 and IPv6, and the counts that the agent must have.
struct Pair<'a> {
    client: &'a Pod,
    server: &'a Pod,
    v4: Counted,
    v6: Counted,
}

impl Pair<'_> {
    /// Fails unless the agent has counted at both ends what arrived at both ends.
    fn expect(&self, metrics: &Metrics) -> Result<()> {
        // Where the server has a name, both families are one edge.
        let asked = self.v4.and(&self.v6);
        asked.expect_at_client(metrics, &Ends::of(self.client, self.server, PORT).client)?;
        let served = Served::to(&self.v4).and(&self.v6);
        served.expect_at_server(metrics, &Edge::listener(self.server, PORT))
    }
}
