//! What a frame carries, as far as the path looks into it.

use std::net::IpAddr;

/// An Ethernet header (IEEE 802.3), and where its type is.
const HEADER: usize = 14;

/// What a frame carries.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// Who has which address: ARP (RFC 826), neighbour discovery (RFC 4861 §4).
    Neighbours,
    /// An IP packet.
    Packet(Packet),
    /// Anything else.
    Other,
}

/// An IP packet.
#[derive(Debug, PartialEq)]
pub(super) struct Packet {
    /// From and to.
    pub(super) ends: [IpAddr; 2],
    /// From and to, of TCP and UDP.
    pub(super) ports: Option<[u16; 2]>,
    is_tcp: bool,
    /// A SYN.
    pub(super) begins: bool,
}

/// A connection, the same for both directions.
pub(super) type Flow = [(IpAddr, u16); 2];

impl Kind {
    pub(super) fn of(frame: &[u8]) -> Self {
        match frame.get(12..HEADER) {
            Some([0x08, 0x06]) => Self::Neighbours,
            Some([0x08, 0x00]) => Packet::v4(&frame[HEADER..]).map_or(Self::Other, Self::Packet),
            Some([0x86, 0xdd]) => Self::v6(&frame[HEADER..]).unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }

    /// RFC 8200 §3, without extension headers, which the lab's traffic has not.
    fn v6(packet: &[u8]) -> Option<Self> {
        let next = *packet.get(6)?;
        if next == 58 && matches!(packet.get(40)?, 133..=137) {
            return Some(Self::Neighbours);
        }
        let from: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
        let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
        Some(Self::Packet(Packet::new([from.into(), to.into()], next, packet.get(40..)?)))
    }
}

impl Packet {
    /// RFC 791 §3.1.
    fn v4(packet: &[u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 15) * 4;
        let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
        let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
        Some(Self::new([from.into(), to.into()], *packet.get(9)?, packet.get(header..)?))
    }

    fn new(ends: [IpAddr; 2], protocol: u8, payload: &[u8]) -> Self {
        let is_tcp = protocol == 6;
        let port = |at: usize| Some(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
        let ports = if is_tcp || protocol == 17 { port(0).zip(port(2)) } else { None };
        // RFC 9293 §3.1.
        let begins = is_tcp && payload.get(13).is_some_and(|flags| flags & 0x02 != 0);
        Self { ends, ports: ports.map(|(from, to)| [from, to]), is_tcp, begins }
    }

    /// The connection of TCP that it is of.
    pub(super) fn connection(&self) -> Option<Flow> {
        let [from, to] = self.ports.filter(|_| self.is_tcp)?;
        let mut flow = [(self.ends[0], from), (self.ends[1], to)];
        flow.sort_unstable();
        Some(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: [u8; 4], to: [u8; 4], ports: [u16; 2], flags: u8) -> Vec<u8> {
        let mut frame = vec![0; HEADER + 40];
        (frame[12], frame[13]) = (8, 0);
        let packet = &mut frame[HEADER..];
        (packet[0], packet[9]) = (0x45, 6);
        packet[12..16].copy_from_slice(&from);
        packet[16..20].copy_from_slice(&to);
        packet[20..22].copy_from_slice(&ports[0].to_be_bytes());
        packet[22..24].copy_from_slice(&ports[1].to_be_bytes());
        packet[33] = flags;
        frame
    }

    #[test]
    fn both_directions_are_one_connection() {
        let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let there = Kind::of(&segment(a, b, [40_000, 80], 0x02));
        let back = Kind::of(&segment(b, a, [80, 40_000], 0x10));
        let (Kind::Packet(there), Kind::Packet(back)) = (there, back) else { panic!("no packets") };
        assert!(there.begins && !back.begins);
        assert_eq!(there.ports, Some([40_000, 80]));
        assert!(there.connection().is_some());
        assert_eq!(there.connection(), back.connection());
    }

    #[test]
    fn what_is_short_or_foreign_is_something_else() {
        assert_eq!(Kind::of(&[]), Kind::Other);
        let frame = segment([10, 0, 0, 1], [10, 0, 0, 2], [1, 2], 0);
        assert_eq!(Kind::of(&frame[..HEADER + 10]), Kind::Other);
        let mut arp = frame;
        arp[13] = 6;
        assert_eq!(Kind::of(&arp), Kind::Neighbours);
    }
}
