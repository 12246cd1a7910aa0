//! The iterators over all open sockets: they fill maps, and the sweep writes a record of each connection to its reader.

use bytemuck::{Pod, Zeroable};

use crate::flow::FlowKey;

/// Key of the map of listening ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerKey {
    /// Inode number of the network namespace.
    pub namespace: u32,
    /// The port, in host order.
    pub port: u16,
    /// Always zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<ListenerKey>() == 8);

/// Key of the map of accept queues. Sockets that share a port (`SO_REUSEPORT`) share an entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueueKey {
    /// The listener's local end, as [`crate::flow::FlowKey::local`].
    pub local: u64,
    /// The listening port, in host order.
    pub port: u16,
    /// Always zero.
    pub reserved: [u16; 3],
}

/// An accept queue at the time of the last sweep.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Number of that sweep; 0 when nothing listens at the port any more.
    pub sweep: u64,
    /// Segments discarded by the listening sockets of the port, for any reason, since the agent first saw each.
    pub discards: u64,
    /// Connections waiting to be accepted; of sockets that share the port, those of the fullest.
    pub length: u32,
    /// Limit of that socket's queue; one more fits (`sk_acceptq_is_full`, include/net/sock.h).
    pub limit: u32,
    /// Inode number of the network namespace in which the port first listened.
    pub namespace: u32,
    /// Handshakes that wait for the last acknowledgement; of sockets that share the port, the most.
    pub requests: u32,
    /// Whose processes hold a descriptor of it.
    pub holders: Holders,
}

/// Cgroups whose processes hold a descriptor of a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Others than the maker's; 0 for none.
    pub others: [u64; 2],
    /// Whether the maker's does ([`Self::MAKER`]), and whether more others do than [`Self::others`] has ([`Self::MORE`]), as bits.
    pub and: u32,
    /// Always zero.
    pub reserved: u32,
}

impl Holders {
    /// Bit of [`Self::and`].
    pub const MAKER: u32 = 1;
    /// Bit of [`Self::and`].
    pub const MORE: u32 = 2;

    /// A process of this cgroup holds a descriptor of the socket, which one of `maker` has made.
    #[inline(always)]
    pub fn add(&mut self, cgroup: u64, maker: u64) {
        if cgroup == maker {
            self.and |= Self::MAKER;
        } else if self.others[0] == 0 || self.others[0] == cgroup {
            self.others[0] = cgroup;
        } else if self.others[1] == 0 || self.others[1] == cgroup {
            self.others[1] = cgroup;
        } else {
            self.and |= Self::MORE;
        }
    }
}

/// The holders of a UDP socket that receives from anybody, once one of them is of another cgroup than its maker. The key in its map
/// is that of an accept queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpHolders {
    /// Number of the last sweep that found one.
    pub sweep: u64,
    /// Number of the first. What that one found may lack the maker, whose processes it may have passed before.
    pub since: u64,
    /// Those that the last sweep found.
    pub holders: Holders,
}

impl UdpHolders {
    /// The sweep of this number has found a process of this cgroup, of a socket that one of `maker` has made.
    #[inline(always)]
    pub fn found(&mut self, sweep: u64, cgroup: u64, maker: u64) {
        if self.sweep != sweep {
            self.sweep = sweep;
            self.holders = Holders { others: [0; 2], and: 0, reserved: 0 };
        }
        self.holders.add(cgroup, maker);
    }

    /// What a sweep of this number has found in full, if it is the last.
    #[must_use]
    pub fn complete(&self, sweep: u64) -> Option<Holders> {
        (self.sweep == sweep && self.since != sweep).then_some(self.holders)
    }
}

/// A network namespace with a listening socket; the key in its map is its inode number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListeningNamespace {
    /// Number of the sweep that found it.
    pub sweep: u64,
    /// A thread in it.
    pub thread: u32,
    /// Tells it from others that had its inode number before: `net.hash_mix`; 0 if the kernel has none.
    pub mark: u32,
}

/// State of the sweep.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Number of the sweep, from 1.
    pub number: u64,
    /// When the programs began it, in the kernel's ticks; 0 until then.
    pub began: u32,
    /// How many ticks without data make a connection quiet; the daemon sets it.
    pub quiet: u32,
}

