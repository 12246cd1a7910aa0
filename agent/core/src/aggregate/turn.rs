//! Whose turn is it: what an open connection waits for.
//!
//! The kernel notes of every connection when each end spoke last, what is on its way and what limits the sender. From that, and
//! from how connections of the same flow have behaved ([`Habit`]), [`turn`] decides what one waits for at a moment. It needs
//! no look into the data, so it works under TLS.
//!
//! The client asks and the server answers. So when the client spoke last, the server's application owes something; when the
//! server spoke last, the client may be silent as long as it likes. Where a flow does not behave so (one end only listens, or
//! the server speaks without being asked), it cannot be decided whether an answer is owed: [`On::Unknown`].

mod habit;

use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use netcause_common::flow::LimitedBy;
use netcause_common::histogram::{Histogram, RoundTrips, powers};
use netcause_common::labelled_enum;

use crate::ingest::{Connection, End, Role};

pub use habit::Habit;

/// A connection is quiet when no end has spoken for so long: longer than gaps within one answer.
pub const QUIET: Duration = Duration::from_secs(1);
/// How much later than a round trip an acknowledgement may come: receivers delay it up to 200 ms, and the kernel's retransmission
/// timeout leaves as much (`TCP_DELACK_MAX`, `TCP_RTO_MIN`, include/net/tcp.h).
const DELAYED_ACKNOWLEDGEMENT: Duration = Duration::from_millis(200);

labelled_enum! {
    /// What an open connection waits for: index into [`Waits::waited_us`].
    pub enum On: u8 {
        /// Data was sent and not acknowledged for longer than the round trip explains.
        Network = 0, "network";
        /// The peer's receive window is closed: its application does not read.
        PeerWindow = 1, "peer_window";
        /// The send buffer is full, and all of it is sent.
        SendBuffer = 2, "send_buffer";
        /// Data was written and not sent: congestion window, pacing, or Nagle's algorithm.
        CongestionWindow = 3, "congestion_window";
        /// Data has arrived that the local application has not read.
        LocalReader = 4, "local_reader";
        /// The peer has asked, all is read, and the local application has not answered.
        LocalApplication = 5, "local_application";
        /// The local end has asked, all is acknowledged, and the peer's application has not answered.
        PeerApplication = 6, "peer_application";
        /// No end owes anything.
        Idle = 7, "idle";
        /// Whether an end owes an answer cannot be decided.
        Unknown = 8, "unknown";
    }
}

/// What connections wait for, how long answers took, and how the path treated them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Waits {
    /// Connection-time by [`On`], in microseconds: each sweep adds the time since the one before it for each connection.
    pub waited_us: [u64; On::COUNT],
    /// Connections by [`On`] at the last sweep: a gauge, set where totals are shown and zero in the model.
    pub waiting: [u64; On::COUNT],
    /// From the last data of a request to the last data of its answer, in milliseconds.
    pub responses: WaitTimes,
    /// Ages of data without an acknowledgement where the network is waited for, at each sweep, in milliseconds.
    pub unacknowledged: WaitTimes,
    /// Ages of requests without an answer where an application is waited for, the peer's at a client and the local one at a server, at
    /// each sweep, in milliseconds.
    pub unanswered: WaitTimes,
    /// Connections that sweeps have found used since the one before: without and with retransmissions meanwhile.
    pub used: [u64; 2],
    /// By how much the smoothed round-trip time of each of them exceeded the lowest one found, in microseconds.
    pub queueing: RoundTrips,
}

/// The first bound of waiting times: 2^-8 s, about a tick.
pub const WAIT_FIRST: i32 = -8;
/// Upper bounds of waiting times in milliseconds: 4 ms to 64 s.
pub const WAIT_BOUNDS_MS: [u64; 15] = powers(WAIT_FIRST, 1_000);
/// Waiting times; bounds and sum in milliseconds ([`WAIT_BOUNDS_MS`]).
pub type WaitTimes = Histogram<{ WAIT_BOUNDS_MS.len() + 1 }>;

impl Waits {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        waited_us: [0; On::COUNT],
        waiting: [0; On::COUNT],
        responses: WaitTimes::ZERO,
        unacknowledged: WaitTimes::ZERO,
        unanswered: WaitTimes::ZERO,
        used: [0; 2],
        queueing: RoundTrips::ZERO,
    };
}

/// What a connection waits for, by its present state and by how its flow has behaved.
///
/// A stalled network comes first, since nothing else can be known before it moves; then what keeps data from being sent, then
/// data that is not read, then who owes an answer.
#[must_use]
pub fn turn(connection: &Connection, habit: &Habit) -> On {
    match connection.limited {
        Some(_) if overdue(connection).is_some() => On::Network,
        Some((LimitedBy::ReceiveWindow, _)) => On::PeerWindow,
        Some((LimitedBy::SendBuffer, _)) => On::SendBuffer,
        _ if connection.has_unsent => On::CongestionWindow,
        _ if connection.has_unread => On::LocalReader,
        _ => match connection.speaker {
            Some(speaker) if speaker == client(connection.role) => owed(connection, habit),
            _ => On::Idle,
        },
    }
}

/// The client spoke last.
fn owed(connection: &Connection, habit: &Habit) -> On {
    match connection.role {
        // A server that has closed its side answers no more.
        Role::Client if connection.is_peer_done => On::Idle,
        _ if !habit.answers(connection) => On::Unknown,
        Role::Client => On::PeerApplication,
        Role::Server => On::LocalApplication,
    }
}

/// How long the answer to the last request took, when it came after the sweep before this one; `None` when there was none, or
/// flows of this kind have no answers. An answer that goes on counts up to now, once.
///
/// `since_sweep` stands in for the connection's own last visit at the first one.
#[must_use]
pub fn response(connection: &Connection, habit: &Habit, since_sweep: Duration) -> Option<Duration> {
    let client = client(connection.role);
    let since_visit = connection.before.map_or(since_sweep, |before| before.ago);
    let (since_request, since_answer) = match client {
        End::Local => (connection.since_sent, connection.since_received),
        End::Peer => (connection.since_received, connection.since_sent),
    };
    let was_waiting = connection.before.is_some_and(|before| before.speaker == Some(client));
    let is_new = since_answer < since_visit && (since_request < since_visit || was_waiting);
    let is_answered = connection.speaker.is_some_and(|speaker| speaker != client);
    (is_answered && is_new && habit.answers(connection)).then(|| since_request.saturating_sub(since_answer))
}

/// How long ago the last data of the request came that an application has not answered; `None` when it waits for something else.
#[must_use]
pub fn unanswered(connection: &Connection, on: On) -> Option<Duration> {
    match on {
        On::PeerApplication => Some(connection.since_sent),
        On::LocalApplication => Some(connection.since_received),
        _ => None,
    }
}

/// How long the oldest byte without an acknowledgement has waited for one, if for longer than the round trip explains. It was sent
/// after the last acknowledgement came, and after the connection last had nothing to send.
#[must_use]
pub fn overdue(connection: &Connection) -> Option<Duration> {
    let (_, since_limited) = connection.limited?;
    let waited = connection.since_acknowledged.min(since_limited);
    let is_overdue =
        connection.has_unacknowledged && waited > connection.round_trip + DELAYED_ACKNOWLEDGEMENT;
    is_overdue.then_some(waited)
}

/// The end that asks.
fn client(role: Role) -> End {
    match role {
        Role::Client => End::Local,
        Role::Server => End::Peer,
    }
}

#[cfg(test)]
mod tests;
