use netcause_common::flow::{FlowKey, ROLE_CLIENT, ROLE_SERVER};
use proptest::prelude::*;

use super::*;
use crate::ingest::Before;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A client's connection over which both ends have spoken, the local end last, 3 s ago; all is acknowledged.
fn asked() -> Connection {
    Connection {
        flow: FlowKey { role: ROLE_CLIENT, ..FlowKey::default() },
        role: Role::Client,
        since_sent: ms(3000),
        since_received: ms(9000),
        since_acknowledged: ms(2960),
        limited: None,
        round_trip: ms(2),
        has_unacknowledged: false,
        has_unsent: false,
        has_unread: false,
        is_peer_done: false,
        has_sent: true,
        has_received: true,
        traffic: None,
        has_retransmitted: false,
        queueing: None,
        is_unaccepted: false,
        speaker: Some(End::Local),
        before: None,
    }
}

/// The same, seen at the server.
fn as_server(connection: Connection) -> Connection {
    let speaker = connection.speaker.map(|end| if end == End::Local { End::Peer } else { End::Local });
    Connection {
        flow: FlowKey { role: ROLE_SERVER, ..connection.flow },
        role: Role::Server,
        since_sent: connection.since_received,
        since_received: connection.since_sent,
        has_sent: connection.has_received,
        has_received: connection.has_sent,
        speaker,
        ..connection
    }
}

#[test]
fn each_state_has_its_turn() {
    let unacknowledged = |since_acknowledged, since_limited, by| Connection {
        has_unacknowledged: true,
        since_acknowledged: ms(since_acknowledged),
        limited: Some((by, ms(since_limited))),
        ..asked()
    };
    let answered = Connection { speaker: Some(End::Peer), since_received: ms(100), ..asked() };
    let silent = Connection { has_sent: false, has_received: false, speaker: None, ..asked() };
    for (on, connection) in [
        (On::PeerApplication, asked()),
        // A delayed acknowledgement is no fault of the network.
        (On::PeerApplication, unacknowledged(150, 9000, LimitedBy::Network)),
        (On::Network, unacknowledged(250, 9000, LimitedBy::Network)),
        // The last acknowledgement is of the request before.
        (On::PeerApplication, unacknowledged(60_000, 150, LimitedBy::Network)),
        (On::Network, unacknowledged(60_000, 250, LimitedBy::SendBuffer)),
        (
            On::PeerApplication,
            Connection { round_trip: ms(300), ..unacknowledged(400, 400, LimitedBy::Network) },
        ),
        (On::SendBuffer, unacknowledged(1, 9000, LimitedBy::SendBuffer)),
        (
            On::PeerWindow,
            Connection { has_unsent: true, ..unacknowledged(1, 9000, LimitedBy::ReceiveWindow) },
        ),
        // Probes of a closed window are no data: their acknowledgements may be minutes apart.
        (
            On::PeerWindow,
            Connection {
                has_unsent: true,
                has_unacknowledged: false,
                ..unacknowledged(90_000, 90_000, LimitedBy::ReceiveWindow)
            },
        ),
        (
            On::CongestionWindow,
            Connection { has_unsent: true, ..unacknowledged(1, 9000, LimitedBy::Network) },
        ),
        (On::LocalReader, Connection { has_unread: true, ..answered }),
        (On::Idle, answered),
        (On::Idle, silent),
        // The server has closed its side: the client may close its own.
        (On::Idle, Connection { is_peer_done: true, ..asked() }),
        // Never answered: perhaps it never will.
        (On::Unknown, Connection { has_received: false, ..asked() }),
        (On::LocalApplication, as_server(asked())),
        // The client has closed its side and waits for the answer.
        (On::LocalApplication, as_server(Connection { is_peer_done: true, ..asked() })),
        (On::Idle, as_server(answered)),
        (On::Idle, as_server(silent)),
        (On::Unknown, as_server(Connection { has_received: false, ..asked() })),
    ] {
        assert_eq!(turn(&connection, &Habit::default()), on, "{connection:?}");
    }
}

/// What sweeps find, each with its time in milliseconds.
type At<T> = Vec<(u64, T)>;

/// A connection on which ends speak at these times in milliseconds, in order.
struct Talk {
    role: Role,
    said: Vec<(u64, End)>,
}

impl Talk {
    /// As a sweep finds it at this time, after an earlier one.
    fn at(&self, now: u64, swept: Option<u64>) -> Connection {
        let last = |end, now| {
            self.said.iter().filter(|(at, who)| *at <= now && *who == end).map(|(at, _)| *at).next_back()
        };
        let speaker = |now| self.said.iter().filter(|(at, _)| *at <= now).map(|(_, who)| *who).next_back();
        let age = |end, now| ms(now - last(end, now).unwrap_or(0));
        let [since_sent, since_received] = [End::Local, End::Peer].map(|end| age(end, now));
        Connection {
            role: self.role,
            since_sent,
            since_received,
            has_sent: last(End::Local, now).is_some(),
            has_received: last(End::Peer, now).is_some(),
            speaker: speaker(now),
            before: swept.map(|swept| Before {
                ago: ms(now - swept),
                speaker: speaker(swept),
                was_quiet: age(End::Local, swept).min(age(End::Peer, swept)) >= QUIET,
            }),
            ..asked()
        }
    }

    /// What sweeps with these gaps find: each turn, and each response with the time of the sweep.
    fn sweep(&self, gaps: &[u64]) -> (At<On>, At<Duration>) {
        let (mut now, mut swept, mut habit) = (0, None, Habit::default());
        let (mut turns, mut responses) = (Vec::new(), Vec::new());
        for gap in gaps {
            now += gap;
            let connection = self.at(now, swept);
            habit.learn(&connection);
            turns.push((now, turn(&connection, &habit)));
            responses.extend(response(&connection, &habit, ms(*gap)).map(|took| (now, took)));
            swept = Some(now);
        }
        (turns, responses)
    }
}

