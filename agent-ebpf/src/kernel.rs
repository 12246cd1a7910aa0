//! The only place that reads kernel memory.
//!
//! Offsets come from [`LAYOUT`], which the daemon fills from the running kernel's BTF before the load: the verifier
//! sees constants. Arguments of BTF tracepoints are typed pointers that may be read directly, at the price of one
//! load; what is reached through untyped pointers goes through `bpf_probe_read_kernel`.
#![expect(unsafe_code, reason = "reading kernel memory is what this module is for")]

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::{bpf_skc_to_tcp_sock, bpf_sock_from_file};
use netcause_common::endpoint::Address;
use netcause_common::flow::LOCAL_IS_NAMESPACE;
use netcause_common::layout::{KernelLayout, MISSING};

/// Set by the daemon. Read-only for the programs, so the verifier knows every value and prunes what cannot be.
#[unsafe(no_mangle)]
static LAYOUT: KernelLayout = KernelLayout::UNKNOWN;

/// One value of [`LAYOUT`], read so that the compiler cannot replace it by the default it sees here.
macro_rules! layout {
    ($field:ident) => {
        // SAFETY: a static is valid and aligned; volatile because the daemon replaces the value before the load.
        unsafe { (&raw const LAYOUT.$field).read_volatile() }
    };
}

/// True when [`TcpSock::from_socket_file`] can be called.
#[inline(always)]
pub fn has_sock_from_file() -> bool {
    layout!(has_sock_from_file) == 1
}

/// True when `udp_fail_queue_rcv_skb` has a third argument, the packet.
#[inline(always)]
pub fn udp_drop_has_packet() -> bool {
    layout!(udp_drop_has_packet) == 1
}

/// True when `tcp_retransmit_skb` has a third argument, the result of the transmission.
#[inline(always)]
pub fn retransmit_has_error() -> bool {
    layout!(retransmit_has_error) == 1
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const SOCK_STREAM: u16 = 1;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// TCP states, from `include/net/tcp_states.h`: fixed, user space sees them.
pub mod tcp_state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const CLOSE: u8 = 7;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
}

/// A way to read memory of the kernel.
pub trait Memory: Copy {
    /// Reads a `T` at `offset`; zero when the memory cannot be read.
    fn read<T: Copy + Default>(self, offset: u32) -> T;
    /// Where the pointer at `offset` leads to.
    fn follow(self, offset: u32) -> Self;
}

/// A pointer whose type the verifier knows: one load per read, a fault reads as zero.
#[derive(Clone, Copy)]
pub struct Typed(*const c_void);

impl Memory for Typed {
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the verifier proves that the pointer is a live kernel object and that the offset lies inside a
        // member of it (`btf_struct_access`); the CPU's fault, if any, is handled by the kernel's exception table.
        // Volatile keeps the compiler from merging neighbouring loads into one that crosses members.
        unsafe { self.0.byte_add(offset as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        // SAFETY: as in `read`; the verifier knows the type of what a typed member points to.
        Self(unsafe { self.0.byte_add(offset as usize).cast::<*const c_void>().read_volatile() })
    }
}

/// A pointer that was itself read from memory: every read is a checked copy.
#[derive(Clone, Copy)]
pub struct Untyped(u64);

impl Memory for Untyped {
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: u32) -> T {
        let address = self.0.wrapping_add(u64::from(offset)) as *const T;
        // SAFETY: the helper accepts any address and fails on what cannot be read.
        unsafe { bpf_probe_read_kernel(address) }.unwrap_or_default()
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        Self(self.read(offset))
    }
}

/// The part that full sockets, request sockets and time-wait sockets share: `struct sock_common`.
#[derive(Clone, Copy)]
pub struct SockCommon<M>(M);

impl SockCommon<Typed> {
    /// From a `struct sock *` or `struct request_sock *` argument, which begin with a `struct sock_common`.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(Typed(pointer)))
    }
}

impl<M: Memory> SockCommon<M> {
    /// TCP state.
    #[inline(always)]
    pub fn state(self) -> u8 {
        self.0.read(layout!(skc_state))
    }

    /// Remote address; v4-mapped for IPv4, whatever the socket's family.
    #[inline(always)]
    pub fn remote_address(self) -> Address {
        let v6 = layout!(skc_v6_daddr);
        if v6 == MISSING || self.0.read::<u16>(layout!(skc_family)) == AF_INET {
            Address::from_v4_network_order(self.0.read(layout!(skc_daddr)))
        } else {
            Address { words: [self.0.read(v6), self.0.read(v6 + 8)] }
        }
    }

