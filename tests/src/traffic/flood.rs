//! TCP segments without a connection, from forged addresses: what a scan or a flood sends.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum, value_parser};
use rustix::{
    io::Errno,
    net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket},
};
use serde_json::json;

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Asks for a connection
    Syn,
    /// Answers a SYN that was never sent
    SynAck,
    /// Belongs to a connection that never was
    Ack,
}

impl Kind {
    /// The flags of RFC 9293 §3.1.
    const fn flags(self) -> u8 {
        match self {
            Self::Syn => 0x02,
            Self::SynAck => 0x12,
            Self::Ack => 0x10,
        }
    }
}

/// `netcause-lab traffic flood`
#[derive(Args)]
pub(crate) struct Flood {
    /// Where to send to
    #[arg(long)]
    to: SocketAddrV4,
    #[arg(long, value_enum)]
    kind: Kind,
    /// How many segments, each from an address and a port of its own in 10.128.0.0/9
    #[arg(long)]
    count: u32,
    /// Start again with the first address after so many
    #[arg(long, value_name = "NUMBER", default_value_t = u32::MAX, value_parser = value_parser!(u32).range(1..))]
    addresses: u32,
    /// Send to all ports from 1024 on in turn
    #[arg(long)]
    scan: bool,
    /// With a wrong TCP checksum
    #[arg(long)]
    corrupt: bool,
}

impl Flood {
    pub(crate) fn run(self) -> Result<()> {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))
            .context("opening a raw socket (needs root)")?;
        for number in 0..self.count {
            let [_, a, b, c] = (number % self.addresses).to_be_bytes();
            let from = SocketAddrV4::new(Ipv4Addr::new(10, a | 128, b, c), source_port(number));
            let to =
                SocketAddrV4::new(*self.to.ip(), if self.scan { any_port(number) } else { self.to.port() });
            let mut packet = packet(from, to, self.kind.flags());
            if self.corrupt {
                packet[36] ^= 1;
            }
            // A full queue drops nothing: the next try waits for it.
            while let Err(error) = sendto(&raw, &packet, SendFlags::empty(), &to) {
                anyhow::ensure!(error == Errno::NOBUFS || error == Errno::AGAIN, "sending: {error}");
            }
        }
        println!("{}", json!({"sent": self.count}));
        Ok(())
    }
}

/// Any port but the well-known ones.
const fn any_port(number: u32) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^16")]
    let port = (1024 + number % (65_536 - 1024)) as u16;
    port
}

const fn source_port(number: u32) -> u16 {
    any_port(number.wrapping_mul(7919))
}

/// An IPv4 packet (RFC 791 §3.1; the kernel adds its checksum) with a TCP segment without payload.
fn packet(from: SocketAddrV4, to: SocketAddrV4, flags: u8) -> [u8; 40] {
    let mut packet = [0; 40];
    let (ip, tcp) = packet.split_at_mut(20);
    // Version 4, 20 bytes of header; 40 bytes in all; 64 hops, TCP.
    ip[0] = 0x45;
    ip[3] = 40;
    ip[8] = 64;
    ip[9] = 6;
    ip[12..16].copy_from_slice(&from.ip().octets());
    ip[16..].copy_from_slice(&to.ip().octets());
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[7] = 1;
    tcp[11] = 1;
    // 20 bytes of header; any window.
    tcp[12] = 0x50;
    tcp[13] = flags;
    tcp[14] = 0x40;
    // The pseudo-header: both addresses, the protocol, the length of the segment.
    let sum = sum_words(&ip[12..]) + sum_words(tcp) + 6 + 20;
    tcp[16..18].copy_from_slice(&checksum(sum).to_be_bytes());
    packet
}

fn sum_words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}

/// RFC 1071.
const fn checksum(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    let sum = sum as u16;
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_with_its_checksum_sums_up_to_nothing() {
        let packet = packet("10.1.2.3:1025".parse().unwrap(), "10.77.0.2:8080".parse().unwrap(), 2);
        assert_eq!(checksum(sum_words(&packet[12..]) + 6 + 20), 0);
    }
}
