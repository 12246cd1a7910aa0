//! Packets as the cgroup programs see them, from the IP header on, and the verdict on them.
#![expect(clippy::cast_possible_truncation, reason = "halves of words are meant, and sizes of types")]
#![expect(unsafe_code, reason = "reading packets and their context is what this module is for")]

mod first;
mod linear;

pub use first::FirstPacket;

use core::ffi::c_void;
use core::ptr::null_mut;

use aya_ebpf::bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, BPF_TCP_LISTEN};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_sk_storage_get, bpf_skb_cgroup_id, bpf_skb_load_bytes,
};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::SkBuffContext;
use netcause_common::endpoint::Address;
use netcause_common::statistics::Statistic;

use crate::maps::count;
use crate::verifier::{between_two_and, forget, opaque};

/// The verdict of every program: the packet passes. 0 would drop it.
pub const PASS: i32 = 1;

/// RFC 768: two ports, length, checksum.
pub const UDP_HEADER_BYTES: u32 = 8;
/// RFC 9293 §3.1, without options.
const TCP_HEADER_WORDS: usize = 5;
const TCP_SYN: u32 = 2;
/// Mask of all lengths that an IP header may have, with its extension headers.
const HEADER_LENGTH_MASK: u32 = 0x1ff;
/// RFC 8200 §3.
const IPV6_HEADER_BYTES: u32 = 40;
/// Extension headers that are parsed; RFC 8200 §4.1 has five in its order, of which the fragment header is gone.
const MAX_EXTENSIONS: u32 = 4;

/// Direction of a packet, seen from the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the socket.
    Received,
    /// From the socket.
    Sent,
}

/// The part of an IP header that the programs use.
#[derive(Clone, Copy)]
pub struct Ip {
    /// Protocol of the payload.
    pub protocol: u8,
    /// Length of the header: offset of the payload.
    pub length: u32,
    is_v6: bool,
}

impl Ip {
    /// True when extension headers come before the transport.
    #[inline(always)]
    pub fn is_extended(self) -> bool {
        self.is_v6 && is_extension(self.protocol)
    }
}

/// True of the extension headers that end hosts send (IANA, IPv6 Extension Header Types): hop-by-hop options, routing and
/// destination options. Fragments are reassembled before programs see them, and the transport behind ESP cannot be read.
#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION: u8 = 60;
    matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION)
}

/// UDP datagrams of a packet and their payload: the kernel may carry several in one buffer. Both are 0 for TCP.
#[derive(Clone, Copy)]
pub struct Volume {
    /// Number of datagrams.
    pub count: u64,
    /// Their payload in bytes.
    pub bytes: u64,
}

/// Source and destination port in network order.
#[derive(Clone, Copy)]
pub struct Ports(u32);

impl Ports {
    // The first is in the lower half on every processor that the object is built for.
    /// The source port, in network order.
    #[inline(always)]
    pub fn source(self) -> u16 {
        self.0 as u16
    }