    /// Remote port, host order.
    #[inline(always)]
    pub fn remote_port(self) -> u16 {
        u16::from_be(self.0.read(layout!(skc_dport)))
    }

    /// Local port, host order; 0 once the socket is unhashed.
    #[inline(always)]
    pub fn local_port_while_hashed(self) -> u16 {
        self.0.read(layout!(skc_num))
    }
}

/// A full socket of TCP.
#[derive(Clone, Copy)]
pub struct TcpSock<M> {
    memory: M,
    /// The address of the `struct sock`: what the socket is called in the tables.
    pub id: u64,
}

impl TcpSock<Typed> {
    /// From a `struct sock *` argument; `None` when it is NULL, no TCP, or no full socket (time-wait, request).
    #[inline(always)]
    pub fn from_argument(pointer: *mut c_void) -> Option<Self> {
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the helper takes a typed socket pointer, checks protocol and state and returns it as a
        // `struct tcp_sock *`, or NULL (5.9 on).
        let tcp = unsafe { bpf_skc_to_tcp_sock(pointer) };
        (!tcp.is_null()).then(|| Self { memory: Typed(tcp.cast_const().cast()), id: tcp as u64 })
    }

    /// From an open file; `None` when it is no TCP socket. Only where [`has_sock_from_file`] says so.
    #[inline(always)]
    pub fn from_socket_file(file: *const c_void) -> Option<Self> {
        // SAFETY: the helper takes a typed file and returns its socket, or NULL when it is none (5.11 on).
        let socket = unsafe { bpf_sock_from_file(file.cast_mut().cast()) };
        if socket.is_null() {
            return None;
        }
        Self::from_argument(Typed(socket.cast_const().cast()).follow(layout!(socket_sk)).0.cast_mut())
    }
}

impl TcpSock<Untyped> {
    /// From an open file; `None` when it is no TCP socket.
    #[inline(always)]
    pub fn from_file(file: *const c_void) -> Option<Self> {
        let inode = Typed(file).read::<*const c_void>(layout!(file_inode));
        if Typed(inode).read::<u16>(layout!(inode_mode)) & S_IFMT != S_IFSOCK {
            return None;
        }
        let socket = Untyped(Typed(file).read(layout!(file_private_data)));
        let id = socket.read::<u64>(layout!(socket_sk));
        let memory = Untyped(id);
        // Netlink has a protocol 6 of its own, and a raw socket may carry TCP's number.
        let is_tcp = id != 0
            && memory.read::<u16>(layout!(sk_protocol)) == IPPROTO_TCP
            && memory.read::<u16>(layout!(sk_type)) == SOCK_STREAM
            && matches!(memory.read(layout!(skc_family)), AF_INET | AF_INET6);
        is_tcp.then_some(Self { memory, id })
    }
}

impl<M: Memory> TcpSock<M> {
    /// What it shares with other kinds of socket.
    #[inline(always)]
    pub fn common(self) -> SockCommon<M> {
        SockCommon(self.memory)
    }

