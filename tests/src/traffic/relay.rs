//! A proxy of TCP connections, as a sidecar is one: for each that it accepts it makes one, and passes on what comes.

use std::{
    io::{self, Read as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

/// `netcause-lab traffic relay`
#[derive(Args)]
pub(crate) struct Relay {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Where to connect to
    #[arg(long)]
    to: SocketAddr,
}

impl Relay {
    pub(crate) fn run(self) -> Result<()> {
        let listener =
            TcpListener::bind(self.listen).with_context(|| format!("listening on {}", self.listen))?;
        println!("{}", json!({"listening": self.listen.to_string()}));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A connection that breaks ends both of its legs; the ends count what they did.
                thread::spawn(move || pass_on(&client, self.to));
            }
        });
        io::stdin().read_to_end(&mut Vec::new()).context("waiting for the lab")?;
        println!("{}", json!({}));
        Ok(())
    }
}

fn pass_on(client: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    thread::scope(|scope| {
        scope.spawn(|| copy(&server, client));
        copy(client, &server)
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
