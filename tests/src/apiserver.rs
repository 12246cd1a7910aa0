//! A Kubernetes API server for tests: true to the protocol, and made to fail in every way that a real one does.
//!
//! It has lists (paged, consistent), watches (bookmarks, streaming lists, 410), single objects, discovery, tokens and
//! rights, as <https://kubernetes.io/docs/reference/using-api/api-concepts/> describes them and as the code of the real
//! one has it, over HTTP/1.1. It has no admission, no writes and no protobuf. What a client must not do it remembers.
//!
//! Scenarios start it as a process and tell it what to do on its standard input (see [`control::Command`]); it says
//! where it listens, and answers each command with one line.

mod control;
mod discovery;
mod faults;
mod http;
mod list;
pub(crate) mod objects;
mod query;
mod resources;
mod selector;
mod server;
mod state;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod watch;

use std::{io::BufRead as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use self::{server::Server, state::Settings};

pub(crate) use state::Asked;
pub(crate) use time::now;

/// `netcause-lab apiserver`
#[derive(Args)]
pub(crate) struct ApiServer {
    /// Where to listen; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A token that is good; with none, nobody needs one
    #[arg(long)]
    token: Vec<String>,
    /// Know no streaming lists, like a server before 1.32
    #[arg(long)]
    no_watch_list: bool,
    /// Refuse a watch from too old a version with the HTTP status, not with an event
    #[arg(long)]
    expired_as_status: bool,
    /// How often bookmarks come, in milliseconds
    #[arg(long, default_value_t = 60_000)]
    bookmark_milliseconds: u64,
}

impl ApiServer {
    pub(crate) fn run(self) -> Result<()> {
        let settings = Settings {
            tokens: self.token,
            watch_list: !self.no_watch_list,
            expired_as_event: !self.expired_as_status,
            bookmark_every: Duration::from_millis(self.bookmark_milliseconds),
        };
        let server = Server::start(self.listen, settings)?;
        println!("{}", json!({"listening": server.address.to_string()}));
        let mut done = 0_u64;
        for line in std::io::stdin().lock().lines() {
            let line = line.context("waiting for the lab")?;
            let mut said = control::line(&server, &line);
            done += 1;
            said["done"] = json!(done);
            println!("{said}");
        }
        Ok(())
    }
}