/// The record of an open connection, which the sweep writes to its reader: what is needed to decide whom the connection waits
/// for. Times are ages in the kernel's ticks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct OpenConnection {
    /// Its flow.
    pub flow: FlowKey,
    /// Since data was last sent, retransmissions included, or since it was established.
    pub since_sent: u32,
    /// Since data was last received, or since it was established.
    pub since_received: u32,
    /// Since the last acknowledgement was received.
    pub since_acknowledged: u32,
    /// Since [`Self::limited_by`] has its value; meaningless when that is 0.
    pub since_limited: u32,
    /// Since the sweep last reported it, modulo 2^24; [`OpenConnection::NEVER`] at the first time.
    pub since_visit: u32,
    /// Smoothed round-trip time in microseconds; 0 without a measurement.
    pub round_trip_us: u32,
    /// Bytes sent and not acknowledged; a FIN counts as one.
    pub unacknowledged: u32,
    /// Bytes written and not sent; a FIN counts as one.
    pub unsent: u32,
    /// Bytes received that the application has not read.
    pub unread: u32,
    /// TCP state, of `include/net/tcp_states.h`.
    pub state: u8,
    /// What limits the sender: `enum tcp_chrono` of `include/net/tcp.h`; 0 while nothing is to be sent or acknowledged.
    pub limited_by: u8,
    /// Whether data was ever sent ([`Self::SENT`]) and received ([`Self::RECEIVED`]), whether anything was since the last report
    /// ([`Self::USED`]) and anything was retransmitted ([`Self::RETRANSMITTED`]), and whether it waits to be accepted
    /// ([`Self::UNACCEPTED`]), as bits.
    pub has: u8,
    /// Who spoke last: one of `SPEAKER_…`.
    pub speaker: u8,
    /// What [`Self::speaker`] was when the sweep last reported it.
    pub speaker_before: u8,
    /// 1 when the connection had been quiet then.
    pub quiet_before: u8,
    /// Always zero.
    pub reserved: [u8; 2],
    /// The lowest round-trip time in microseconds that a sweep has found, meaningless unless it was used; `u32::MAX` without a
    /// measurement.
    pub lowest_round_trip_us: u32,
}

/// No data was sent or received.
pub const SPEAKER_NONE: u8 = 0;
/// The local end.
pub const SPEAKER_LOCAL: u8 = 1;
/// The peer.
pub const SPEAKER_PEER: u8 = 2;

impl OpenConnection {
    /// [`Self::since_visit`] of a connection that was not reported before.
    pub const NEVER: u32 = u32::MAX;
    /// Bit of [`Self::has`].
    pub const SENT: u8 = 1;
    /// Bit of [`Self::has`].
    pub const RECEIVED: u8 = 2;
    /// Bit of [`Self::has`].
    pub const USED: u8 = 4;
    /// Bit of [`Self::has`].
    pub const RETRANSMITTED: u8 = 8;
    /// Bit of [`Self::has`].
    pub const UNACCEPTED: u8 = 16;
    /// The bits of [`Self::has`] that say who spoke.
    const SPOKE: u8 = Self::SENT | Self::RECEIVED;

    /// Who spoke last. Ticks are milliseconds long, and an answer and the next request often lie in the same one. Then the
    /// sequence space decides: what is unacknowledged is younger than what the peer said; else `is_silent_since` does, which is
    /// true when the peer has sent nothing since the segment that acknowledged all (`snd_wl1` is `rcv_nxt`, because
    /// `tcp_update_wl` of net/ipv4/tcp_input.c notes the segment whose acknowledgement was new).
    #[inline(always)]
    #[must_use]
    pub const fn last_speaker(&self, is_silent_since: bool) -> u8 {
        match self.has & Self::SPOKE {
            0 => SPEAKER_NONE,
            Self::SENT => SPEAKER_LOCAL,
            Self::RECEIVED => SPEAKER_PEER,
            _ if self.since_sent != self.since_received => {
                if self.since_sent < self.since_received {
                    SPEAKER_LOCAL
                } else {
                    SPEAKER_PEER
                }
            }
            _ if self.unacknowledged != 0 || is_silent_since => SPEAKER_LOCAL,
            _ => SPEAKER_PEER,
        }
    }
}

/// When the sweep last reported a connection, modulo 2^24 ticks, and what was so then; 0 stands for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit(pub u32);

impl Visit {
    const EVER: u32 = 0x80;
    const QUIET: u32 = 0x40;