    /// The destination port, in network order.
    #[inline(always)]
    pub fn destination(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Sender and receiver of a packet, seen from the socket.
#[derive(Clone, Copy)]
pub struct Ends {
    /// The peer's address.
    pub remote: Address,
    /// The peer's port, in host order.
    pub remote_port: u16,
    /// The local port, in host order.
    pub local_port: u16,
}

/// A TCP segment.
pub struct Segment {
    /// The two ends.
    pub ends: Ends,
    /// Sequence number of its first byte, or of its SYN.
    pub sequence: u32,
    /// Offset of its payload in the packet.
    pub payload: u32,
    /// Length of its payload.
    pub length: u32,
    /// True when the flag SYN is set.
    pub is_syn: bool,
}

/// Continues with the program at `index`. Returns only when there is none, or after 33 programs (`MAX_TAIL_CALL_CNT`).
#[inline(always)]
pub fn tail_call(programs: &ProgramArray, context: &SkBuffContext, index: u32) {
    // SAFETY: no value here needs to be dropped.
    unsafe {
        programs.tail_call(context, index);
    }
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

    /// Its IP version.
    #[inline(always)]
    pub fn version(self) -> Option<u8> {
        self.at::<[u8; 20]>(0).map(|ip| ip[0] >> 4)
    }

    /// Its IP header of version 4.
    ///
    /// The kernel ensures that headers lie in the packet's linear part, and it runs these programs before it fragments a
    /// datagram and after it has reassembled one (`ip_finish_output`, net/ipv4/ip_output.c;
    /// `sk_filter_trim_cap`, net/core/filter.c).
    #[inline(always)]
    pub fn ip_v4(self) -> Option<Ip> {
        let ip: &[u8; 20] = self.at(0)?;
        Some(Ip { protocol: ip[9], length: u32::from(ip[0] & 0xf) * 4, is_v6: false })
    }

    /// Its IP header of version 6; the protocol is that of the first extension header, if there is one.
    #[inline(always)]
    pub fn ip_v6(self) -> Option<Ip> {
        let ip: &[u8; 20] = self.at(0)?;
        Some(Ip { protocol: ip[6], length: IPV6_HEADER_BYTES, is_v6: true })
    }

    /// The same header with those that extend it (RFC 8200 §4): up to where the transport begins. `None` when there are more
    /// or longer ones than programs can parse; they are counted.
    #[inline(always)]
    pub fn extended(self, ip: Ip) -> Option<Ip> {
        let Ip { mut protocol, mut length, is_v6 } = ip;
        let mut left = MAX_EXTENSIONS;
        while left > 0 && is_extension(protocol) {
            left -= 1;
            // The kernel has parsed or made it, so that it lies in the linear part too.
            let header: [u8; 2] = *self.at((opaque(length) & HEADER_LENGTH_MASK) as usize)?;
            protocol = header[0];
            // In units of eight bytes, without the first.
            length += (u32::from(header[1]) + 1) * 8;
            if length > HEADER_LENGTH_MASK {
                break;
            }
        }
        if is_extension(protocol) || length > HEADER_LENGTH_MASK {
            count(Statistic::ExtensionsUnread);
            return None;
        }
        Some(Ip { protocol, length: opaque(length) & HEADER_LENGTH_MASK, is_v6 })
    }

    /// Its IP header of either version, for programs whose cost does not depend on one more branch.
    #[inline(always)]
    pub fn ip(self) -> Option<Ip> {
        let ip = if self.version()? == 4 { self.ip_v4()? } else { self.ip_v6()? };
        let ip = if ip.is_extended() { self.extended(ip)? } else { ip };
        Some(Ip { length: forget(ip.length.into(), self.length().into()) as u32 & HEADER_LENGTH_MASK, ..ip })
    }

    /// The ports of UDP and TCP.
    #[inline(always)]
    pub fn ports(self, ip: Ip) -> Option<Ports> {
        self.at(ip.length as usize).copied().map(Ports)
    }

    /// What a UDP packet carries.
    #[inline(always)]
    pub fn volume(self, ip: Ip) -> Volume {
        // SAFETY: the context is the program's own; the verifier checks the offset.
        let segments = unsafe { (*self.0).gso_segs };
        let bytes = self.length().saturating_sub(ip.length + UDP_HEADER_BYTES).into();
        Volume { count: segments.max(1).into(), bytes }
    }

    /// The segment of a TCP packet.
    #[inline(always)]
    pub fn segment(self, ip: Ip, direction: Direction) -> Option<Segment> {
        let header: [u32; TCP_HEADER_WORDS] = *self.at(ip.length as usize)?;
        let (sequence, flags) = (u32::from_be(header[1]), u32::from_be(header[3]) >> 16);
        let payload = ip.length + (flags >> 12) * 4;
        Some(Segment {
            ends: self.ends(ip, direction)?,
            sequence,
            payload,
            length: self.length().saturating_sub(payload),
            is_syn: flags & TCP_SYN != 0,
        })
    }

    /// Sender and receiver of a UDP or TCP packet.
    #[inline(always)]
    pub fn ends(self, ip: Ip, direction: Direction) -> Option<Ends> {
        let ports = self.ports(ip)?;
        let (source, destination) = (u16::from_be(ports.source()), u16::from_be(ports.destination()));
        let (local_port, remote_port) =
            if direction == Direction::Sent { (source, destination) } else { (destination, source) };
        let remote = if ip.is_v6 {
            let at = if direction == Direction::Sent { 24 } else { 8 };
            Address::from_network_order(*self.at(at)?)
        } else {
            let at = if direction == Direction::Sent { 16 } else { 12 };
            Address::from_v4_network_order(*self.at(at)?)
        };
        Some(Ends { remote, remote_port, local_port })
    }

    /// Length from the IP header on.
    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: the context is the program's own; the verifier checks the offset.
        unsafe { (*self.0).len }
    }

    /// Copies as many bytes as `to` holds, from any part of the packet; false when the packet is shorter.
    #[inline(always)]
    pub fn load<T: ?Sized>(self, offset: u32, to: &mut T) -> bool {
        let length = size_of_val(to) as u32;
        // SAFETY: the size is that of the value, and the verifier checks it; every caller's type consists of plain bytes.
        unsafe { self.load_to(offset, (&raw mut *to).cast(), length) }
    }

    /// Copies `wanted` bytes, at least two and at most `CAPACITY`; returns the number of bytes. (A single byte is never useful,
    /// and verifiers before 5.19 learn nothing from a comparison with zero.)
    ///
    /// # Safety
    ///
    /// `to` is valid for writes of `CAPACITY` bytes.
    #[inline(always)]
    pub unsafe fn load_up_to<const CAPACITY: usize>(
        self,
        offset: u32,
        to: *mut c_void,
        wanted: u32,
    ) -> Option<u32> {
        if wanted < 2 {
            return None;
        }
        let length = between_two_and::<CAPACITY>(wanted);
        // SAFETY: the context is the program's own, and the caller guarantees the size.
        unsafe { self.load_to(offset, to, length).then_some(length) }
    }

    #[inline(always)]
    unsafe fn load_to(self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the context is the program's own, and the caller guarantees the size.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, length) == 0 }
    }

    /// The cgroup of the packet's socket.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        // SAFETY: the context is the program's own.
        unsafe { bpf_skb_cgroup_id(self.0) }
    }

