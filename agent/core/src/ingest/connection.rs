//! Decodes the records of the sweep into open connections.

use std::time::Duration;

use netcause_common::flow::{Counted, FlowKey, LimitedBy};
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
    /// What it has counted since the last sweep; `None` when no segment was sent or received.
    pub traffic: Option<Traffic>,
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

/// What a connection has counted since the last sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What its totals have grown by.
    pub growth: Counted,
    /// Minimum of recent round-trip times, by the kernel; `None` without a measurement.
    pub minimum_round_trip: Option<Duration>,
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
    let age = |ticks: u32| time(ticks.saturating_sub(OpenConnection::AHEAD));
    // How far one number lies behind another one of a circle; 0 when it lies before it.
    let distance = |behind: u32| if behind >> 31 == 0 { behind } else { 0 };
    let unread = distance(record.unread);
    // When the FIN is received, the state changes to this one.
    let is_peer_done = record.state == CLOSE_WAIT;
    let round_trip_us = record.round_trip_eighths >> 3;
    let limited_by = record.limited_by.checked_sub(1).and_then(LimitedBy::from_number);
    let before = record.before.found().map(|(ago, last, was_quiet)| Before {
        ago: time(ago),
        speaker: speaker(last),
        was_quiet,
    });
    let has = |bit| record.has & bit != 0;
    let microseconds = |time: u32| Duration::from_micros(time.into());
    let measured = |time: u32| (time != u32::MAX).then(|| microseconds(time));
    let was_used = has(OpenConnection::USED);
    let is_measured = was_used && round_trip_us != 0 && record.lowest_round_trip_us != u32::MAX;
    let queueing = round_trip_us.saturating_sub(record.lowest_round_trip_us);
    let traffic = was_used.then(|| Traffic {
        growth: record.growth,
        minimum_round_trip: measured(record.minimum_round_trip_us),
    });
    Some(Connection {
        flow: record.flow,
        role: role(&record.flow)?,
        since_sent: age(record.since_sent),
        since_received: age(record.since_received),
        since_acknowledged: age(record.since_acknowledged),
        limited: limited_by.map(|by| (by, time(distance(record.since_limited)))),
        round_trip: microseconds(round_trip_us),
        has_unacknowledged: has(OpenConnection::UNACKNOWLEDGED),
        has_unsent: has(OpenConnection::UNSENT),
        has_unread: unread > u32::from(is_peer_done),
        is_peer_done,
        has_sent: has(OpenConnection::SENT),
        has_received: has(OpenConnection::RECEIVED),
        traffic,
        has_retransmitted: has(OpenConnection::RETRANSMITTED),
        queueing: is_measured.then(|| microseconds(queueing)),
        is_unaccepted: has(OpenConnection::UNACCEPTED),
        speaker: speaker(record.speaker),
        before,
    })
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::ROLE_SERVER;
    use netcause_common::probe::open_sockets::{Past, Visit};

    use super::*;

    #[test]
    fn a_record_is_decoded_in_time_units() {
        let record = OpenConnection {
            flow: FlowKey { role: ROLE_SERVER, ..FlowKey::default() },
            since_sent: OpenConnection::AHEAD + 10,
            since_received: u32::MAX,
            since_limited: 3,
            before: Visit::new(0, SPEAKER_LOCAL, true).past(250),
            since_acknowledged: OpenConnection::AHEAD - 1,
            round_trip_eighths: 12_007,
            state: 8,
            limited_by: 2,
            unread: 2,
            has: OpenConnection::RECEIVED,
            speaker: SPEAKER_PEER,
            ..OpenConnection::default()
        };
        let decode =
            |record: &OpenConnection| connection(bytemuck::bytes_of(record), Duration::from_millis(4));
        let found = decode(&record).unwrap();
        assert_eq!((found.role, found.speaker), (Role::Server, Some(End::Peer)));
        assert_eq!(found.since_sent, Duration::from_millis(40));
        assert_eq!(found.since_received, Duration::from_millis(4) * (u32::MAX - OpenConnection::AHEAD));
        assert_eq!(found.since_acknowledged, Duration::ZERO, "meanwhile");
        assert_eq!(found.limited, Some((LimitedBy::ReceiveWindow, Duration::from_millis(12))));
        assert_eq!(found.round_trip, Duration::from_micros(1500));
        let flags = [found.has_unacknowledged, found.has_unsent, found.has_sent];
        assert!(found.has_unread && found.is_peer_done && found.has_received && flags == [false; 3]);
        let before = Before { ago: Duration::from_secs(1), speaker: Some(End::Local), was_quiet: true };
        assert_eq!(found.before, Some(before));

        assert_eq!(decode(&OpenConnection { before: Past(0), ..record }).unwrap().before, None);
        assert!(found.traffic.is_none() && !found.has_retransmitted && !found.is_unaccepted);
        assert_eq!(found.queueing, None, "not used");
        for (limited_by, limited) in [(0, None), (4, None), (u8::MAX, None)] {
            assert_eq!(decode(&OpenConnection { limited_by, ..record }).unwrap().limited, limited);
        }
        let meanwhile = OpenConnection { since_limited: u32::MAX, ..record };
        assert_eq!(decode(&meanwhile).unwrap().limited, Some((LimitedBy::ReceiveWindow, Duration::ZERO)));
        for (state, unread, expected) in [
            (8, 0, false),
            (8, 1, false),
            (1, 1, true),
            (1, 0, false),
            (1, u32::MAX, false),
            (1, 1 << 30, true),
        ] {
            let found = decode(&OpenConnection { state, unread, ..record }).unwrap();
            assert_eq!(found.has_unread, expected, "{unread} in state {state}");
        }
        assert_eq!(decode(&OpenConnection { speaker: 9, ..record }).unwrap().speaker, None);
        assert_eq!(decode(&OpenConnection { flow: FlowKey::default(), ..record }), None, "without a role");
        assert_eq!(connection(&[0; 119], Duration::ZERO), None);
    }

    #[test]
    fn a_used_connection_has_traffic() {
        let bits = OpenConnection::USED | OpenConnection::RETRANSMITTED | OpenConnection::UNACCEPTED;
        let flow = FlowKey { role: ROLE_SERVER, ..FlowKey::default() };
        let growth = Counted { sent_bytes: 7, limited_ticks: [1, 2, 3], ..Counted::default() };
        for (lowest, minimum, queueing) in
            [(400, 500, Some(1100)), (1600, 1600, Some(0)), (u32::MAX, u32::MAX, None)]
        {
            let record = OpenConnection {
                flow,
                has: bits,
                round_trip_eighths: 12_000,
                lowest_round_trip_us: lowest,
                minimum_round_trip_us: minimum,
                growth,
                ..OpenConnection::default()
            };
            let found = connection(bytemuck::bytes_of(&record), Duration::ZERO).unwrap();
            assert!(found.has_retransmitted && found.is_unaccepted && !found.has_received);
            assert_eq!(found.queueing, queueing.map(Duration::from_micros));
            let traffic = found.traffic.unwrap();
            assert_eq!(traffic.growth, growth);
            let expected = queueing.map(|_| Duration::from_micros(minimum.into()));
            assert_eq!(traffic.minimum_round_trip, expected);
        }
    }
}
