//! Many connections, all open at once.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::{raise_file_limit, serve_commands};

/// `netcause-lab bench generate keep`
#[derive(Args)]
pub(crate) struct Keep {
    /// Where to listen
    listen: SocketAddr,
}

impl Keep {
    pub(super) fn run(self) -> Result<()> {
        raise_file_limit()?;
        let listener =
            TcpListener::bind(self.listen).with_context(|| format!("listening on {}", self.listen))?;
        thread::spawn(move || {
            let mut kept = Vec::new();
            loop {
                match listener.accept() {
                    Ok((stream, _)) => kept.push(stream),
                    Err(error) => {
                        eprintln!("accepting after {}: {error}", kept.len());
                        std::process::exit(1);
                    }
                }
            }
        });
        serve_commands(|command| bail!("{command}: a keeper has no commands"))
    }
}

/// `netcause-lab bench generate hold`
#[derive(Args)]
pub(crate) struct Hold {
    /// The first server
    to: SocketAddrV4,
    /// Use this many consecutive addresses of servers in turn, and of ours with them
    #[arg(long, default_value_t = 1)]
    addresses: u32,
    /// Our first address; the kernel's choice if there is none
    #[arg(long)]
    from: Option<Ipv4Addr>,
}

impl Hold {
    pub(super) fn run(self) -> Result<()> {
        raise_file_limit()?;
        let mut held = Vec::new();
        serve_commands(|command| {
            if command == "touch" {
                for stream in &mut held {
                    TcpStream::write_all(stream, &[0])?;
                }
            } else {
                let count: usize = command.strip_prefix("open ").context("unknown")?.parse()?;
                for _ in 0..count {
                    held.push(self.open(u32::try_from(held.len())? % self.addresses)?);
                }
            }
            Ok(held.len() as u64)
        })
    }

    /// A connection between the `number`-th pair of addresses.
    fn open(&self, number: u32) -> Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if let Some(from) = self.from {
            let from = SocketAddrV4::new(later(from, number), 0);
            bind(&socket, &from).with_context(|| format!("binding to {from}"))?;
        }
        let to = SocketAddrV4::new(later(*self.to.ip(), number), self.to.port());
        connect(&socket, &to).with_context(|| format!("connecting to {to}"))?;
        Ok(TcpStream::from(socket))
    }
}

fn later(first: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + number)
}
