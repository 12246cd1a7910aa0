//! The iterators over all open sockets: they fill maps, and the sweep writes a record of each connection to its reader.

use bytemuck::{Pod, Zeroable};

use crate::flow::{Counted, FlowKey};

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

/// State of the sweep, in memory that the programs and the daemon have.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Sweep {
    /// Number of the sweep, from 1.
    pub number: u64,
    /// When the programs began it, in the kernel's ticks; 0 until then.
    pub began: u32,
    /// How many ticks without data make a connection quiet, and [`OpenConnection::AHEAD`]; the daemon sets it.
    pub quiet: u32,
    /// How many records there are that the daemon has not taken yet; the programs add to it, the daemon sets it to 0.
    pub length: u64,
    /// Those, and whatever was there before.
    pub records: [OpenConnection; Sweep::ROOM],
}

impl Sweep {
    /// As many records as fill 64 KiB with the rest.
    pub const ROOM: usize = (64 * 1024 - 24) / size_of::<OpenConnection>();
}

/// The record of an open connection, which the sweep writes: what is needed to decide whom the connection waits for, and what is
/// new of its totals. Times are ages in the kernel's ticks. The programs do no more to a value than they have to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct OpenConnection {
    /// Its flow.
    pub flow: FlowKey,
    /// Since data was last sent, retransmissions included, or since it was established; [`Self::AHEAD`] more than that.
    pub since_sent: u32,
    /// Since data was last received, or since it was established; [`Self::AHEAD`] more than that.
    pub since_received: u32,
    /// Since the last acknowledgement was received; [`Self::AHEAD`] more than that.
    pub since_acknowledged: u32,
    /// Since [`Self::limited_by`] has its value, modulo 2^32: it may have changed after the program read the clock. Meaningless when
    /// that is 0.
    pub since_limited: u32,
    /// What an earlier sweep found, and how long ago.
    pub before: Past,
    /// Smoothed round-trip time in eighths of a microsecond; 0 without a measurement.
    pub round_trip_eighths: u32,
    /// Unless it was used, meaningless: the lowest round-trip time in microseconds that a sweep has found; `u32::MAX` without a
    /// measurement.
    pub lowest_round_trip_us: u32,
    /// Unless it was used, meaningless: the kernel's minimum of recent round-trip times; `u32::MAX` without a measurement.
    pub minimum_round_trip_us: u32,
    /// TCP state, of `include/net/tcp_states.h`.
    pub state: u8,
    /// What limits the sender: `enum tcp_chrono` of `include/net/tcp.h`; 0 while nothing is to be sent or acknowledged.
    pub limited_by: u8,
    /// What is so of it, as bits: [`Self::SENT`] and the following.
    pub has: u8,
    /// Who spoke last: one of `SPEAKER_…`.
    pub speaker: u8,
    /// Bytes received that the application has not read, modulo 2^32: it may have read more after the program did. A FIN counts.
    pub unread: u32,
    /// Unless it was used, meaningless: what its totals have grown by since they were last counted. Retransmissions are counted
    /// elsewhere.
    pub growth: Counted,
}

/// No data was sent or received.
pub const SPEAKER_NONE: u8 = 0;
/// The local end.
pub const SPEAKER_LOCAL: u8 = 1;
/// The peer.
pub const SPEAKER_PEER: u8 = 2;

impl OpenConnection {
    /// Bit of [`Self::has`]: data was ever sent.
    pub const SENT: u8 = 1;
    /// Bit of [`Self::has`]: data was ever received.
    pub const RECEIVED: u8 = 2;
    /// Bit of [`Self::has`]: anything was sent or received since the last report.
    pub const USED: u8 = 4;
    /// Bit of [`Self::has`]: anything was retransmitted since then, but for a tail loss probe.
    pub const RETRANSMITTED: u8 = 8;
    /// Bit of [`Self::has`]: it waits to be accepted.
    pub const UNACCEPTED: u8 = 16;
    /// Bit of [`Self::has`]: something was sent and is not acknowledged; a FIN counts.
    pub const UNACKNOWLEDGED: u8 = 32;
    /// Bit of [`Self::has`]: something was written and is not sent; a FIN counts.
    pub const UNSENT: u8 = 64;

    /// Ticks that are added to ages, so that what happens after the program has read the clock has one as well.
    pub const AHEAD: u32 = 1000;

