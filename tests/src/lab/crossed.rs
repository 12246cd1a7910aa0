//! The traffic between a client and a server by the programs' own counts, and the edges of both ends that must agree.

use anyhow::Result;

use super::{
    metrics::{CLOSED, Edge, FAILURES, Metrics, OPENED, float},
    topology::{Outcome, Pod},
};

pub(crate) const OPEN: &str = "netcause_tcp_connections_open";
pub(crate) const SENT: &str = "netcause_tcp_sent_bytes_total";
pub(crate) const RECEIVED: &str = "netcause_tcp_received_bytes_total";

/// Both ends' views of the traffic between a client and a server's port.
pub(crate) struct Ends {
    pub(crate) client: Edge,
    pub(crate) server: Edge,
}

impl Ends {
    pub(crate) fn v4(client: &Pod, server: &Pod, port: u16) -> Self {
        Self {
            client: Edge::at_client(client, server.v4, port),
            server: Edge::at_server(server, client.v4, port),
        }
    }

    pub(crate) fn v6(client: &Pod, server: &Pod, port: u16) -> Self {
        Self {
            client: Edge::at_client(client, server.v6, port),
            server: Edge::at_server(server, client.v6, port),
        }
    }

    /// Over all addresses of the two: where pods have names, an edge is one for all families.
    pub(crate) fn of(client: &Pod, server: &Pod, port: u16) -> Self {
        Self {
            client: Edge::of_client(client, port).with_any("destination_workload", server.names()),
            server: Edge::of_server(server, port).with_any("source_workload", client.names()),
        }
    }

    pub(crate) fn both(&self) -> [&Edge; 2] {
        [&self.client, &self.server]
    }
}

/// TCP connections and their payload.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Crossed {
    pub(crate) connections: u64,
    /// Bytes from clients to servers.
    pub(crate) up: u64,
    /// Bytes from servers to clients.
    pub(crate) down: u64,
    /// The most that one connection carried in one direction.
    most: u64,
}

impl Crossed {
    /// From the counts of a client whose connections all carried the same amount.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let [connections, up, down] =
            ["connected", "bytes_sent", "bytes_received"].map(|name| outcome.count(name));
        Self { connections, up, down, most: up.max(down).div_ceil(connections.max(1)) }
    }

    /// `connections` connections, each with `up` bytes from and `down` bytes to the client.
    pub(crate) fn each(connections: u64, up: u64, down: u64) -> Self {
        Self { connections, up: connections * up, down: connections * down, most: up.max(down) }
    }

    /// Adds what another client counted.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            up: self.up + other.up,
            down: self.down + other.down,
            most: self.most.max(other.most),
        }
    }

    /// Fails unless both ends have counted the payload to the byte.
    pub(crate) fn expect_bytes(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        self.expect_bytes_of_reset(metrics, ends)?;
        metrics.expect_amount(SENT, &ends.server, self.down, self.most)
    }

    /// As [`Self::expect_bytes`], of connections that the client has reset: a reset acknowledges nothing, so the server may
    /// not know that its last bytes arrived.
    pub(crate) fn expect_bytes_of_reset(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        metrics.expect_amount(SENT, &ends.client, self.up, self.most)?;
        metrics.expect_amount(RECEIVED, &ends.client, self.down, self.most)?;
        metrics.expect_between(SENT, &ends.server, 0.0, float(self.down))?;
        metrics.expect_amount(RECEIVED, &ends.server, self.up, self.most)
    }

    /// As [`Self::expect_bytes`], of connections that began since the agent's start and are all open now.
    pub(crate) fn expect_open(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        for edge in ends.both() {
            metrics.expect(OPENED, edge, self.connections)?;
            metrics.expect(CLOSED, edge, 0)?;
            metrics.expect(OPEN, edge, self.connections)?;
        }
        self.expect_bytes(metrics, ends)
    }

    /// Fails unless all connections began since the agent's start and are closed.
    pub(crate) fn expect_ended(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        for edge in ends.both() {
            metrics.expect(OPENED, edge, self.connections)?;
            metrics.expect(CLOSED, edge, self.connections)?;
            metrics.expect(FAILURES, edge, 0)?;
            metrics.expect(OPEN, edge, 0)?;
        }
        Ok(())
    }

    /// As [`Self::expect_ended`] and [`Self::expect_bytes`].
    pub(crate) fn expect_closed(&self, metrics: &Metrics, ends: &Ends) -> Result<()> {
        self.expect_ended(metrics, ends)?;
        self.expect_bytes(metrics, ends)
    }
}