    /// The port that the packet's socket is connected to, in network order; 0 when it is not connected.
    #[inline(always)]
    pub fn connected_port(self) -> u16 {
        // SAFETY: the context is the program's own; the verifier wants the test for NULL. The port is read as the 32 bits
        // that it was before 5.18, which later kernels fill up with zeros; it is the lower half on every processor that the
        // object is built for.
        unsafe {
            let socket = (*self.0).__bindgen_anon_2.sk;
            if socket.is_null() {
                0
            } else {
                (&raw const (*socket).dst_port).cast::<u32>().read_volatile() as u16
            }
        }
    }

    /// The ends of a packet that its socket sends, as the socket knows them: rules of its own network namespace may have
    /// translated the packet by now, and answers come back under the addresses and ports that they replaced. The peer of a
    /// socket that is not connected is the packet's.
    #[inline(always)]
    pub fn socket_ends(self, ends: Ends) -> Ends {
        // SAFETY: the context is the program's own, and the verifier wants the test for NULL.
        unsafe {
            let socket = (*self.0).__bindgen_anon_2.sk;
            if socket.is_null() {
                return ends;
            }
            let local_port = (&raw const (*socket).src_port).read_volatile() as u16;
            let remote_port = (&raw const (*socket).dst_port).cast::<u32>().read_volatile() as u16;
            if remote_port == 0 {
                return Ends { local_port, ..ends };
            }
            let remote = if ends.remote.to_v4_network_order().is_some() {
                Address::from_v4_network_order((&raw const (*socket).dst_ip4).read_volatile())
            } else {
                let words = [0, 1, 2, 3].map(|word| (&raw const (*socket).dst_ip6[word]).read_volatile());
                Address::from_network_order(words)
            };
            Ends { remote, remote_port: u16::from_be(remote_port), local_port }
        }
    }

    /// The cookie of the packet's socket; 0 without one.
    #[inline(always)]
    pub fn socket_cookie(self) -> u64 {
        // SAFETY: the context is the program's own.
        unsafe { bpf_get_socket_cookie(self.0.cast()) }
    }

    /// A map's value in the storage of the packet's socket, zeros at first. `None` without memory for it, and for a listening
    /// socket: the kernel assigns packets to that one until it has created the socket of the connection.
    #[inline(always)]
    pub fn storage<T>(self, map: &'static SkStorage<T>) -> Option<*mut T> {
        // SAFETY: the context is the program's own; the verifier wants the test for NULL. The helper refuses request and
        // time-wait sockets (`sk_fullsock`).
        unsafe {
            let socket = (*self.0).__bindgen_anon_2.sk;
            if socket.is_null() || (&raw const (*socket).state).read_volatile() == BPF_TCP_LISTEN {
                return None;
            }
            let map = (&raw const *map).cast_mut().cast();
            let value =
                bpf_sk_storage_get(map, socket.cast(), null_mut(), BPF_SK_STORAGE_GET_F_CREATE.into());
            (!value.is_null()).then_some(value.cast())
        }
    }

    /// Reference to a value at an offset; `None` when the packet is shorter.
    #[inline(always)]
    fn at<T>(self, offset: usize) -> Option<&'static T> {
        // SAFETY: the context is the program's own. The reference lies inside the packet, which outlives the program's
        // run; the verifier checks the comparison. Every value of the types it is used for is valid, and the kernel
        // aligns IP headers to four bytes wherever the processor wants that (`NET_IP_ALIGN`).
        unsafe {
            let (start, end) = ((*self.0).data as usize, (*self.0).data_end as usize);
            let at = start + offset;
            if at + size_of::<T>() > end { None } else { Some(&*(at as *const T)) }
        }
    }
}
