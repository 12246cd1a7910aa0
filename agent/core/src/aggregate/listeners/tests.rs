use super::*;

const NAMESPACE: Namespace = Namespace { inode: 40, mark: 7 };
const NOW: Duration = Duration::from_secs(100);

fn key(local: u64, port: u16) -> QueueKey {
    QueueKey { local, port, ..QueueKey::default() }
}

fn listener(local: u64, port: u16, discards: u64) -> (QueueKey, AcceptQueue) {
    (
        key(local, port),
        AcceptQueue { discards, namespace: NAMESPACE.inode, sweep: 1, ..AcceptQueue::default() },
    )
}

fn counters(full: u64, requests: u64, other: u64) -> (Namespace, NamespaceCounters) {
    let drops = full + requests + other;
    (
        NAMESPACE,
        NamespaceCounters { drops, accept_queue_full: full, request_queue_full: requests, cookies: 0 },
    )
}

/// Listeners after the first reading of what came before the agent.
fn begun(queues: &[(QueueKey, AcceptQueue)], before: (Namespace, NamespaceCounters)) -> Listeners {
    let mut listeners = Listeners::default();
    listeners.update(queues, &[before], NOW);
    for (key, _) in queues {
        assert_eq!(listeners.of(key), Dropped::default());
    }
    listeners
}

fn all(listeners: &Listeners) -> [u64; 3] {
    let mut sum = Dropped::default();
    listeners.others(|_| false).for_each(|(_, dropped)| sum.add(&dropped));
    sum.handshakes
}

#[test]
fn drops_belong_to_the_listener_whose_discards_grew() {
    let mut listeners = begun(&[listener(1, 80, 5), listener(2, 81, 7)], counters(50, 0, 3));
    listeners.update(&[listener(1, 80, 30), listener(2, 81, 7)], &[counters(60, 4, 4)], NOW);
    assert_eq!(listeners.of(&key(1, 80)).handshakes, [10, 4, 1]);
    assert_eq!(listeners.of(&key(2, 81)), Dropped::default());
    assert_eq!(all(&listeners), [10, 4, 1]);
}

#[test]
fn discards_that_are_no_drops_are_none() {
    let mut listeners = begun(&[listener(1, 80, 5)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 15_032)], &[counters(0, 0, 0)], NOW);
    assert_eq!(all(&listeners), [0, 0, 0]);
}

#[test]
fn listeners_that_drop_for_one_reason_are_told_apart() {
    let mut listeners = begun(&[listener(1, 80, 0), listener(1, 81, 0)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 3), listener(1, 81, 4)], &[counters(7, 0, 0)], NOW);
    assert_eq!(listeners.of(&key(1, 80)).handshakes, [3, 0, 0]);
    assert_eq!(listeners.of(&key(1, 81)).handshakes, [4, 0, 0]);
}

#[test]
fn what_cannot_be_told_apart_counts_for_what_is_common() {
    // Other discards are among them: which listener's is not known.
    let mut listeners = begun(&[listener(1, 80, 0), listener(1, 81, 0)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 3), listener(1, 81, 5)], &[counters(7, 0, 0)], NOW);
    assert_eq!(listeners.of(&key(1, 0)).handshakes, [7, 0, 0]);
    // Nor is it where several dropped for several reasons; these have no local end in common.
    let mut listeners = begun(&[listener(1, 80, 0), listener(2, 80, 0)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 3), listener(2, 80, 5)], &[counters(7, 1, 0)], NOW);
    let of_namespace = LOCAL_IS_NAMESPACE | u64::from(NAMESPACE.inode);
    assert_eq!(listeners.of(&key(of_namespace, 80)).handshakes, [7, 1, 0]);
    listeners.update(&[listener(1, 80, 4), listener(2, 81, 1)], &[counters(8, 2, 0)], NOW);
    assert_eq!(listeners.of(&key(of_namespace, 0)).handshakes, [1, 1, 0]);
    assert_eq!(all(&listeners), [8, 2, 0]);
}

#[test]
fn a_namespace_that_is_new_counts_from_its_beginning() {
    let mut listeners = Listeners::default();
    listeners.update(&[], &[], NOW);
    listeners.update(&[listener(1, 80, 9)], &[counters(8, 0, 0)], NOW);
    assert_eq!(listeners.of(&key(1, 80)).handshakes, [8, 0, 0]);
    // It was there before: the agent has seen fewer discards than drops.
    let mut listeners = Listeners::default();
    listeners.update(&[], &[], NOW);
    listeners.update(&[listener(1, 80, 9)], &[counters(80, 0, 0)], NOW);
    listeners.update(&[listener(1, 80, 10)], &[counters(81, 0, 0)], NOW);
    assert_eq!(listeners.of(&key(1, 80)).handshakes, [1, 0, 0]);
}

#[test]
fn a_namespace_that_was_not_read_is_counted_when_it_is() {
    let mut listeners = begun(&[listener(1, 80, 0), listener(1, 81, 0)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 6), listener(1, 81, 0)], &[], NOW);
    listeners.update(&[listener(1, 80, 6), listener(1, 81, 0)], &[counters(6, 0, 0)], NOW);
    assert_eq!(listeners.of(&key(1, 80)).handshakes, [6, 0, 0]);
}

#[test]
fn cookies_are_of_the_only_listener() {
    let cookies = |cookies| (NAMESPACE, NamespaceCounters { cookies, ..NamespaceCounters::default() });
    let mut listeners = begun(&[listener(1, 80, 0)], cookies(0));
    listeners.update(&[listener(1, 80, 0)], &[cookies(5)], NOW);
    assert_eq!(listeners.of(&key(1, 80)).cookies, 5);
    listeners.update(&[listener(1, 80, 0), listener(1, 443, 0)], &[cookies(6)], NOW);
    assert_eq!((listeners.of(&key(1, 80)).cookies, listeners.of(&key(1, 0)).cookies), (5, 1));
}

#[test]
fn drops_of_what_is_gone_are_kept_for_a_while() {
    let mut listeners = begun(&[listener(1, 80, 0), listener(1, 81, 0)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 2), listener(1, 81, 2)], &[counters(1, 0, 0)], NOW);
    listeners.update(&[], &[], NOW + KEPT - Duration::from_secs(1));
    assert_eq!(all(&listeners), [1, 0, 0]);
    listeners.update(&[], &[], NOW + KEPT);
    assert_eq!(all(&listeners), [0, 0, 0]);
}

#[test]
fn a_namespace_with_the_inode_number_of_one_before_is_another() {
    let mut listeners = begun(&[listener(1, 80, 0)], counters(0, 0, 0));
    listeners.update(&[listener(1, 80, 5)], &[counters(5, 0, 0)], NOW);
    let (_, drops) = counters(6, 0, 0);
    let later = Namespace { mark: 8, ..NAMESPACE };
    listeners.update(&[listener(1, 80, 5), listener(2, 80, 6)], &[(later, drops)], NOW);
    assert_eq!(listeners.of(&key(2, 80)).handshakes, [6, 0, 0]);
    assert_eq!(all(&listeners), [11, 0, 0]);
}
