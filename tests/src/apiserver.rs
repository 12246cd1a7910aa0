//! The Kubernetes API server of a scenario, as a process: commands come on its standard input, an answer each goes to its
//! standard output.

use std::{io::BufRead as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
pub(crate) use netcause_apiserver::{Asked, now, objects};
use netcause_apiserver::{Server, Settings};
use serde_json::json;

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
            let mut said = server.command(&line.context("waiting for the lab")?);
            done += 1;
            said["done"] = json!(done);
            println!("{said}");
        }
        Ok(())
    }
}
