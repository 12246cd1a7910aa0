//! Offsets of the kernel's struct members that the programs read.
//!
//! The daemon looks up every offset by name in the kernel's BTF and sets this struct as a read-only global of the programs
//! before it loads them, so the verifier sees constants. The table below is the only list of members.

/// Offset of a member that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// A member that a program reads.
pub struct Member {
    /// The field of [`KernelLayout`] that holds its offset.
    pub field: &'static str,
    /// Name of the kernel's struct.
    pub structure: &'static str,
    /// Path of the member: dots lead into named members; anonymous ones are left out.
    pub path: &'static str,
    /// The probes that have it in common with others; `None` where each probe names it.
    pub group: Option<Group>,
    /// Stores the offset.
    pub set: fn(&mut KernelLayout, u32),
}

/// Members that several probes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Of every probe of sockets. The cgroup is not among them (the network namespace stands in for it), nor is the IPv6
    /// address, which a kernel without IPv6 lacks.
    Socket,
    /// Of the probes of TCP as well.
    Tcp,
    /// What a connection has counted itself.
    Traffic,
}

macro_rules! kernel_layout {
    ($($(#[$doc:meta])* $field:ident = $structure:literal . $path:literal $(, $group:ident)?;)*) => {
        /// Offsets in bytes from the start of the struct, or [`MISSING`]; then other facts about the kernel.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct KernelLayout {
            $($(#[$doc])* #[doc = concat!(" Offset of `", $structure, ".", $path, "`.")] pub $field: u32,)*
            /// Bits to shift the byte at `icsk_ca_state` right by: the member is a bit field.
            pub icsk_ca_state_shift: u32,
            /// Mask to apply after the shift.
            pub icsk_ca_state_mask: u32,
            /// As `icsk_ca_state_shift`, of the byte at `chrono_type`.
            pub chrono_type_shift: u32,
            /// As `icsk_ca_state_mask`, of the byte at `chrono_type`.
            pub chrono_type_mask: u32,
            /// As `icsk_ca_state_shift`, of the byte at `skb_pkt_type`.
            pub skb_pkt_type_shift: u32,
            /// As `icsk_ca_state_mask`, of the byte at `skb_pkt_type`.
            pub skb_pkt_type_mask: u32,
            /// Bit of `skc_flags` that is set once the peer's FIN was received: `SOCK_DONE` of `enum sock_flags`.
            pub sock_done: u32,
            /// 1 when the kernel has the helper `bpf_sock_from_file` (5.11 on).
            pub has_sock_from_file: u32,
            /// 1 when `udp_fail_queue_rcv_skb` passes the packet as its third argument (6.10 on).
            pub udp_drop_has_packet: u32,
            /// The lowest port that the kernel chooses for clients (`net.ipv4.ip_local_port_range`), at most its default of
            /// 32 768, which other network namespaces have.
            pub first_ephemeral_port: u32,
            /// 1 when `tcp_retransmit_skb` passes the result of the transmission as its third argument (6.18 on).
            pub retransmit_has_error: u32,
            /// [`crate::flow::LONG_IDLE`] in the kernel's ticks.
            pub long_idle_ticks: u32,
            /// 1 when `kfree_skb` passes the receiving socket as its fourth argument (6.11 on).
            pub drop_has_socket: u32,
        }

        impl KernelLayout {
            /// Placeholder until the daemon sets the layout; no program is loaded with it.
            pub const UNKNOWN: Self = Self {
                $($field: MISSING,)*
                icsk_ca_state_shift: 0,
                icsk_ca_state_mask: 0,
                chrono_type_shift: 0,
                chrono_type_mask: 0,
                skb_pkt_type_shift: 0,
                skb_pkt_type_mask: 0,
                sock_done: MISSING,
                has_sock_from_file: 0,
                udp_drop_has_packet: 0,
                first_ephemeral_port: 32_768,
                retransmit_has_error: 0,
                long_idle_ticks: u32::MAX,
                drop_has_socket: 0,
            };

            /// Every member, in declaration order.
            pub const MEMBERS: &'static [Member] = &[
                $(Member {
                    field: stringify!($field),
                    structure: $structure,
                    path: $path,
                    group: group!($($group)?),
                    set: |layout, offset| layout.$field = offset,
                },)*
            ];
        }
    };
}

macro_rules! group {
    () => {
        None
    };
    ($group:ident) => {
        Some(Group::$group)
    };
}

// A member is `field = "struct"."path"`, then its `Group` if it has one.
kernel_layout! {
    /// `AF_INET` or `AF_INET6`.
    skc_family = "sock_common"."skc_family", Socket;
    /// TCP state.
    skc_state = "sock_common"."skc_state", Tcp;
    /// Remote port, network order.
    skc_dport = "sock_common"."skc_dport", Socket;
    /// Local port, host order; 0 once the socket is unhashed.
    skc_num = "sock_common"."skc_num", Socket;
    /// Remote IPv4 address.
    skc_daddr = "sock_common"."skc_daddr", Socket;
    /// Remote IPv6 address; absent when the kernel has no IPv6.
    skc_v6_daddr = "sock_common"."skc_v6_daddr";
    /// Local IPv4 address.
    skc_rcv_saddr = "sock_common"."skc_rcv_saddr", Socket;
    /// Local IPv6 address; absent when the kernel has no IPv6.
    skc_v6_rcv_saddr = "sock_common"."skc_v6_rcv_saddr";
    /// Network namespace.
    skc_net = "sock_common"."skc_net.net", Socket;
    /// Inode number of a network namespace.
    net_inum = "net"."ns.inum", Socket;
    /// A random number of the network namespace.
    net_hash_mix = "net"."hash_mix";
    /// The namespaces of a task; NULL when it has ended.
    task_nsproxy = "task_struct"."nsproxy";
    /// The network namespace of them.
    nsproxy_net = "nsproxy"."net_ns";
    /// The task's thread id in the initial PID namespace.
    task_pid = "task_struct"."pid";
    /// Pending error.
    sk_err = "sock"."sk_err";
    /// Error that did not end the connection, such as one from an ICMP message.
    sk_err_soft = "sock"."sk_err_soft";
    /// Newest entry of the queue of errors that came with ICMP messages.
    sk_error_queue_newest = "sock"."sk_error_queue.prev";
    /// Length of that queue.
    sk_error_queue_length = "sock"."sk_error_queue.qlen";
    /// Error number in the control block of its entries.
    ee_errno = "sock_exterr_skb"."ee.ee_errno";
    /// Which directions are shut down.
    sk_shutdown = "sock"."sk_shutdown";
    /// The socket's cgroup as a pointer.
    sk_cgroup = "sock"."sk_cgrp_data.cgroup";
    /// The cgroup pointer with flags in its low bits: 5.10 as first released.
    sk_cgroup_val = "sock"."sk_cgrp_data.val";
    /// The cgroups of a task.
    task_cgroups = "task_struct"."cgroups";
    /// The one of cgroup v2 among them.
    css_set_dfl_cgrp = "css_set"."dfl_cgrp";
    /// The cgroup's directory.
    cgroup_kn = "cgroup"."kn";
    /// Inode number of a cgroup's directory: the cgroup id.
    kernfs_node_id = "kernfs_node"."id";
    /// Local port, network order; survives unhashing.
    inet_sport = "inet_sock"."inet_sport", Tcp;
    /// Which timer is armed.
    icsk_pending = "inet_connection_sock"."icsk_pending";
    /// Consecutive retransmission timeouts.
    icsk_retransmits = "inet_connection_sock"."icsk_retransmits";
    /// Consecutive probes without an answer, of a closed window or of an idle connection.
    icsk_probes_out = "inet_connection_sock"."icsk_probes_out";
    /// Congestion control state.
    icsk_ca_state = "inet_connection_sock"."icsk_ca_state";
    /// Segments retransmitted over the socket's lifetime.
    total_retrans = "tcp_sock"."total_retrans", Tcp;
    /// Payload of a full segment, without what selective acknowledgements take of it.
    mss_cache = "tcp_sock"."mss_cache";
    /// Bytes acknowledged by the peer; SYN (of a client) and FIN count as one each.
    bytes_acked = "tcp_sock"."bytes_acked", Traffic;
    /// Bytes received in order; FIN counts as one.
    bytes_received = "tcp_sock"."bytes_received", Traffic;
    /// Segments sent.
    segs_out = "tcp_sock"."segs_out", Traffic;
    /// Segments received.
    segs_in = "tcp_sock"."segs_in", Traffic;
    /// Duplicates that the peer reported by DSACK.
    dsack_dups = "tcp_sock"."dsack_dups", Traffic;
    /// Segments that arrived out of order.
    rcv_ooopack = "tcp_sock"."rcv_ooopack", Traffic;
    /// Acknowledgements that showed segments to have arrived in another order than they were sent in.
    reord_seen = "tcp_sock"."reord_seen", Traffic;
    /// Ticks by what limited the sender.
    chrono_stat = "tcp_sock"."chrono_stat", Traffic;
    /// Start of the current interval, in ticks.
    chrono_start = "tcp_sock"."chrono_start", Traffic;
    /// What limits the sender in the current interval.
    chrono_type = "tcp_sock"."chrono_type", Traffic;
    /// First sequence number not yet acknowledged.
    snd_una = "tcp_sock"."snd_una", Traffic;
    /// First sequence number not yet written.
    write_seq = "tcp_sock"."write_seq", Traffic;
    /// Sequence number of the next segment to send.
    snd_nxt = "tcp_sock"."snd_nxt";
    /// Sequence number of the segment that last updated the peer's window.
    snd_wl1 = "tcp_sock"."snd_wl1";
    /// Next sequence number expected from the peer.
    rcv_nxt = "tcp_sock"."rcv_nxt";
    /// First sequence number that the application has not read.
    copied_seq = "tcp_sock"."copied_seq";
    /// When data was last sent, in ticks.
    lsndtime = "tcp_sock"."lsndtime";
    /// When an acknowledgement was last received, in ticks.
    rcv_tstamp = "tcp_sock"."rcv_tstamp";
    /// When data was last received, in ticks.
    lrcvtime = "inet_connection_sock"."icsk_ack.lrcvtime";
    /// Smoothed round-trip time in eighths of a microsecond.
    srtt_us = "tcp_sock"."srtt_us", Traffic;
    /// Minimum of recent round-trip times.
    rtt_min = "tcp_sock"."rtt_min.s", Traffic;
    /// Value of a minimum filter's sample, in microseconds.
    minmax_value = "minmax_sample"."v", Traffic;
    /// Flags of the socket.
    skc_flags = "sock_common"."skc_flags", Traffic;
    /// The `struct socket` of its file; NULL when no file holds it.
    sk_socket = "sock"."sk_socket";
    /// Length of the accept queue.
    sk_ack_backlog = "sock"."sk_ack_backlog";
    /// Limit of the accept queue; an accepted socket has it from the listening one.
    sk_max_ack_backlog = "sock"."sk_max_ack_backlog", Tcp;
    /// Length of the queue of incomplete handshakes.
    request_queue_length = "inet_connection_sock"."icsk_accept_queue.qlen.counter";
    /// Packets that the socket dropped.
    sk_drops = "sock"."sk_drops.counter";
    /// Control block of a packet.
    skb_cb = "sk_buff"."cb";
    /// Bytes in a packet; of one in a send queue, its payload.
    skb_len = "sk_buff"."len";
    /// Segments in a packet.
    tcp_gso_segs = "tcp_skb_cb"."tcp_gso_segs";
    /// First sequence number of a packet that TCP has sent.
    tcp_seq = "tcp_skb_cb"."seq";
    /// Sequence number after its last one.
    tcp_end_seq = "tcp_skb_cb"."end_seq";
    /// The clock that TCP read last, in nanoseconds.
    tcp_clock_cache = "tcp_sock"."tcp_clock_cache";
    /// Start of the packet's buffer.
    skb_head = "sk_buff"."head";
    /// Offset of the IP header from there.
    skb_network_header = "sk_buff"."network_header";
    /// Offset of the TCP header from there.
    skb_transport_header = "sk_buff"."transport_header";
    /// End of what lies in the buffer itself, as an offset from there.
    skb_tail = "sk_buff"."tail";
    /// Where the packet begins in its buffer, as a pointer.
    skb_data = "sk_buff"."data";
    /// EtherType of the packet, network order.
    skb_protocol = "sk_buff"."protocol";
    /// Whom the link layer sent it to: `PACKET_HOST` and so on.
    skb_pkt_type = "sk_buff"."pkt_type";
    /// The socket that sent the packet, or that it was found to be for.
    skb_sk = "sk_buff"."sk";
    /// Network device of a packet.
    skb_dev = "sk_buff"."dev";
    /// The device's network namespace.
    dev_net = "net_device"."nd_net.net";
    /// The inode of an open file.
    file_inode = "file"."f_inode";
    /// The `struct socket` of a socket's file.
    file_private_data = "file"."private_data";
    /// File type and permissions.
    inode_mode = "inode"."i_mode";
    /// The `struct sock` behind a `struct socket`.
    socket_sk = "socket"."sk";
    /// Progress of connect(2): `socket_state` of `include/uapi/linux/net.h`.
    socket_state = "socket"."state";
    /// IP protocol.
    sk_protocol = "sock"."sk_protocol";
    /// The socket's cookie (`sock_gen_cookie`); 0 until it was asked for.
    skc_cookie = "sock_common"."skc_cookie";
    /// The first subflow of an MPTCP socket, a TCP socket; absent when the kernel has no MPTCP.
    mptcp_first = "mptcp_sock"."first";
    /// `SOCK_STREAM` or another.
    sk_type = "sock"."sk_type";
}
