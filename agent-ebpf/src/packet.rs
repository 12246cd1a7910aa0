//! Packets as the cgroup programs see them: from the IP header on.
#![expect(unsafe_code, reason = "reading packets and their context is what this module is for")]

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_cgroup_id;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::endpoint::Address;
use netcause_common::flow::PROTOCOL_UDP;

/// RFC 768: two ports, length, checksum.
const UDP_HEADER_BYTES: u32 = 8;
/// RFC 8200 §3.
const IPV6_HEADER_BYTES: u32 = 40;

/// Which way a packet goes, seen from the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the socket.
    Received,
    /// From the socket.
    Sent,
}

/// One or more datagrams of one socket and one peer: the kernel may carry several in one buffer.
pub struct Datagrams {
    /// The peer.
    pub remote: Address,
    /// The peer's port, in host order.
    pub remote_port: u16,
    /// The port here, in host order.
    pub local_port: u16,
    /// How many.
    pub count: u64,
    /// Their payload in octets.
    pub bytes: u64,
}

/// A packet of a cgroup program.
#[derive(Clone, Copy)]
pub struct Packet(*mut __sk_buff);

impl Packet {
    /// From the program's context.
    #[inline(always)]
    pub fn of(context: &SkBuffContext) -> Self {
        Self(context.skb.skb)
    }

    /// The datagrams it holds; `None` when it is no UDP. TCP is told by one octet of the IP header.
    ///
    /// The kernel has seen to it that the headers lie in the packet's linear part, and it calls these programs before it
    /// cuts a datagram into fragments and after it has put them together (`ip_finish_output`, net/ipv4/ip_output.c;
    /// `sk_filter_trim_cap`, net/core/filter.c). IPv6 extension headers before UDP are not followed.
    #[inline(always)]
    pub fn datagrams(self, direction: Direction) -> Option<Datagrams> {
        let ip: &[u8; 20] = self.at(0)?;
        match ip[0] >> 4 {
            4 if ip[9] == PROTOCOL_UDP => {
                let header = u32::from(ip[0] & 0xf) * 4;
                let at = if direction == Direction::Sent { 16 } else { 12 };
                let remote = u32::from_ne_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]);
                self.datagrams_behind(header, direction, Address::from_v4_network_order(remote))
            }
            6 if ip[6] == PROTOCOL_UDP => {
                let at = if direction == Direction::Sent { 24 } else { 8 };
                let remote = Address::from_network_order(*self.at(at)?);
                self.datagrams_behind(IPV6_HEADER_BYTES, direction, remote)
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn datagrams_behind(self, header: u32, direction: Direction, remote: Address) -> Option<Datagrams> {
        let [source, destination]: [u16; 2] = *self.at(header as usize)?;
        let (source, destination) = (u16::from_be(source), u16::from_be(destination));
        let (local_port, remote_port) =
            if direction == Direction::Sent { (source, destination) } else { (destination, source) };
        // SAFETY: the context is the program's own; the verifier checks the offsets.
        let (length, segments) = unsafe { ((*self.0).len, (*self.0).gso_segs) };
        Some(Datagrams {
            remote,
            remote_port,
            local_port,
            count: segments.max(1).into(),
            bytes: length.saturating_sub(header + UDP_HEADER_BYTES).into(),
        })
    }

    /// The cgroup of the packet's socket.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        // SAFETY: the context is the program's own.
        unsafe { bpf_skb_cgroup_id(self.0) }
    }

    /// True when the packet's socket is connected to one peer.
    #[inline(always)]
    pub fn has_connected_socket(self) -> bool {
        // SAFETY: the context is the program's own; the verifier wants the test for NULL. The port is read as the 32 bits
        // that it was before 5.18; later kernels fill them up with zeros.
        unsafe {
            let socket = (*self.0).__bindgen_anon_2.sk;
            !socket.is_null() && (&raw const (*socket).dst_port).cast::<u32>().read_volatile() != 0
        }
    }

    /// What lies at an offset; `None` when the packet ends before it does.
    #[inline(always)]
    fn at<T>(self, offset: usize) -> Option<&'static T> {
        // SAFETY: the context is the program's own. The reference lies inside the packet, which outlives the program's
        // run; the verifier checks the comparison. Every value of the types it is used for is valid, and the kernel
        // aligns IP headers to four octets wherever the processor wants that (`NET_IP_ALIGN`).
        unsafe {
            let (start, end) = ((*self.0).data as usize, (*self.0).data_end as usize);
            let at = start + offset;
            if at + size_of::<T>() > end { None } else { Some(&*(at as *const T)) }
        }
    }
}
