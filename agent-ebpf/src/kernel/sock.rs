//! Sockets of any protocol: peer, port and local end.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_sock_from_file};
use netcause_common::endpoint::Address;
use netcause_common::flow::{LOCAL_IS_NAMESPACE, PROTOCOL_UDP};
use netcause_common::layout::MISSING;

use super::layout::layout;
use super::memory::{Memory, Typed, Untyped};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The part that full sockets, request sockets and time-wait sockets share: `struct sock_common`.
#[derive(Clone, Copy)]
pub struct SockCommon<M>(pub(super) M);

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
        self.address(layout!(skc_daddr), layout!(skc_v6_daddr))
    }

    /// Local address, as [`Self::remote_address`]; unspecified before the socket is bound or connected.
    #[inline(always)]
    pub fn local_address(self) -> Address {
        self.address(layout!(skc_rcv_saddr), layout!(skc_v6_rcv_saddr))
    }

    #[inline(always)]
    fn address(self, v4: u32, v6: u32) -> Address {
        if v6 == MISSING || self.0.read::<u16>(layout!(skc_family)) == AF_INET {
            Address::from_v4_network_order(self.0.read(v4))
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

/// A UDP socket.
#[derive(Clone, Copy)]
pub struct UdpSock<M = Typed>(M);

impl UdpSock {
    /// From a `struct sock *` argument.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(Typed(pointer)))
    }

    /// From a `struct sock *` argument that may be of another protocol.
    #[inline(always)]
    pub fn from_any(pointer: *const c_void) -> Option<Self> {
        Self::from_argument(pointer)
            .filter(|sock| sock.0.read::<u16>(layout!(sk_protocol)) == PROTOCOL_UDP.into())
    }

    /// The error that the kernel reports to it now, as a positive error number; 0 for none, and for what is no error.
    ///
    /// With `IP_RECVERR`, as glibc's resolver has it, the kernel reports an ICMP message twice: when it puts it into the queue of
    /// errors, and when it sets the error (`__udp4_lib_err`, net/ipv4/udp.c). The first one counts; it is not seen while an earlier
    /// error has not been read.
    #[inline(always)]
    pub fn reported_error(self) -> i32 {
        let error = self.0.read::<i32>(layout!(sk_err));
        if self.0.read::<u32>(layout!(sk_error_queue_length)) == 0 {
            return error;
        }
        if error != 0 {
            return 0;
        }
        self.0.follow(layout!(sk_error_queue_newest)).read(layout!(skb_cb) + layout!(ee_errno))
    }

    /// Its cookie, which no other socket ever has; 0 while nobody has asked for it. Read, because programs of tracepoints have a
    /// helper for it from 5.12 on only.
    #[inline(always)]
    pub fn cookie(self) -> u64 {
        self.0.read(layout!(skc_cookie))
    }
}

impl UdpSock {
    /// From the typed socket of a file; `None` unless it is one that [receives from anybody](Self::is_receiver).
    #[inline(always)]
    pub fn receiver(sock: *const c_void) -> Option<Self> {
        let socket = Self(Typed(sock));
        socket.is_receiver().then_some(socket)
    }
}

impl UdpSock<Untyped> {
    /// As [`UdpSock::receiver`], from the address of a `struct sock`.
    #[inline(always)]
    pub fn receiver_at(address: u64) -> Option<Self> {
        let socket = Self(Untyped(address));
        (address != 0 && socket.is_receiver()).then_some(socket)
    }
}

impl<M: Memory> UdpSock<M> {
    /// What it shares with other kinds of socket.
    #[inline(always)]
    pub fn common(self) -> SockCommon<M> {
        SockCommon(self.0)
    }

    /// Its local end: the cgroup id, or the network namespace when it has no cgroup.
    #[inline(always)]
    pub fn local(self) -> u64 {
        local(self.0)
    }

    /// True of a UDP socket that is bound and has no peer. It may be any socket.
    #[inline(always)]
    fn is_receiver(self) -> bool {
        self.0.read::<u16>(layout!(sk_type)) == SOCK_DGRAM
            && matches!(self.0.read(layout!(skc_family)), AF_INET | AF_INET6)
            && self.0.read::<u16>(layout!(sk_protocol)) == PROTOCOL_UDP.into()
            && self.common().remote_port() == 0
            && self.common().local_port_while_hashed() != 0
    }
}

/// The `struct sock` of an open file; `None` when the file is not a socket. Requires
/// [`has_sock_from_file`](super::has_sock_from_file).
#[inline(always)]
pub fn sock_from_file(file: *const c_void) -> Option<*mut c_void> {
    // SAFETY: the helper takes a typed file and returns its socket, or NULL for other files (5.11 on).
    let socket = unsafe { bpf_sock_from_file(file.cast_mut().cast()) };
    if socket.is_null() {
        return None;
    }
    let sock = Typed(socket.cast_const().cast()).follow(layout!(socket_sk)).0;
    (!sock.is_null()).then(|| sock.cast_mut())
}

/// The address of the `struct sock` of an open file; `None` when the file is not a socket.
#[inline(always)]
pub fn address_from_file(file: *const c_void) -> Option<u64> {
    let inode = Typed(file).read::<*const c_void>(layout!(file_inode));
    if Typed(inode).read::<u16>(layout!(inode_mode)) & S_IFMT != S_IFSOCK {
        return None;
    }
    Some(Untyped(Typed(file).read(layout!(file_private_data))).read(layout!(socket_sk)))
}

/// Inode number of the network namespace of a packet's socket, which is not NULL; 0 when it cannot be read.
///
/// Programs of packets know their socket as a `struct bpf_sock`, which has no namespace, and may not add to the pointer. It is the
/// kernel's own all the same (`bpf_sock_common_is_valid_access`, net/core/filter.c): copied by a helper, it is a number.
#[inline(always)]
pub fn namespace_of_packet_socket(socket: *const c_void) -> u32 {
    // One word for all, because the programs of DNS have no more on their stacks.
    let mut word = socket;
    let to = (&raw mut word).cast::<c_void>();
    let (net, inum) = (layout!(skc_net) as usize, layout!(net_inum) as usize);
    // SAFETY: the helper writes as many bytes as it is told, no more than the word has: zeros where the address cannot be read.
    unsafe {
        bpf_probe_read_kernel(to, 8, to);
        bpf_probe_read_kernel(to, 8, word.wrapping_byte_add(net));
        bpf_probe_read_kernel(to, 4, word.wrapping_byte_add(inum));
        to.cast::<u32>().read()
    }
}

/// True for a stream socket of IPv4 or IPv6.
#[inline(always)]
pub(super) fn is_stream(sock: Untyped) -> bool {
    sock.read::<u16>(layout!(sk_type)) == SOCK_STREAM
        && matches!(sock.read(layout!(skc_family)), AF_INET | AF_INET6)
}

/// The local end of a socket: its cgroup id, or its network namespace when it has no cgroup.
#[inline(always)]
pub(super) fn local<M: Memory>(sock: M) -> u64 {
    let id = cgroup_id(sock);
    if id != 0 { id } else { LOCAL_IS_NAMESPACE | u64::from(namespace(sock)) }
}

/// Inode number of a socket's network namespace.
#[inline(always)]
pub(super) fn namespace<M: Memory>(sock: M) -> u32 {
    Untyped(sock.read(layout!(skc_net))).read(layout!(net_inum))
}

#[inline(always)]
fn cgroup_id<M: Memory>(sock: M) -> u64 {
    let pointer_member = layout!(sk_cgroup);
    if pointer_member != MISSING {
        let cgroup = sock.follow(pointer_member);
        return cgroup.follow(layout!(cgroup_kn)).read(layout!(kernfs_node_id));
    }
    // In 5.10 as first released (stable updates changed it) the word is a pointer with flags in its low bits, or, when bit
    // 0 is set, the class of a cgroup v1 controller: `struct sock_cgroup_data`, include/linux/cgroup-defs.h.
    let word_member = layout!(sk_cgroup_val);
    let word = if word_member == MISSING { 0 } else { sock.read::<u64>(word_member) };
    if word == 0 || word & 1 != 0 {
        return 0;
    }
    let cgroup = Untyped(word & !3);
    Untyped(cgroup.read(layout!(cgroup_kn))).read(layout!(kernfs_node_id))
}
