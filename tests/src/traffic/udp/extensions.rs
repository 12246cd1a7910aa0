//! IPv6 extension headers before what a socket sends.

use std::{io, net::UdpSocket, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};

/// Puts hop-by-hop options (RFC 8200 §4.3) of eight bytes, and destination options (§4.6) of so many, before every datagram of a
/// socket of IPv6. Needs CAP_NET_RAW.
pub(in super::super) fn put(socket: &UdpSocket, bytes: usize) -> Result<()> {
    ensure!(bytes.is_multiple_of(8) && (8..=2048).contains(&bytes), "options of {bytes} bytes cannot be");
    set(socket, libc::IPV6_HOPOPTS, &options(8)).context("IPV6_HOPOPTS")?;
    set(socket, libc::IPV6_DSTOPTS, &options(bytes)).context("IPV6_DSTOPTS")
}

/// A header of options that say nothing: the next header, which the kernel sets; the length in units of eight bytes without the
/// first; the options, of at most 257 bytes each.
fn options(bytes: usize) -> Vec<u8> {
    let mut header = vec![0, u8::try_from(bytes / 8 - 1).unwrap_or(u8::MAX)];
    while header.len() < bytes {
        // An experimental option that may be ignored (RFC 4727 §7). Linux refuses long padding, and more than eight options
        // (`ip6_parse_tlv`, net/ipv6/exthdrs.c).
        let data = (bytes - header.len()).saturating_sub(2).min(255);
        header.extend([0x1e, u8::try_from(data).unwrap_or(u8::MAX)]);
        header.resize(header.len() + data, 0);
    }
    header
}

fn set(socket: &UdpSocket, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = value.len().try_into().unwrap_or_default();
    // SAFETY: the descriptor is open, and the kernel reads as many bytes as the value has.
    #[expect(unsafe_code, reason = "setsockopt(2) of an option that no crate has")]
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IPV6, option, value.as_ptr().cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
