//! The programs that run inside the pods: real processes with real sockets, which count exactly what they did and print
//! it as JSON, so that a scenario compares the agent's counts with the truth.

mod client;
mod server;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Traffic {
    /// Accept connections until standard input closes
    Server(server::Server),
    /// Make connections
    Client(client::Client),
}

impl Traffic {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Server(server) => server.run(),
            Self::Client(client) => client.run(),
        }
    }
}

/// The chunk in which bytes are written and read.
const CHUNK: usize = 64 * 1024;