    /// Local port, host order; it outlives the unhashing at the close. 0 when none was ever assigned.
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        u16::from_be(self.memory.read(layout!(inet_sport)))
    }

    /// Pending error, as a positive error number; 0 when there is none.
    #[inline(always)]
    pub fn error(self) -> i32 {
        self.memory.read(layout!(sk_err))
    }

    /// Last error that did not end the connection, such as an ICMP message; 0 when there is none.
    #[inline(always)]
    pub fn soft_error(self) -> i32 {
        self.memory.read(layout!(sk_err_soft))
    }

    /// Segments sent again over the socket's life, tried transmissions that failed included.
    #[inline(always)]
    pub fn total_retransmits(self) -> u32 {
        self.memory.read(layout!(total_retrans))
    }

    /// Octets that the peer has acknowledged. A client's SYN and the FIN count as one each
    /// (`tcp_snd_una_update`, net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn acknowledged_octets(self) -> u64 {
        self.memory.read(layout!(bytes_acked))
    }

    /// Octets received in order. The FIN counts as one (`tcp_rcv_nxt_update`, net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn received_octets(self) -> u64 {
        self.memory.read(layout!(bytes_received))
    }

    /// True when everything that was ever written has been acknowledged, a FIN included.
    #[inline(always)]
    pub fn is_all_acknowledged(self) -> bool {
        self.memory.read::<u32>(layout!(snd_una)) == self.memory.read::<u32>(layout!(write_seq))
    }

    /// True when the peer's FIN was received: `SOCK_DONE`, which only `tcp_fin` sets (net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn is_fin_received(self) -> bool {
        self.memory.read::<u64>(layout!(skc_flags)) >> layout!(sock_done) & 1 != 0
    }

    /// True while a file holds the socket; false before it is accepted, and when it was closed but has not ended yet.
    #[inline(always)]
    pub fn has_file(self) -> bool {
        self.memory.read::<u64>(layout!(sk_socket)) != 0
    }

    /// Segments sent, all kinds.
    #[inline(always)]
    pub fn sent_segments(self) -> u32 {
        self.memory.read(layout!(segs_out))
    }

    /// Segments received, all kinds.
    #[inline(always)]
    pub fn received_segments(self) -> u32 {
        self.memory.read(layout!(segs_in))
    }

    /// Segments that the peer says it had already.
    #[inline(always)]
    pub fn spurious_retransmits(self) -> u32 {
        self.memory.read(layout!(dsack_dups))
    }

    /// Segments that arrived out of order.
    #[inline(always)]
    pub fn reordered_segments(self) -> u32 {
        self.memory.read(layout!(rcv_ooopack))
    }

    /// Time with data to send, by what held it back, in ticks; the current stretch up to `now` included
    /// (`tcp_get_info_chrono_stats`, net/ipv4/tcp.c). `now` is the low half of the kernel's ticks.
    ///
    /// Without the socket's lock the order of the reads matters: a stretch that ends meanwhile is missed, to be found
    /// the next time, rather than counted twice.
    #[inline(always)]
    pub fn limited_ticks(self, now: u32) -> [u32; 3] {
        let at = layout!(chrono_stat);
        let mut ticks =
            [self.memory.read::<u32>(at), self.memory.read::<u32>(at + 4), self.memory.read::<u32>(at + 8)];
        #[expect(clippy::cast_possible_truncation, reason = "a mask of at most eight bits")]
        let mask = layout!(chrono_type_mask) as u8;
        let current =
            self.memory.read::<u8>(layout!(chrono_type)).wrapping_shr(layout!(chrono_type_shift)) & mask;
        if current != 0 {
            let stretch = now.wrapping_sub(self.memory.read(layout!(chrono_start)));
            match current {
                1 => ticks[0] = ticks[0].wrapping_add(stretch),
                2 => ticks[1] = ticks[1].wrapping_add(stretch),
                _ => ticks[2] = ticks[2].wrapping_add(stretch),
            }
        }
        ticks
    }

    /// Smoothed round-trip time in microseconds; 0 when none was measured.
    #[inline(always)]
    pub fn smoothed_rtt_us(self) -> u32 {
        self.memory.read::<u32>(layout!(srtt_us)) >> 3
    }

    /// Least round-trip time of late in microseconds; `u32::MAX` when none was measured.
    #[inline(always)]
    pub fn min_rtt_us(self) -> u32 {
        self.memory.read(layout!(rtt_min) + layout!(minmax_value))
    }

    /// Of a listening socket: connections that wait to be accepted, and how many may.
    #[inline(always)]
    pub fn accept_queue(self) -> (u32, u32) {
        (self.memory.read(layout!(sk_ack_backlog)), self.memory.read(layout!(sk_max_ack_backlog)))
    }

    /// Of a listening socket: handshakes dropped (`tcp_listendrop`, include/net/tcp.h).
    #[inline(always)]
    pub fn drops(self) -> u32 {
        self.memory.read(layout!(sk_drops))
    }

    /// Consecutive time-outs without an answer.
    #[inline(always)]
    pub fn consecutive_timeouts(self) -> u8 {
        self.memory.read(layout!(icsk_retransmits))
    }

    /// The armed timer, `ICSK_TIME_*` of `include/net/inet_connection_sock.h`.
    #[inline(always)]
    pub fn pending_timer(self) -> u8 {
        self.memory.read(layout!(icsk_pending))
    }

    /// Congestion control state, `enum tcp_ca_state` of `include/uapi/linux/tcp.h`.
    #[inline(always)]
    pub fn congestion_state(self) -> u8 {
        let octet = self.memory.read::<u8>(layout!(icsk_ca_state));
        #[expect(clippy::cast_possible_truncation, reason = "a mask of at most eight bits")]
        let mask = layout!(icsk_ca_state_mask) as u8;
        octet.wrapping_shr(layout!(icsk_ca_state_shift)) & mask
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        namespace(self.memory)
    }
}