    /// At this time, with this last speaker, of a connection that was quiet or not.
    #[inline(always)]
    #[must_use]
    pub const fn new(now: u32, speaker: u8, is_quiet: bool) -> Self {
        let quiet = if is_quiet { Self::QUIET } else { 0 };
        Self(now << 8 | Self::EVER | quiet | speaker as u32)
    }

    /// Ticks since then; [`OpenConnection::NEVER`] when there was none.
    #[inline(always)]
    #[must_use]
    pub const fn age(self, now: u32) -> u32 {
        if self.0 == 0 { OpenConnection::NEVER } else { now.wrapping_sub(self.0 >> 8) & 0x00ff_ffff }
    }

    /// Who had spoken last.
    #[inline(always)]
    #[must_use]
    pub const fn speaker(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// 1 when the connection was quiet.
    #[inline(always)]
    #[must_use]
    pub const fn is_quiet(self) -> u8 {
        (self.0 >> 6 & 1) as u8
    }
}

const _: () = {
    assert!(size_of::<QueueKey>() == 16);
    assert!(size_of::<AcceptQueue>() == 56);
    assert!(size_of::<UdpHolders>() == 40);
    assert!(size_of::<ListeningNamespace>() == 16);
    assert!(size_of::<Sweep>() == 16);
    // The iterator shows a socket again when its record ends where the buffer does: the buffer is a power of two.
    assert!(size_of::<OpenConnection>() == 80 && !size_of::<OpenConnection>().is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_speaker_is_known_within_a_tick() {
        let both =
            OpenConnection { has: OpenConnection::SENT | OpenConnection::RECEIVED, ..Default::default() };
        for (connection, is_silent_since, expected) in [
            (OpenConnection::default(), true, SPEAKER_NONE),
            (OpenConnection { has: OpenConnection::SENT, since_sent: 9, ..both }, false, SPEAKER_LOCAL),
            (OpenConnection { has: OpenConnection::RECEIVED, since_received: 9, ..both }, true, SPEAKER_PEER),
            (OpenConnection { since_sent: 1, since_received: 2, ..both }, false, SPEAKER_LOCAL),
            (
                OpenConnection { since_sent: 2, since_received: 1, unacknowledged: 5, ..both },
                true,
                SPEAKER_PEER,
            ),
            (OpenConnection { unacknowledged: 1, ..both }, false, SPEAKER_LOCAL),
            (both, true, SPEAKER_LOCAL),
            (both, false, SPEAKER_PEER),
        ] {
            assert_eq!(connection.last_speaker(is_silent_since), expected, "{connection:?}");
        }
    }

    #[test]
    fn holders_are_those_of_other_cgroups() {
        let mut holders = Holders::default();
        for cgroup in [5, 7, 5, 9, 7, 9] {
            holders.add(cgroup, 5);
        }
        assert_eq!((holders.and, holders.others), (Holders::MAKER, [7, 9]));
        holders.add(11, 5);
        assert_eq!(holders.and, Holders::MAKER | Holders::MORE);
    }

    #[test]
    fn holders_of_a_udp_socket_are_known_after_a_whole_sweep() {
        // The maker, 5, comes first in each sweep, and does not make the entry.
        let mut socket = UdpHolders { since: 3, ..UdpHolders::default() };
        socket.found(3, 7, 5);
        assert_eq!(socket.complete(3), None);
        [5, 7].into_iter().for_each(|cgroup| socket.found(4, cgroup, 5));
        let both = Holders { others: [7, 0], and: Holders::MAKER, reserved: 0 };
        assert_eq!((socket.complete(4), socket.complete(5)), (Some(both), None));
        socket.found(5, 7, 5);
        assert_eq!(socket.complete(5), Some(Holders { and: 0, ..both }));
    }

    #[test]
    fn a_visit_is_remembered_across_the_end_of_its_ticks() {
        for now in [0, 1, 0x00ff_fffe, 0x0100_0000, u32::MAX - 1] {
            let visit = Visit::new(now, SPEAKER_PEER, true);
            assert_eq!((visit.speaker(), visit.is_quiet(), visit.age(now)), (SPEAKER_PEER, 1, 0));
            assert_eq!(visit.age(now.wrapping_add(75_000)), 75_000);
            assert_eq!(Visit::new(now, SPEAKER_LOCAL, false).is_quiet(), 0);
        }
        assert_eq!(Visit(0).age(7), OpenConnection::NEVER);
    }
}
