//! How connections of a flow behave: whether the server answers what the client says.
//!
//! Answers that come at once show nothing: what matters is what a silence of the server means. So what counts is who breaks a
//! silence. When the client does after its own word, that word was no request; when the server does after its own, it speaks without being
//! asked.

use std::time::Duration;

use super::client;
use crate::ingest::{Connection, End};

/// One silence in so many may be broken by the wrong end.
const TOLERATED: u16 = 4;
/// Counts are halved here, so that a flow whose protocol changes is learned anew.
const MOST: u8 = 64;

/// What connections of a flow have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habit {
    /// The local end has spoken, the peer has: on connections of the flow, which may have ended before a sweep found them.
    has_sent: bool,
    has_received: bool,
    /// The server has spoken on a connection before the client did.
    server_began: bool,
    /// Silences after the client's word that the server broke.
    answered: u8,
    /// Silences after the client's word that the client broke.
    unanswered: u8,
    /// Silences after the server's word that the client broke.
    asked: u8,
    /// Silences after the server's word that the server broke.
    pushed: u8,
}

impl Habit {
    /// Whether an answer to the client's last word is to be expected.
    #[must_use]
    pub fn answers(&self, connection: &Connection) -> bool {
        let is_two_way =
            (self.has_sent || connection.has_sent) && (self.has_received || connection.has_received);
        // A server that speaks first may be the one that asks.
        let client_asks = self.asked > 0 || !self.server_began;
        let is_rare = |wrong: u8, right: u8| u16::from(wrong) * TOLERATED <= right.into();
        is_two_way
            && client_asks
            && is_rare(self.unanswered, self.answered)
            && is_rare(self.pushed, self.asked)
    }

    /// Learns that connections of the flow have carried data from this end, or to it.
    pub fn learn_directions(&mut self, has_sent: bool, has_received: bool) {
        self.has_sent |= has_sent;
        self.has_received |= has_received;
    }

    /// Learns from a connection that the sweep found.
    pub fn learn(&mut self, connection: &Connection) {
        let Connection { has_sent, has_received, since_sent, since_received, .. } = *connection;
        let client = client(connection.role);
        self.learn_directions(has_sent, has_received);
        self.server_began |= match client {
            End::Local => has_received && !has_sent,
            End::Peer => has_sent && !has_received,
        };
        let Some(before) = connection.before.filter(|before| before.was_quiet) else { return };
        // Both ends had been silent then, so what was said in the same tick came after it.
        let spoke = |since: Duration| since <= before.ago;
        let (local, peer) = (spoke(since_sent), spoke(since_received));
        let (client_spoke, server_spoke) = if client == End::Local { (local, peer) } else { (peer, local) };
        let Some(speaker) = before.speaker else { return };
        match (speaker == client, client_spoke, server_spoke) {
            (true, false, true) => self.answered += 1,
            (true, true, false) => self.unanswered += 1,
            // As a rule a request and its answer.
            (false, true, _) => self.asked += 1,
            (false, false, true) => self.pushed += 1,
            // Nothing, or both: then it cannot be known which of them broke the silence.
            (true, true, true) | (_, false, false) => {}
        }
        for (right, wrong) in
            [(&mut self.answered, &mut self.unanswered), (&mut self.asked, &mut self.pushed)]
        {
            if (*right).max(*wrong) >= MOST {
                *right /= 2;
                *wrong /= 2;
            }
        }
    }
}
