//! Decodes the records of the sweep into open connections.

use std::time::Duration;

use netcause_common::flow::{FlowKey, LimitedBy};
use netcause_common::probe::open_sockets::{OpenConnection, SPEAKER_LOCAL, SPEAKER_PEER};

use super::{Role, read, role};

/// An open connection, as the sweep found it. Times are ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its flow.
    pub flow: FlowKey,
    /// Which end is here.
    pub role: Role,
    /// Since data was last sent, retransmissions included, or since it was established.
    pub since_sent: Duration,
    /// Since data was last received, or since it was established.
    pub since_received: Duration,
    /// Since the last acknowledgement was received.
    pub since_acknowledged: Duration,
    /// What limits the sender, and since when; `None` while nothing is to be sent or acknowledged.
    pub limited: Option<(LimitedBy, Duration)>,
    /// Smoothed round-trip time; zero without a measurement.
    pub round_trip: Duration,
    /// Whether something was sent that is not acknowledged.
    pub has_unacknowledged: bool,
    /// Whether something was written that is not sent.
    pub has_unsent: bool,
    /// Whether something was received that the application has not read.
    pub has_unread: bool,
    /// Whether the peer has sent its FIN.
    pub is_peer_done: bool,
    /// Whether data was ever sent.
    pub has_sent: bool,
    /// Whether data was ever received.
    pub has_received: bool,
    /// Whether any segment was sent or received since the last sweep.
    pub was_used: bool,
    /// Whether anything was retransmitted then, but for tail loss probes.
    pub has_retransmitted: bool,
    /// By how much the round-trip time exceeds the lowest that any sweep has found; `None` when it was not used since the last
    /// one, or without a measurement.
    pub queueing: Option<Duration>,
    /// Whether the application has yet to accept it.
    pub is_unaccepted: bool,
    /// The end that spoke last: sent data.
    pub speaker: Option<End>,
    /// What the sweep found before; `None` at the first time.
    pub before: Option<Before>,
}

/// What an earlier sweep found of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// How long that is ago.
    pub ago: Duration,
    /// The end that had spoken last.
    pub speaker: Option<End>,
    /// Whether no end had spoken for a while ([`crate::aggregate::turn::QUIET`]).
    pub was_quiet: bool,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one on this node that the connection was swept at.
    Local,
    /// The other one.
    Peer,
}

/// Decodes a record of the sweep, whose times are in ticks; `None` when it is of another build.
#[must_use]
pub fn connection(bytes: &[u8], tick: Duration) -> Option<Connection> {
    const CLOSE_WAIT: u8 = 8;
    let record: OpenConnection = read(bytes)?;
    let speaker = |number| match number {
        SPEAKER_LOCAL => Some(End::Local),
        SPEAKER_PEER => Some(End::Peer),
        _ => None,
    };
    let time = |ticks: u32| tick.saturating_mul(ticks);
    let limited_by = record.limited_by.checked_sub(1).and_then(LimitedBy::from_number);
    let before = Before {
        ago: time(record.since_visit),
        speaker: speaker(record.speaker_before),
        was_quiet: record.quiet_before != 0,
    };
    let has = |bit| record.has & bit != 0;
    let is_measured =
        has(OpenConnection::USED) && record.round_trip_us != 0 && record.lowest_round_trip_us != u32::MAX;
    let queueing = record.round_trip_us.saturating_sub(record.lowest_round_trip_us);
    Some(Connection {
        flow: record.flow,
        role: role(&record.flow)?,
        since_sent: time(record.since_sent),
        since_received: time(record.since_received),
        since_acknowledged: time(record.since_acknowledged),
        limited: limited_by.map(|by| (by, time(record.since_limited))),
        round_trip: Duration::from_micros(record.round_trip_us.into()),
        has_unacknowledged: record.unacknowledged != 0,
        has_unsent: record.unsent != 0,
        has_unread: record.unread != 0,
        is_peer_done: record.state == CLOSE_WAIT,
        has_sent: has(OpenConnection::SENT),
        has_received: has(OpenConnection::RECEIVED),
        was_used: has(OpenConnection::USED),
        has_retransmitted: has(OpenConnection::RETRANSMITTED),
        queueing: is_measured.then(|| Duration::from_micros(queueing.into())),
        is_unaccepted: has(OpenConnection::UNACCEPTED),
        speaker: speaker(record.speaker),
        before: (record.since_visit != OpenConnection::NEVER).then_some(before),
    })
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::ROLE_SERVER;

    use super::*;

    #[test]
    fn a_record_is_decoded_in_time_units() {
        let record = OpenConnection {
            flow: FlowKey { role: ROLE_SERVER, ..FlowKey::default() },
            since_sent: 10,
            since_received: u32::MAX,
            since_limited: 3,
            since_visit: 250,
            round_trip_us: 1500,
            unread: 1,
            state: 8,
            limited_by: 2,
            has: OpenConnection::RECEIVED,
            speaker: SPEAKER_PEER,
            speaker_before: SPEAKER_LOCAL,
            quiet_before: 1,
            ..OpenConnection::default()
        };
        let decode =
            |record: &OpenConnection| connection(bytemuck::bytes_of(record), Duration::from_millis(4));
        let found = decode(&record).unwrap();
        assert_eq!((found.role, found.speaker), (Role::Server, Some(End::Peer)));
        assert_eq!(found.since_sent, Duration::from_millis(40));
        assert_eq!(found.since_received, Duration::from_millis(4) * u32::MAX);
        assert_eq!(found.limited, Some((LimitedBy::ReceiveWindow, Duration::from_millis(12))));
        assert_eq!(found.round_trip, Duration::from_micros(1500));
        let flags = [found.has_unacknowledged, found.has_unsent, found.has_sent];
        assert!(found.has_unread && found.is_peer_done && found.has_received && flags == [false; 3]);
        let before = Before { ago: Duration::from_secs(1), speaker: Some(End::Local), was_quiet: true };
        assert_eq!(found.before, Some(before));

        assert_eq!(
            decode(&OpenConnection { since_visit: OpenConnection::NEVER, ..record }).unwrap().before,
            None
        );
        assert!(!found.was_used && !found.has_retransmitted && !found.is_unaccepted);
        assert_eq!(found.queueing, None, "not used");
        let bits = OpenConnection::USED | OpenConnection::RETRANSMITTED | OpenConnection::UNACCEPTED;
        for (lowest_round_trip_us, microseconds) in [(400, Some(1100)), (1600, Some(0)), (u32::MAX, None)] {
            let found = decode(&OpenConnection { has: bits, lowest_round_trip_us, ..record }).unwrap();
            assert!(found.was_used && found.has_retransmitted && found.is_unaccepted && !found.has_received);
            assert_eq!(found.queueing, microseconds.map(Duration::from_micros));
        }
        for (limited_by, limited) in [(0, None), (4, None), (u8::MAX, None)] {
            assert_eq!(decode(&OpenConnection { limited_by, ..record }).unwrap().limited, limited);
        }
        assert_eq!(decode(&OpenConnection { speaker: 9, ..record }).unwrap().speaker, None);
        assert_eq!(decode(&OpenConnection { flow: FlowKey::default(), ..record }), None, "without a role");
        assert_eq!(connection(&[0; 79], Duration::ZERO), None);
    }
}
