//! TCP sockets.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;

use netcause_common::layout::MISSING;

use super::layout::layout;
use super::memory::{Memory, Typed, Untyped};
use super::sock::{SockCommon, is_stream, local, namespace};
use crate::verifier::{forget8, forget32};

const IPPROTO_TCP: u16 = 6;

/// TCP states, from `include/net/tcp_states.h`: fixed, because user space sees them.
pub mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
    pub const NEW_SYN_RECV: u8 = 12;
}

/// What limits a sender.
pub struct Limited {
    /// A number of `enum tcp_chrono` (include/net/tcp.h); 0 while nothing is to be sent or acknowledged.
    pub by: u8,
    /// For how many ticks; meaningless when nothing does.
    pub since: u32,
}

/// A full TCP socket.
#[derive(Clone, Copy)]
pub struct TcpSock<M> {
    memory: M,
    /// Address of the `struct sock`: the socket's key in the maps.
    pub id: u64,
}

impl TcpSock<Typed> {
    /// The newest error in the socket's error queue, as a positive error number. Only valid when the queue is not empty.
    #[inline(always)]
    pub fn newest_queued_error(self) -> i32 {
        let message = self.memory.follow(layout!(sk_error_queue_newest));
        message.read(layout!(skb_cb) + layout!(ee_errno))
    }

    /// From a `struct sock *` argument; `None` for NULL, other protocols, time-wait and request sockets.
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
}

impl TcpSock<Untyped> {
    /// From the address of a `struct sock`; `None` for 0, and when it is not a TCP socket.
    #[inline(always)]
    pub fn from_address(id: u64) -> Option<Self> {
        let memory = Untyped(id);
        // Netlink has a protocol 6 of its own, and a raw socket may carry TCP's number.
        let is_tcp = id != 0 && memory.read::<u16>(layout!(sk_protocol)) == IPPROTO_TCP && is_stream(memory);
        is_tcp.then_some(Self { memory, id })
    }
}

impl<M: Memory> TcpSock<M> {
    /// The part that all kinds of socket share.
    #[inline(always)]
    pub fn common(self) -> SockCommon<M> {
        SockCommon(self.memory)
    }

