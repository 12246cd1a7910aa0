//! The UDP client: one datagram after the other, each answered or lost.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    super::{CHUNK, any_like, as_reached},
    Totals, extensions,
};

/// `netcause-lab traffic udp-client`
#[derive(Args)]
pub(crate) struct Client {
    /// Where to send to
    #[arg(long)]
    to: SocketAddr,
    /// Use this many consecutive ports in turn
    #[arg(long, default_value_t = 1)]
    ports: u16,
    /// How many sockets to send from, one after the other
    #[arg(long, default_value_t = 1)]
    sockets: u64,
    /// Bind the sockets to consecutive ports from this one on; with 0 the kernel chooses them
    #[arg(long, default_value_t = 0)]
    from_port: u16,
    /// How many datagrams to send from each
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Bytes in a datagram; several are used in turn
    #[arg(long, default_values_t = [100])]
    size: Vec<usize>,
    /// Wait for the answer to each, this long
    #[arg(long)]
    answer_ms: Option<u64>,
    /// Leave the sockets unconnected
    #[arg(long)]
    unconnected: bool,
    /// Reach an IPv4 server through an IPv6 socket
    #[arg(long)]
    mapped: bool,
    /// Bind to this source address
    #[arg(long)]
    from: Option<IpAddr>,
    /// Put IPv6 extension headers before each datagram: hop-by-hop options, and so many bytes of destination options
    #[arg(long)]
    options_bytes: Option<usize>,
}

impl Client {
    pub(crate) fn run(self) -> Result<()> {
        let mut totals = Totals::default();
        for number in 0..self.sockets {
            self.send_all(number, &mut totals)?;
        }
        println!("{}", totals.json());
        Ok(())
    }

    /// Sends from one socket. A connected one has one port to send to; an unconnected one goes round all of them.
    fn send_all(&self, number: u64, totals: &mut Totals) -> Result<()> {
        let first = as_reached(self.to, number, self.ports, self.mapped);
        let from_port = if self.from_port == 0 { 0 } else { self.from_port + u16::try_from(number)? };
        let from = (self.from.unwrap_or_else(|| any_like(first)), from_port);
        let socket = UdpSocket::bind(from).with_context(|| format!("binding to {from:?}"))?;
        if let Some(bytes) = self.options_bytes {
            extensions::put(&socket, bytes)?;
        }
        socket.set_read_timeout(self.answer_ms.map(Duration::from_millis))?;
        if !self.unconnected {
            socket.connect(first).context("connecting")?;
        }
        let payload = vec![0; CHUNK];
        for (datagram, size) in (0..self.count).zip(self.size.iter().cycle()) {
            let payload = payload.get(..*size).context("a datagram of that size cannot be")?;
            let to = as_reached(self.to, number + datagram, self.ports, self.mapped);
            let sent = if self.unconnected { socket.send_to(payload, to) } else { socket.send(payload) };
            totals.sent(sent.with_context(|| format!("sending {size} bytes to {to}"))?);
            if self.answer_ms.is_some() {
                match socket.recv_from(&mut vec![0; CHUNK]) {
                    Ok((bytes, from)) if bytes == *size && (!self.unconnected || from == to) => {
                        totals.received(bytes);
                    }
                    _ => totals.lost += 1,
                }
            }
        }
        Ok(())
    }
}