impl<M: Memory> TcpSock<M> {
    /// Who owns the local end: the cgroup id, or the network namespace when the socket has no cgroup.
    #[inline(always)]
    pub fn local(self) -> u64 {
        local(self.memory)
    }
}

/// Who owns a socket: the cgroup id, or the network namespace when it has no cgroup.
#[inline(always)]
fn local<M: Memory>(sock: M) -> u64 {
    let id = cgroup_id(sock);
    if id != 0 { id } else { LOCAL_IS_NAMESPACE | u64::from(namespace(sock)) }
}

#[inline(always)]
fn namespace<M: Memory>(sock: M) -> u32 {
    Untyped(sock.read(layout!(skc_net))).read(layout!(net_inum))
}

#[inline(always)]
fn cgroup_id<M: Memory>(sock: M) -> u64 {
    let pointer_member = layout!(sk_cgroup);
    if pointer_member != MISSING {
        let cgroup = sock.follow(pointer_member);
        return cgroup.follow(layout!(cgroup_kn)).read(layout!(kernfs_node_id));
    }
    // In 5.10 as first released (stable updates changed it) the word holds a pointer with flags in its low bits; bit 0 says that it holds something else
    // (the class of a cgroup v1 controller): `struct sock_cgroup_data`, include/linux/cgroup-defs.h.
    let word_member = layout!(sk_cgroup_val);
    let word = if word_member == MISSING { 0 } else { sock.read::<u64>(word_member) };
    if word == 0 || word & 1 != 0 {
        return 0;
    }
    let cgroup = Untyped(word & !3);
    Untyped(cgroup.read(layout!(cgroup_kn))).read(layout!(kernfs_node_id))
}

/// A socket of UDP.
#[derive(Clone, Copy)]
pub struct UdpSock(Typed);

impl UdpSock {
    /// From a `struct sock *` argument.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(Typed(pointer)))
    }

    /// What it shares with other kinds of socket.
    #[inline(always)]
    pub fn common(self) -> SockCommon<Typed> {
        SockCommon(self.0)
    }

    /// Who owns it.
    #[inline(always)]
    pub fn local(self) -> u64 {
        local(self.0)
    }
}

/// A packet: `struct sk_buff`.
#[derive(Clone, Copy)]
pub struct SkBuff(Typed);

/// Sender's address, sender's port and receiver's port of a received TCP segment.
pub struct Segment {
    /// Where it came from.
    pub source: Address,
    /// Sender's port, host order.
    pub source_port: u16,
    /// The port here, host order.
    pub destination_port: u16,
}

impl SkBuff {
    /// From a `struct sk_buff *` argument.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(Typed(pointer)))
    }

    /// Segments it holds, as TCP counts them: `TCP_SKB_CB(skb)->tcp_gso_segs`.
    #[inline(always)]
    pub fn tcp_segments(self) -> u32 {
        u32::from(self.0.read::<u16>(layout!(skb_cb) + layout!(tcp_gso_segs)))
    }

    /// Inode number of the network namespace of the device it came by; 0 when it has no device any more.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        let device = self.0.read::<u64>(layout!(skb_dev));
        if device == 0 {
            return 0;
        }
        let namespace = Untyped(device).read::<u64>(layout!(dev_net));
        Untyped(namespace).read(layout!(net_inum))
    }

    /// The addresses of a received segment; `None` when its IP header is neither IPv4 nor IPv6.
    #[inline(always)]
    pub fn segment(self) -> Option<Segment> {
        let head = self.0.read::<u64>(layout!(skb_head));
        let network = u64::from(self.0.read::<u16>(layout!(skb_network_header)));
        let transport = u64::from(self.0.read::<u16>(layout!(skb_transport_header)));
        let (network, transport) = (Untyped(head + network), Untyped(head + transport));
        // RFC 791 §3.1: source address at octet 12. RFC 8200 §3: at octet 8.
        let source = match network.read::<u8>(0) >> 4 {
            4 => Address::from_v4_network_order(network.read(12)),
            6 => Address { words: [network.read(8), network.read(16)] },
            _ => return None,
        };
        // RFC 9293 §3.1: ports in the first four octets.
        Some(Segment {
            source,
            source_port: u16::from_be(transport.read(0)),
            destination_port: u16::from_be(transport.read(2)),
        })
    }
}