    /// The bits of [`Self::has`] that say who spoke.
    const SPOKE: u8 = Self::SENT | Self::RECEIVED;

    /// Who spoke last. Ticks are milliseconds long, and an answer and the next request often lie in the same one. Then the
    /// sequence space decides: what is unacknowledged is younger than what the peer said; else `is_silent_since` does, which is
    /// true when the peer has sent nothing since the segment that acknowledged all (`snd_wl1` is `rcv_nxt`, because
    /// `tcp_update_wl` of net/ipv4/tcp_input.c notes the segment whose acknowledgement was new).
    #[inline(always)]
    pub fn last_speaker(&self, is_silent_since: impl FnOnce() -> bool) -> u8 {
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
            _ if self.has & Self::UNACKNOWLEDGED != 0 || is_silent_since() => SPEAKER_LOCAL,
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

    /// Ticks since then, modulo 2^24; meaningless when there was none.
    #[inline(always)]
    #[must_use]
    pub const fn age(self, now: u32) -> u32 {
        now.wrapping_sub(self.0 >> 8) & 0x00ff_ffff
    }

    /// Whether there was one, this many ticks ago or fewer.
    #[inline(always)]
    #[must_use]
    pub const fn is_since(self, ticks: u32, now: u32) -> bool {
        self.0 != 0 && self.age(now) <= ticks
    }

    /// For the record of a connection.
    #[inline(always)]
    #[must_use]
    pub const fn past(self, now: u32) -> Past {
        Past(self.age(now) << 8 | self.0 & 0xff)
    }
}

/// When a sweep last reported a connection, in ticks before this one, and what was so then.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Past(pub u32);

impl Past {
    /// How long ago, modulo 2^24, who had spoken last, and whether the connection had been quiet; `None` when there was none.
    #[must_use]
    pub const fn found(self) -> Option<(u32, u8, bool)> {
        if self.0 & Visit::EVER == 0 {
            return None;
        }
        Some((self.0 >> 8, (self.0 & 3) as u8, self.0 & Visit::QUIET != 0))
    }
}

const _: () = {
    assert!(size_of::<QueueKey>() == 16);
    assert!(size_of::<AcceptQueue>() == 56);
    assert!(size_of::<UdpHolders>() == 40);
    assert!(size_of::<ListeningNamespace>() == 16);
    assert!(size_of::<OpenConnection>() == 128);
    assert!(size_of::<Sweep>() <= 64 * 1024);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_speaker_is_known_within_a_tick() {
        let both =
            OpenConnection { has: OpenConnection::SENT | OpenConnection::RECEIVED, ..Default::default() };
        let unacknowledged = both.has | OpenConnection::UNACKNOWLEDGED;
        for (connection, is_silent_since, expected) in [
            (OpenConnection::default(), true, SPEAKER_NONE),
            (OpenConnection { has: OpenConnection::SENT, since_sent: 9, ..both }, false, SPEAKER_LOCAL),
            (OpenConnection { has: OpenConnection::RECEIVED, since_received: 9, ..both }, true, SPEAKER_PEER),
            (OpenConnection { since_sent: 1, since_received: 2, ..both }, false, SPEAKER_LOCAL),
            (
                OpenConnection { since_sent: 2, since_received: 1, has: unacknowledged, ..both },
                true,
                SPEAKER_PEER,
            ),
            (OpenConnection { has: unacknowledged, ..both }, false, SPEAKER_LOCAL),
            (both, true, SPEAKER_LOCAL),
            (both, false, SPEAKER_PEER),
        ] {
            assert_eq!(connection.last_speaker(|| is_silent_since), expected, "{connection:?}");
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
            assert_eq!(visit.past(now).found(), Some((0, SPEAKER_PEER, true)));
            let later = now.wrapping_add(75_000);
            assert_eq!(visit.past(later).found(), Some((75_000, SPEAKER_PEER, true)));
            assert!(visit.is_since(75_000, later) && !visit.is_since(74_999, later));
            let talking = Visit::new(now, SPEAKER_LOCAL, false);
            assert_eq!(talking.past(later).found(), Some((75_000, SPEAKER_LOCAL, false)));
        }
        assert_eq!(Visit(0).past(7).found(), None);
        assert!(!Visit(0).is_since(u32::MAX, 7));
    }
}