/// Requests and answers, with pauses before the one and thinking before the other.
fn exchanges(role: Role, pauses: &[(u64, u64)]) -> Talk {
    let client = client(role);
    let server = if client == End::Local { End::Peer } else { End::Local };
    let mut now = 0;
    let mut said = Vec::new();
    for (pause, think) in pauses {
        said.push((now + pause, client));
        now += pause + think;
        said.push((now, server));
    }
    Talk { role, said }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

proptest! {
    /// Whatever the server's pace, each response is observed at most once and as long as it was, and a wait is a wait.
    #[test]
    fn exchanges_are_measured(
        role in role(),
        pauses in prop::collection::vec((1..4000_u64, 1..4000_u64), 1..60),
        gaps in prop::collection::vec(1000..10_000_u64, 1..40),
    ) {
        let talk = exchanges(role, &pauses);
        let (turns, responses) = talk.sweep(&gaps);
        let owed = if role == Role::Client { On::PeerApplication } else { On::LocalApplication };
        for (now, on) in turns {
            let asked = talk.said.iter().filter(|(at, _)| *at <= now).count() % 2 == 1;
            // Before the first answer it is unknown whether there will be any.
            let first = talk.said.get(1).is_none_or(|(at, _)| *at > now);
            let expected = if !asked { On::Idle } else if first { On::Unknown } else { owed };
            prop_assert_eq!(on, expected, "at {}", now);
        }
        let mut seen = Vec::new();
        for (now, took) in responses {
            let last = talk.said.chunks(2).rfind(|pair| pair[1].0 <= now).unwrap();
            prop_assert_eq!(took, ms(last[1].0 - last[0].0));
            prop_assert!(!seen.contains(&last[1].0), "observed twice");
            seen.push(last[1].0);
        }
    }

    /// A server that speaks unasked, to a client that has asked once, never looks slow for long.
    #[test]
    fn pushes_are_not_waited_for(
        role in role(),
        pushes in prop::collection::vec(1500..9000_u64, 8..60),
        gap in 1000..1400_u64,
    ) {
        let mut talk = exchanges(role, &[(10, 10)]);
        let server = talk.said[1].1;
        let mut now = 20;
        for push in pushes {
            now += push;
            talk.said.push((now, server));
        }
        let (turns, responses) = talk.sweep(&vec![gap; 40]);
        prop_assert!(turns.iter().all(|(_, on)| *on == On::Idle), "{:?}", turns);
        prop_assert!(responses.len() <= 1, "{:?}", responses);
    }

    /// Nor does one that takes what the client says and answers none of it, once that was seen.
    #[test]
    fn messages_without_answers_become_known(
        role in role(),
        // So that a sweep finds each silence.
        messages in prop::collection::vec(2500..9000_u64, 8..60),
    ) {
        let mut talk = exchanges(role, &[(10, 10)]);
        let client = talk.said[0].1;
        let mut now = 20;
        for message in messages {
            now += message;
            talk.said.push((now, client));
        }
        let (turns, _) = talk.sweep(&[1200; 40]);
        // Of the first message it cannot be known; the second one breaks its silence.
        let known = talk.said[3].0 + 1200;
        let late = turns.iter().filter(|(now, _)| *now > known);
        prop_assert!(late.clone().all(|(_, on)| *on == On::Unknown), "{:?}", turns);
    }
}

#[test]
fn a_server_that_speaks_first_may_be_the_one_that_asks() {
    // The server asks every 5 s, and the client answers at once.
    let mut said = Vec::new();
    for round in 0..8 {
        said.extend([(1 + round * 5000, End::Peer), (1500 + round * 5000, End::Local)]);
    }
    let talk = Talk { role: Role::Client, said };
    let (turns, responses) = talk.sweep(&[1000; 40]);
    assert!(turns.iter().all(|(_, on)| *on != On::PeerApplication), "{turns:?}");
    assert!(responses.is_empty(), "{responses:?}");

    // One that greets is asked after the first silence.
    let mut said = vec![(1, End::Peer)];
    for round in 1..8 {
        said.extend([(round * 5000, End::Local), (round * 5000 + 2000, End::Peer)]);
    }
    let (turns, _) = Talk { role: Role::Client, said }.sweep(&[1000; 40]);
    let waits = turns.iter().filter(|(_, on)| *on == On::PeerApplication).count();
    assert!((12..=16).contains(&waits), "{turns:?}");
}

#[test]
fn a_hanging_server_is_known_by_its_past() {
    let mut pauses = vec![(1200, 1200); 40];
    pauses.push((1200, 600_000));
    let talk = exchanges(Role::Client, &pauses);
    let (turns, _) = talk.sweep(&[1000; 300]);
    assert!(turns[100..].iter().all(|(_, on)| *on == On::PeerApplication), "{turns:?}");
}

#[test]
fn an_answer_in_the_tick_of_the_sweep_is_one() {
    let before = Before { ago: ms(2000), speaker: Some(End::Local), was_quiet: true };
    let answered =
        Connection { since_received: ms(2000), since_sent: ms(500), before: Some(before), ..asked() };
    let mut habit = Habit::default();
    habit.learn(&answered);
    assert_eq!(turn(&answered, &habit), On::PeerApplication);
    let unanswered = Connection { since_received: ms(9000), ..answered };
    habit.learn(&unanswered);
    assert_eq!(turn(&unanswered, &habit), On::Unknown);
}
