//! When DNS queries have timed out, and how long a late answer is still recognised.
//!
//! A query waits in the kernel's table until its answer comes, or until it has timed out. Then it moves to a table of late
//! queries, so that an answer that comes after the timeout is distinguished from one without a query.

use std::collections::VecDeque;
use std::time::Duration;

use netcause_common::dns::{ABANDONED_WITHIN_NS, Asked, ClosedSocket, QueryKey, Served};
use netcause_common::limits;

/// A late answer is recognised for so long after the timeout.
const LATEST: Duration = Duration::from_secs(60);
/// Late queries that are to be removed, answered ones included.
const MAX_LATE: usize = 4 * limits::DNS_LATE as usize;
/// A server on this node that has not answered by then will not.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(30);

/// Decides which queries have timed out. Times are `CLOCK_MONOTONIC`, as the programs stamp them.
#[derive(Debug)]
pub struct Timeouts {
    timeout: Duration,
    /// Late queries in the kernel's table, by when they are to be removed; in that order.
    late: VecDeque<(Duration, QueryKey)>,
}

impl Timeouts {
    /// Clients wait for an answer for so long.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self { timeout, late: VecDeque::new() }
    }

    /// Whether a client's query has timed out, or was answered altogether.
    #[must_use]
    pub fn is_over(&self, asked: &Asked, now: Duration) -> bool {
        let is_complete = asked.unanswered == 0 && asked.marks & Asked::SHARES_ID == 0;
        is_complete || is_older(asked.last_ns, now, self.timeout)
    }

    /// Whether the client of a query that has timed out did not wait for the answer: it closed its socket sooner than any
    /// resolver gives up. `closed` is what the slot of its socket has.
    #[must_use]
    pub fn is_abandoned(asked: &Asked, closed: &ClosedSocket) -> bool {
        let waited_ns = closed.at_ns.saturating_sub(asked.last_ns);
        let is_its_own = asked.socket != 0 && asked.socket == closed.socket;
        is_its_own && asked.marks & Asked::REPEATED == 0 && waited_ns < ABANDONED_WITHIN_NS
    }

    /// Whether ICMP has said, after the query was sent last, that there will be no answer.
    #[must_use]
    pub fn is_refused(asked: &Asked, closed: &ClosedSocket) -> bool {
        let is_its_own = asked.socket != 0 && asked.socket == closed.socket;
        let refused_at = closed.at_ns.checked_sub(ClosedSocket::REFUSED);
        is_its_own && refused_at.is_some_and(|at| at >= asked.last_ns)
    }

    /// Whether a query to a server on this node is over: see [`Self::is_over`].
    #[must_use]
    pub fn is_service_over(served: &Served, now: Duration) -> bool {
        served.unanswered == 0 || is_older(served.since_ns, now, SERVICE_TIMEOUT)
    }

    /// A query was moved to the table of late ones.
    pub fn moved(&mut self, key: QueryKey, now: Duration) {
        self.late.push_back((now + LATEST, key));
    }

    /// The next query to remove from the table of late ones; it may have been answered already.
    pub fn next_to_remove(&mut self, now: Duration) -> Option<QueryKey> {
        let is_full = self.late.len() > MAX_LATE;
        self.late.pop_front_if(|(until, _)| is_full || *until <= now).map(|(_, key)| key)
    }
}

fn is_older(since_ns: u64, now: Duration, than: Duration) -> bool {
    now.saturating_sub(Duration::from_nanos(since_ns)) > than
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    fn key(id: u16) -> QueryKey {
        QueryKey { id, ..QueryKey::zeroed() }
    }

    #[test]
    fn a_query_times_out_when_its_last_repetition_does() {
        let timeouts = Timeouts::after(Duration::from_secs(5));
        let asked = Asked { since_ns: 0, last_ns: 2_000_000_000, unanswered: 2, ..Asked::zeroed() };
        assert!(!timeouts.is_over(&asked, Duration::from_secs(7)));
        assert!(timeouts.is_over(&asked, Duration::from_millis(7001)));
        assert!(
            timeouts.is_over(&Asked { unanswered: 0, ..asked }, Duration::from_secs(3)),
            "it was answered"
        );
        // A clock that a program read later than we did.
        assert!(!timeouts.is_over(&asked, Duration::ZERO));
        let served = Served { since_ns: 1_000_000_000, unanswered: 1, length: 0 };
        assert!(!Timeouts::is_service_over(&served, Duration::from_secs(31)));
        assert!(Timeouts::is_service_over(&served, Duration::from_secs(32)));
    }

    #[test]
    fn a_query_is_abandoned_when_its_socket_is_closed_soon() {
        let asked = Asked { last_ns: 1_000_000_000, socket: 7, unanswered: 1, ..Asked::zeroed() };
        let closed = |socket, at_ns| ClosedSocket { socket, at_ns };
        assert!(Timeouts::is_abandoned(&asked, &closed(7, 1_000_000_001)));
        assert!(Timeouts::is_abandoned(&asked, &closed(7, 1_799_999_999)));
        assert!(
            !Timeouts::is_abandoned(&asked, &closed(7, 2_000_000_000)),
            "it waited as long as resolvers do"
        );
        assert!(!Timeouts::is_abandoned(&asked, &closed(8, 1_000_000_001)), "another socket");
        let repeated = Asked { marks: Asked::REPEATED, ..asked };
        assert!(!Timeouts::is_abandoned(&repeated, &closed(7, 1_000_000_001)), "it waited before");
        let refused = closed(7, ClosedSocket::REFUSED | 1_000_000_001);
        assert!(!Timeouts::is_abandoned(&asked, &refused) && Timeouts::is_refused(&asked, &refused));
        let earlier = closed(7, ClosedSocket::REFUSED | 999_999_999);
        assert!(!Timeouts::is_refused(&asked, &earlier), "another query");
        assert!(!Timeouts::is_refused(&asked, &closed(7, 1_000_000_001)), "closed by its client");
        let without = Asked { socket: 0, ..asked };
        assert!(!Timeouts::is_abandoned(&without, &closed(0, 1_000_000_001)), "an empty slot");
    }

    #[test]
    fn a_query_that_shares_its_id_is_kept_until_the_others_are_answered() {
        let timeouts = Timeouts::after(Duration::from_secs(5));
        let asked = Asked { last_ns: 1_000_000_000, marks: Asked::SHARES_ID, ..Asked::zeroed() };
        assert!(!timeouts.is_over(&asked, Duration::from_secs(6)));
        assert!(timeouts.is_over(&asked, Duration::from_secs(7)));
    }

    #[test]
    fn late_queries_are_kept_for_a_minute_and_bounded() {
        let mut timeouts = Timeouts::after(Duration::from_secs(5));
        let second = Duration::from_secs(1);
        timeouts.moved(key(1), second);
        timeouts.moved(key(2), second * 2);
        assert_eq!(timeouts.next_to_remove(second * 60), None);
        assert_eq!(timeouts.next_to_remove(second * 61), Some(key(1)));
        assert_eq!(timeouts.next_to_remove(second * 61), None);
        for _ in 0..MAX_LATE {
            timeouts.moved(key(3), second * 3);
        }
        assert_eq!(timeouts.next_to_remove(second * 3), Some(key(2)), "too many");
        assert_eq!(timeouts.next_to_remove(second * 3), None);
    }
}
