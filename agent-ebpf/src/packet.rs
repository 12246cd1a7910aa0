//! Packets as the cgroup programs see them: from the IP header on.
#![expect(clippy::cast_possible_truncation, reason = "halves of words are meant, and sizes of types")]
#![expect(unsafe_code, reason = "reading packets and their context is what this module is for")]

use core::ffi::c_void;
use core::ptr::null_mut;

use aya_ebpf::bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, BPF_TCP_LISTEN};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::{bpf_sk_storage_get, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::SkBuffContext;
use netcause_common::endpoint::Address;

use crate::dns::is_either;

/// RFC 768: two ports, length, checksum.
pub const UDP_HEADER_BYTES: u32 = 8;
/// RFC 9293 §3.1, without options.
const TCP_HEADER_WORDS: usize = 5;
const TCP_SYN: u32 = 2;
/// All bits that the length of an IP header can have.
const LARGEST_HEADER: u32 = 0x7f;
/// The verifier follows offsets into packets up to 65 535 (`MAX_PACKET_OFF`, kernel/bpf/verifier.c).
const FARTHEST: u32 = 0x7fff;
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

/// What the IP header says.
#[derive(Clone, Copy)]
pub struct Ip {
    /// The protocol of what follows.
    pub protocol: u8,
    /// Where that begins.
    pub length: u32,
    is_v6: bool,
}

/// One or more datagrams of one socket and one peer: the kernel may carry several in one buffer.
pub struct Datagrams {
    /// The two ends.
    pub ends: Ends,
    /// How many.
    pub count: u64,
    /// Their payload in octets.
    pub bytes: u64,
}

/// Source and destination port in network order.
#[derive(Clone, Copy)]
pub struct Ports(u32);

impl Ports {
    /// True when either is one of DNS.
    #[inline(always)]
    pub fn are_of_dns(self) -> bool {
        is_either(self.0 as u16, (self.0 >> 16) as u16)
    }
}

/// Who a packet is from and for, seen from the socket.
#[derive(Clone, Copy)]
pub struct Ends {
    /// The peer.
    pub remote: Address,
    /// The peer's port, in host order.
    pub remote_port: u16,
    /// The port here, in host order.
    pub local_port: u16,
}

/// A TCP segment.
pub struct Segment {
    /// The two ends.
    pub ends: Ends,
    /// Sequence number of its first octet, or of its SYN.
    pub sequence: u32,
    /// Where its payload begins in the packet.
    pub payload: u32,
    /// Octets of its payload.
    pub length: u32,
    /// Opens the connection.
    pub is_syn: bool,
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
    /// The kernel has seen to it that headers lie in the packet's linear part, and it calls these programs before it
    /// cuts a datagram into fragments and after it has put them together (`ip_finish_output`, net/ipv4/ip_output.c;
    /// `sk_filter_trim_cap`, net/core/filter.c).
    #[inline(always)]
    pub fn ip_v4(self) -> Option<Ip> {
        let ip: &[u8; 20] = self.at(0)?;
        Some(Ip { protocol: ip[9], length: u32::from(ip[0] & 0xf) * 4, is_v6: false })
    }

    /// The same of version 6. Extension headers are not followed.
    #[inline(always)]
    pub fn ip_v6(self) -> Option<Ip> {
        let ip: &[u8; 20] = self.at(0)?;
        Some(Ip { protocol: ip[6], length: IPV6_HEADER_BYTES, is_v6: true })
    }

    /// Its IP header of either version, for programs that have more to do than to tell them apart.
    #[inline(always)]
    pub fn ip(self) -> Option<Ip> {
        let ip = if self.version()? == 4 { self.ip_v4() } else { self.ip_v6() }?;
        // The verifier has lost sight of the bound, where both versions meet.
        Some(Ip { length: opaque(ip.length) & LARGEST_HEADER, ..ip })
    }

    /// The ports of UDP and TCP.
    #[inline(always)]
    pub fn ports(self, ip: Ip) -> Option<Ports> {
        self.at(ip.length as usize).copied().map(Ports)
    }

    /// The datagrams of a UDP packet.
    #[inline(always)]
    pub fn datagrams(self, ip: Ip, direction: Direction) -> Option<Datagrams> {
        let ends = self.ends(ip, direction)?;
        // SAFETY: the context is the program's own; the verifier checks the offset.
        let segments = unsafe { (*self.0).gso_segs };
        let bytes = self.length().saturating_sub(ip.length + UDP_HEADER_BYTES).into();
        Some(Datagrams { ends, count: segments.max(1).into(), bytes })
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

    #[inline(always)]
    fn ends(self, ip: Ip, direction: Direction) -> Option<Ends> {
        let Ports(ports) = self.ports(ip)?;
        // The first stands in the lower half on every processor that the object is for.
        let (source, destination) = (u16::from_be(ports as u16), u16::from_be((ports >> 16) as u16));
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

    /// Octets from the IP header on.
    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: the context is the program's own; the verifier checks the offset.
        unsafe { (*self.0).len }
    }

    /// As [`Self::load`]; cheaper where the octets lie in the packet's linear part, as those of small packets do.
    #[inline(always)]
    pub fn read<T: Copy + 'static>(self, offset: u32, to: &mut T) -> bool {
        match self.near::<T>(offset) {
            Some(octets) => {
                *to = *octets;
                true
            }
            None => self.load(offset, to),
        }
    }

    /// What lies at an offset of the packet's linear part, as small packets do altogether.
    #[inline(always)]
    pub fn near<T: 'static>(self, offset: u32) -> Option<&'static T> {
        let near = opaque(offset);
        if near <= FARTHEST { self.at(near as usize) } else { None }
    }

    /// Copies as many octets as `to` has room for, wherever they lie; false when the packet ends before.
    #[inline(always)]
    pub fn load<T: ?Sized>(self, offset: u32, to: &mut T) -> bool {
        let length = size_of_val(to) as u32;
        // SAFETY: the room is the value's own, and the verifier checks it; every caller's type is of plain octets.
        unsafe { self.load_to(offset, (&raw mut *to).cast(), length) }
    }

    /// As [`Self::load`], of as many octets as are wanted and there is room for, but at least two; returns how many.
    /// (One octet is never of use, and verifiers before 5.19 learn nothing from a comparison with zero.)
    ///
    /// # Safety
    ///
    /// `ROOM` octets may be written there.
    #[inline(always)]
    pub unsafe fn load_up_to<const ROOM: usize>(
        self,
        offset: u32,
        to: *mut c_void,
        wanted: u32,
    ) -> Option<u32> {
        if wanted < 2 {
            return None;
        }
        let length = between_two_and::<ROOM>(wanted);
        // SAFETY: the context is the program's own, and the caller answers for the room.
        unsafe { self.load_to(offset, to, length).then_some(length) }
    }

    #[inline(always)]
    unsafe fn load_to(self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the context is the program's own, and the caller answers for the room.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, length) == 0 }
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

    /// What a table keeps at the packet's socket, zeros at first. `None` when there is no memory for it, and for a socket
    /// that listens: until the kernel has made the connection's own, that is what it says the packet is for.
    #[inline(always)]
    pub fn at_socket<T>(self, table: &'static SkStorage<T>) -> Option<*mut T> {
        // SAFETY: the context is the program's own; the verifier wants the test for NULL. The helper refuses sockets that are
        // none yet, or no longer (`sk_fullsock`).
        unsafe {
            let socket = (*self.0).__bindgen_anon_2.sk;
            if socket.is_null() || (&raw const (*socket).state).read_volatile() == BPF_TCP_LISTEN {
                return None;
            }
            let table = (&raw const *table).cast_mut().cast();
            let kept =
                bpf_sk_storage_get(table, socket.cast(), null_mut(), BPF_SK_STORAGE_GET_F_CREATE.into());
            (!kept.is_null()).then_some(kept.cast())
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

/// Keeps a length between two and `MOST`, in the register that it is handed over in: the compiler may compare a value that it
/// has also on the stack, and take that one, of which older verifiers (6.1) have learned nothing.
#[inline(always)]
fn between_two_and<const MOST: usize>(length: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut length = u64::from(length);
        // SAFETY: only the register changes.
        unsafe {
            core::arch::asm!(
                "if r4 < {more} goto +1",
                "r4 = {most}",
                "if r4 > 1 goto +1",
                "r4 = 2",
                more = const MOST + 1,
                most = const MOST,
                inout("r4") length,
                options(pure, nomem, nostack)
            );
        }
        length as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    length.clamp(2, MOST as u32)
}

/// Hides where a value comes from, so that the compiler compares this very value, which is what the verifier looks at.
#[inline(always)]
fn opaque(value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = u64::from(value);
        // SAFETY: a move to itself. (Without an instruction two lines of debug information would meet, which the kernel refuses.)
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}