    /// Local port, host order; still set after the close unhashes the socket. 0 when none was ever assigned.
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        u16::from_be(self.memory.read(layout!(inet_sport)))
    }

    /// Pending error as a positive error number; 0 for none.
    #[inline(always)]
    pub fn error(self) -> i32 {
        self.memory.read(layout!(sk_err))
    }

    /// Last error that did not end the connection, such as one from an ICMP message; 0 for none.
    #[inline(always)]
    pub fn soft_error(self) -> i32 {
        self.memory.read(layout!(sk_err_soft))
    }

    /// Number of errors from ICMP messages in the socket's error queue, modulo 256.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "modulo 256")]
    pub fn queued_errors(self) -> u8 {
        self.memory.read::<u32>(layout!(sk_error_queue_length)) as u8
    }

    /// True until the call of connect(2) that sends the SYN has succeeded; EINPROGRESS is a success here
    /// (`__inet_stream_connect`, net/ipv4/af_inet.c).
    #[inline(always)]
    pub fn is_unconnected(self) -> bool {
        const SS_UNCONNECTED: u32 = 1;
        self.memory.follow(layout!(sk_socket)).read::<u32>(layout!(socket_state)) == SS_UNCONNECTED
    }

    /// True when the application has shut down the receiving direction, or closed the socket.
    #[inline(always)]
    pub fn is_receive_shut_down(self) -> bool {
        const RCV_SHUTDOWN: u8 = 1;
        self.memory.read::<u8>(layout!(sk_shutdown)) & RCV_SHUTDOWN != 0
    }

    /// Segments retransmitted over the socket's lifetime, including attempts that failed to leave the host.
    #[inline(always)]
    pub fn total_retransmits(self) -> u32 {
        self.memory.read(layout!(total_retrans))
    }

    /// Bytes acknowledged by the peer. A client's SYN and the FIN count as one each
    /// (`tcp_snd_una_update`, net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn acknowledged_bytes(self) -> u64 {
        self.memory.read(layout!(bytes_acked))
    }

    /// Bytes received in order. The FIN counts as one (`tcp_rcv_nxt_update`, net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn received_bytes(self) -> u64 {
        self.memory.read(layout!(bytes_received))
    }

    /// True when everything ever written has been acknowledged, including a FIN.
    #[inline(always)]
    pub fn is_all_acknowledged(self) -> bool {
        self.memory.read::<u32>(layout!(snd_una)) == self.memory.read::<u32>(layout!(write_seq))
    }

    /// True when the peer's FIN was received: `SOCK_DONE`, which only `tcp_fin` sets (net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn is_fin_received(self) -> bool {
        self.memory.read::<u64>(layout!(skc_flags)) >> layout!(sock_done) & 1 != 0
    }

    /// True while a file holds the socket: not before it is accepted, and not after the application has closed it.
    #[inline(always)]
    pub fn has_file(self) -> bool {
        self.memory.read::<u64>(layout!(sk_socket)) != 0
    }

    /// Segments sent, of all kinds.
    #[inline(always)]
    pub fn sent_segments(self) -> u32 {
        self.memory.read(layout!(segs_out))
    }

    /// Segments sent and segments received, of all kinds.
    #[inline(always)]
    pub fn segments(self) -> [u32; 2] {
        [self.sent_segments(), self.memory.read(layout!(segs_in))]
    }

    /// Duplicate segments reported by the peer (DSACK).
    #[inline(always)]
    pub fn spurious_retransmits(self) -> u32 {
        self.memory.read(layout!(dsack_dups))
    }

    /// Segments that arrived out of order.
    #[inline(always)]
    pub fn reordered_segments(self) -> u32 {
        self.memory.read(layout!(rcv_ooopack))
    }

    /// Acknowledgements that showed segments, none of them retransmitted, to have arrived in another order than they were sent in
    /// (`tcp_check_sack_reordering`, net/ipv4/tcp_input.c).
    #[inline(always)]
    pub fn reordering_events(self) -> u32 {
        self.memory.read(layout!(reord_seen))
    }

    /// Time with data to send in ticks, by what limited the sender, including the current interval up to `now`
    /// (`tcp_get_info_chrono_stats`, net/ipv4/tcp.c). `now` is the low half of the kernel's ticks.
    ///
    /// Without the socket's lock the order of the reads matters: an interval that ends between them is missed until the
    /// next reading instead of counted twice. Returns [`Self::limited`] as well, whose members are among those read.
    #[inline(always)]
    pub fn limited_ticks(self, now: u32) -> ([u32; 3], Limited) {
        let at = layout!(chrono_stat);
        let mut ticks =
            [self.memory.read::<u32>(at), self.memory.read::<u32>(at + 4), self.memory.read::<u32>(at + 8)];
        let limited = self.limited(now);
        match limited.by {
            0 => {}
            1 => ticks[0] = ticks[0].wrapping_add(limited.since),
            2 => ticks[1] = ticks[1].wrapping_add(limited.since),
            _ => ticks[2] = ticks[2].wrapping_add(limited.since),
        }
        (ticks, Limited { by: forget8(limited.by, now), ..limited })
    }

    /// 1 when something was sent and is not acknowledged, and 1 when something was written and is not sent; a FIN counts.
    #[inline(always)]
    pub fn outstanding(self) -> [u32; 2] {
        // Without the socket's lock, an acknowledgement or a transmission between the reads puts an end before its beginning.
        let written = self.memory.read::<u32>(layout!(write_seq));
        let sent = self.memory.read::<u32>(layout!(snd_nxt));
        let acknowledged = self.memory.read::<u32>(layout!(snd_una));
        [acknowledged.wrapping_sub(sent) >> 31, sent.wrapping_sub(written) >> 31]
    }

    /// Bytes received that the application has not read, modulo 2^32: between the reads it may read more. A FIN counts.
    #[inline(always)]
    pub fn unread(self) -> u32 {
        let received = self.memory.read::<u32>(layout!(rcv_nxt));
        received.wrapping_sub(self.memory.read(layout!(copied_seq)))
    }

    /// Whether the application has yet to read something. The FIN has a place in the sequence space as well.
    #[inline(always)]
    pub fn is_unread(self) -> bool {
        let unread = self.unread();
        unread.wrapping_sub(1) >> 31 == 0 && (unread != 1 || !self.is_fin_received())
    }

    /// True when the peer has sent nothing since the segment that last acknowledged something new.
    #[inline(always)]
    pub fn is_peer_silent_since_acknowledgement(self) -> bool {
        self.memory.read::<u32>(layout!(rcv_nxt)) == self.memory.read::<u32>(layout!(snd_wl1))
    }

    /// Ticks up to `now` since data was last sent, since data was last received, and since the last acknowledgement.
    #[inline(always)]
    pub fn idle_ticks(self, now: u32) -> [u32; 3] {
        let age = |at| now.wrapping_sub(self.memory.read(at));
        [age(layout!(lsndtime)), age(layout!(lrcvtime)), age(layout!(rcv_tstamp))]
    }

    /// What limits the sender, and for how long up to `now`, modulo 2^32.
    #[inline(always)]
    pub fn limited(self, now: u32) -> Limited {
        Limited { by: self.chrono(), since: now.wrapping_sub(self.memory.read(layout!(chrono_start))) }
    }

    #[inline(always)]
    fn chrono(self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "a mask of at most eight bits")]
        let mask = layout!(chrono_type_mask) as u8;
        self.memory.read::<u8>(layout!(chrono_type)).wrapping_shr(layout!(chrono_type_shift)) & mask
    }

    /// Payload of a full segment, without what selective acknowledgements take of it (`tcp_current_mss`,
    /// net/ipv4/tcp_output.c).
    #[inline(always)]
    pub fn full_segment(self) -> u32 {
        self.memory.read(layout!(mss_cache))
    }

    /// For how many ticks the peer had been silent when something was written that is still outstanding; 0 when it has been heard
    /// of since. `tcp_chrono_start` (net/ipv4/tcp_output.c) notes when the first data comes into an empty send queue. A limit that
    /// came later makes the value larger, by less than the time since the data was written.
    #[inline(always)]
    pub fn idle_ticks_before_outstanding(self) -> u32 {
        let written = self.memory.read::<u32>(layout!(chrono_start));
        let since_data = distance(self.memory.read(layout!(lrcvtime)), written);
        since_data.min(distance(self.memory.read(layout!(rcv_tstamp)), written))
    }

    /// Smoothed round-trip time in microseconds; 0 without a measurement.
    #[inline(always)]
    pub fn smoothed_rtt_us(self) -> u32 {
        self.smoothed_rtt_eighths() >> 3
    }

    /// Smoothed round-trip time in eighths of a microsecond; 0 without a measurement.
    #[inline(always)]
    pub fn smoothed_rtt_eighths(self) -> u32 {
        self.memory.read(layout!(srtt_us))
    }

    /// Minimum of recent round-trip times in microseconds; `u32::MAX` without a measurement.
    #[inline(always)]
    pub fn min_rtt_us(self) -> u32 {
        self.memory.read(layout!(rtt_min) + layout!(minmax_value))
    }

    /// True when the socket was accepted. Its limit of the accept queue is that of the listener, of which it is a copy
    /// (`sk_clone_lock`, net/core/sock.c), and that of other sockets is 0. False after listen(2) with a backlog of 0.
    #[inline(always)]
    pub fn is_accepted(self) -> bool {
        self.memory.read::<u32>(layout!(sk_max_ack_backlog)) != 0
    }

    /// Of a listening socket: length and limit of the accept queue.
    #[inline(always)]
    pub fn accept_queue(self) -> (u32, u32) {
        (self.memory.read(layout!(sk_ack_backlog)), self.memory.read(layout!(sk_max_ack_backlog)))
    }

    /// Of a listening socket: handshakes that wait for the last acknowledgement (`inet_csk_reqsk_queue_len`,
    /// include/net/inet_connection_sock.h).
    #[inline(always)]
    pub fn incomplete_handshakes(self) -> u32 {
        self.memory.read(layout!(request_queue_length))
    }

    /// Of a listening socket: segments discarded, for any reason. Dropped handshakes are among them (`tcp_listendrop`,
    /// include/net/tcp.h), and so is what `tcp_check_req` refuses: a SYN or an acknowledgement that came twice, a reset.
    #[inline(always)]
    pub fn discards(self) -> u32 {
        self.memory.read(layout!(sk_drops))
    }

    /// Whether it takes a segment that begins at this sequence number for sent.
    #[inline(always)]
    pub fn has_sent(self, start: u32) -> bool {
        self.memory.read::<u32>(layout!(snd_nxt)).wrapping_sub(start).wrapping_sub(1) >> 31 == 0
    }

    /// The clock that TCP read before it last sent or received something, in nanoseconds of `CLOCK_MONOTONIC`.
    #[inline(always)]
    pub fn clock(self) -> u64 {
        self.memory.read(layout!(tcp_clock_cache))
    }

    /// Consecutive retransmission timeouts.
    #[inline(always)]
    pub fn consecutive_timeouts(self) -> u8 {
        self.memory.read(layout!(icsk_retransmits))
    }

    /// True when the last things that the peer left without an answer were probes, not retransmissions.
    #[inline(always)]
    pub fn has_only_probed(self) -> bool {
        self.consecutive_timeouts() == 0 && self.memory.read::<u8>(layout!(icsk_probes_out)) != 0
    }

    /// The armed timer, `ICSK_TIME_*` of `include/net/inet_connection_sock.h`.
    #[inline(always)]
    pub fn pending_timer(self) -> u8 {
        self.memory.read(layout!(icsk_pending))
    }

    /// Congestion control state, `enum tcp_ca_state` of `include/uapi/linux/tcp.h`.
    #[inline(always)]
    pub fn congestion_state(self) -> u8 {
        let byte = self.memory.read::<u8>(layout!(icsk_ca_state));
        #[expect(clippy::cast_possible_truncation, reason = "a mask of at most eight bits")]
        let mask = layout!(icsk_ca_state_mask) as u8;
        byte.wrapping_shr(layout!(icsk_ca_state_shift)) & mask
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        namespace(self.memory)
    }

    /// A random number of the network namespace; 0 when the kernel has none.
    #[inline(always)]
    pub fn namespace_mark(self) -> u32 {
        let mark = layout!(net_hash_mix);
        if mark == MISSING { 0 } else { Untyped(self.memory.read(layout!(skc_net))).read(mark) }
    }

    /// The local end: the cgroup id, or the network namespace when the socket has no cgroup.
    #[inline(always)]
    pub fn local(self) -> u64 {
        local(self.memory)
    }
}

/// How far a number lies behind another one of a circle; 0 when it lies before it.
#[inline(always)]
fn distance(from: u32, to: u32) -> u32 {
    let distance = to.wrapping_sub(from);
    forget32(if distance >> 31 == 0 { distance } else { 0 }, to)
}
