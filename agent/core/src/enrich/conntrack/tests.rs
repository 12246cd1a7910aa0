use std::net::Ipv4Addr;

use netcause_common::flow::PROTOCOL_TCP;
use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn query(number: u32) -> ServiceQuery {
    let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a60_0000 + number));
    let service = ServiceAddress { address, port: 80, protocol: PROTOCOL_TCP };
    ServiceQuery { service, client: Some("10.77.0.2".parse().unwrap()) }
}

fn backend(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, number], 8080))
}

/// What the kernel found for each query of a pass.
fn outcome(pass: Pass, found: impl Fn(ServiceQuery) -> Vec<SocketAddr>) -> Outcome {
    let mut outcome = Outcome::of(pass);
    let queries: Vec<_> = outcome.pass.queries().collect();
    for (query, tally) in queries.into_iter().zip(&mut outcome.found) {
        found(query).into_iter().for_each(|backend| tally.add(backend));
    }
    outcome
}

fn failed(pass: Pass, failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::of(pass) }
}

/// Where connections go, and when one was seen last.
fn backends(conntrack: &Conntrack, query: ServiceQuery) -> Option<(Vec<SocketAddr>, Duration)> {
    match conntrack.backends(query) {
        ServiceBackends::Known(backends) => {
            Some((backends.iter().map(|backend| backend.address).collect(), backends[0].seen))
        }
        _ => None,
    }
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 2], port))
}

#[test]
fn the_whole_table_answers_everything_at_once() {
    let mut conntrack = Conntrack::default();
    assert_eq!(conntrack.plan(seconds(1)), None);
    conntrack.register_interest(query(1), seconds(1));
    conntrack.register_interest(query(2), seconds(1));
    assert_eq!(conntrack.backends(query(1)), ServiceBackends::Unknown);
    let pass = conntrack.plan(seconds(1)).unwrap();
    assert_eq!(pass.queries().count(), 2);
    // One at a time.
    assert_eq!(conntrack.plan(seconds(9)), None);
    let found = |asked| if asked == query(1) { vec![backend(3), backend(4), backend(4)] } else { vec![] };
    assert!(conntrack.handle(outcome(pass, found), seconds(2)), "it is news that the kernel answers");
    assert_eq!(backends(&conntrack, query(1)), Some((vec![backend(4), backend(3)], seconds(2))));
    assert_eq!(conntrack.backends(query(2)), ServiceBackends::NotTranslated);
    assert_eq!(conntrack.backends(query(3)), ServiceBackends::Unknown);
    assert_eq!(conntrack.support(), &Support::Yes);
    let statistics = conntrack.statistics();
    assert_eq!((statistics.dumps, statistics.answered, statistics.none), (1, 1, 1));
}

#[test]
fn an_answer_is_asked_for_again_and_outlives_its_connections() {
    let mut conntrack = Conntrack::default();
    let ask = |conntrack: &mut Conntrack, at: u64, found: &[SocketAddr]| {
        conntrack.register_interest(query(1), seconds(at));
        let pass = conntrack.plan(seconds(at));
        let is_asked = pass.is_some();
        pass.map(|pass| conntrack.handle(outcome(pass, |_| found.to_vec()), seconds(at)));
        is_asked
    };
    // Soon, then ever more rarely, while it is the same.
    let asked: Vec<u64> = (0..=270).filter(|at| ask(&mut conntrack, *at, &[backend(3)])).collect();
    assert_eq!(asked, [0, 5, 15, 35, 75, 135, 195, 255]);
    // One that is new is the first, and there may be more soon.
    let asked: Vec<u64> = (271..=330).filter(|at| ask(&mut conntrack, *at, &[backend(4)])).collect();
    assert_eq!(asked, [315, 320, 330]);
    assert_eq!(backends(&conntrack, query(1)), Some((vec![backend(4), backend(3)], seconds(330))));
    // Ever more rarely, while there is none; each stays for a while.
    let mut last = Vec::new();
    let asked: Vec<u64> = (331..=1700)
        .filter(|at| {
            let is_asked = ask(&mut conntrack, *at, &[]);
            if is_asked {
                last.push(backends(&conntrack, query(1)).map_or(0, |(backends, _)| backends.len()));
            }
            is_asked
        })
        .collect();
    assert_eq!(asked, [350, 390, 470, 630, 930, 1230, 1530]);
    assert_eq!(last, [2, 2, 2, 2, 0, 0, 0]);
    assert_eq!(conntrack.backends(query(1)), ServiceBackends::NotTranslated);
    assert!(ask(&mut conntrack, 1830, &[backend(5)]));
    assert!(ask(&mut conntrack, 1835, &[backend(5)]));
}

#[test]
fn a_connection_that_was_looked_up_is_part_of_the_answer_once_the_table_was_read() {
    let mut conntrack = Conntrack::default();
    let ask = |conntrack: &mut Conntrack, at, found: &[SocketAddr]| {
        let pass = conntrack.plan(seconds(at)).unwrap();
        conntrack.handle(outcome(pass.clone(), |_| found.to_vec()), seconds(at));
        pass
    };
    // Another query has had the table read a moment ago.
    conntrack.register_interest(query(9), seconds(1));
    assert!(matches!(ask(&mut conntrack, 1, &[]), Pass::Table(_)));
    conntrack.register_connection(query(1), client(40_000), seconds(1));
    let pass = ask(&mut conntrack, 1, &[backend(3)]);
    assert_eq!(pass, Pass::Connections(vec![(query(1), client(40_000))]));
    // By itself it may be one of several.
    assert_eq!(conntrack.backends(query(1)), ServiceBackends::Unknown);
    assert!(matches!(ask(&mut conntrack, 3, &[]), Pass::Table(_)));
    assert_eq!(backends(&conntrack, query(1)), Some((vec![backend(3)], seconds(1))));
    conntrack.register_connection(query(1), client(40_001), seconds(4));
    ask(&mut conntrack, 4, &[backend(4)]);
    assert_eq!(backends(&conntrack, query(1)), Some((vec![backend(4), backend(3)], seconds(4))));
    assert_eq!((conntrack.statistics().connections, conntrack.statistics().dumps), (2, 2));
    // Without a port there is nothing to look up.
    conntrack.register_connection(query(1), client(0), seconds(4));
    assert_eq!(conntrack.plan(seconds(4)), None);
}

#[test]
fn connections_that_come_all_the_time_do_not_keep_the_table_from_being_read() {
    let mut conntrack = Conntrack::default();
    let mut dumps = 0;
    for at in 0..100 {
        conntrack.register_connection(query(1), client(40_000), seconds(at));
        let pass = conntrack.plan(seconds(at)).unwrap();
        dumps += usize::from(matches!(pass, Pass::Table(_)));
        conntrack.handle(outcome(pass, |_| vec![backend(3)]), seconds(at));
    }
    assert_eq!(dumps, 5);
}

#[test]
fn a_sample_of_the_table_denies_nothing() {
    let mut conntrack = Conntrack::default();
    conntrack.register_interest(query(1), seconds(1));
    let pass = conntrack.plan(seconds(1)).unwrap();
    let cut = Outcome { is_cut: true, entries: 1 << 20, ..Outcome::of(pass) };
    conntrack.handle(cut, seconds(3));
    assert_eq!(conntrack.backends(query(1)), ServiceBackends::Unknown);
    assert_eq!((conntrack.statistics().cut, conntrack.statistics().entries), (1, 1 << 20));
}

#[test]
fn reading_the_table_keeps_to_its_share_of_a_processor() {
    for (took, gap) in [(0, 2000), (50, 10_000), (90_000, 300_000)] {
        let mut conntrack = Conntrack::default();
        conntrack.register_interest(query(1), Duration::ZERO);
        let pass = conntrack.plan(Duration::ZERO).unwrap();
        let slow = Outcome { took: Duration::from_millis(took), ..Outcome::of(pass) };
        conntrack.handle(slow, Duration::ZERO);
        let next = (0..400_000).step_by(100).map(Duration::from_millis).find(|now| {
            conntrack.register_interest(query(2), *now);
            conntrack.plan(*now).is_some()
        });
        assert_eq!(next, Some(Duration::from_millis(gap)));
    }
}

#[test]
fn a_kernel_that_refuses_is_asked_ever_more_rarely() {
    let mut conntrack = Conntrack::default();
    let mut told = Vec::new();
    let mut asked = Vec::new();
    for at in 0..1000 {
        conntrack.register_interest(query(1), seconds(at));
        if let Some(pass) = conntrack.plan(seconds(at)) {
            asked.push(at);
            if conntrack.handle(failed(pass, Failure::Forbidden), seconds(at)) {
                told.push(at);
            }
        }
    }
    assert_eq!((asked.as_slice(), told.as_slice()), (&[0, 5, 15, 35, 75, 155, 315, 615, 915][..], &[0][..]));
    assert_eq!(conntrack.support(), &Support::No(Failure::Forbidden));
    assert_eq!(conntrack.statistics().failed, BTreeMap::from([("forbidden", 9)]));
    assert_eq!(conntrack.backends(query(1)), ServiceBackends::Unknown);
    conntrack.register_interest(query(1), seconds(1215));
    let pass = conntrack.plan(seconds(1215)).unwrap();
    assert!(conntrack.handle(outcome(pass, |_| vec![backend(3)]), seconds(1215)));
    assert!(backends(&conntrack, query(1)).is_some());
}

#[test]
fn questions_are_bounded_and_forgotten_when_nobody_wants_them() {
    let mut conntrack = Conntrack::default();
    let many = u32::try_from(MAX_QUERIES).unwrap() + 7;
    (0..many).for_each(|number| conntrack.register_interest(query(number), seconds(0)));
    assert_eq!((conntrack.query_count(), conntrack.statistics().refused), (MAX_QUERIES, 7));
    let pass = conntrack.plan(seconds(0)).unwrap();
    conntrack.handle(outcome(pass, |_| vec![]), seconds(0));
    conntrack.register_interest(query(1), seconds(300));
    conntrack.plan(seconds(600));
    assert_eq!(conntrack.query_count(), 1);
}

#[test]
fn connections_that_wait_are_bounded() {
    let mut conntrack = Conntrack::default();
    let many = u32::try_from(MAX_WAITING).unwrap() + 5;
    (0..many).for_each(|number| conntrack.register_connection(query(number), client(40_000), seconds(1)));
    assert_eq!(conntrack.statistics().limited, 5);
    let mut take = |now| {
        let pass = conntrack.plan(now)?;
        let count = pass.queries().count();
        let is_table = matches!(pass, Pass::Table(_));
        conntrack.handle(outcome(pass, |_| vec![backend(3)]), now);
        Some((is_table, count))
    };
    // The table answers for all, those that were left out included.
    assert_eq!(take(seconds(1)), Some((true, MAX_WAITING + 5)));
    assert_eq!(
        [take(seconds(1)), take(seconds(1)), take(seconds(1))],
        [Some((false, 64)), Some((false, 36)), None]
    );
    assert_eq!(take(seconds(2)), Some((false, 50)));
}

#[test]
fn backends_are_bounded() {
    let mut conntrack = Conntrack::default();
    conntrack.register_interest(query(1), seconds(1));
    let pass = conntrack.plan(seconds(1)).unwrap();
    conntrack.handle(outcome(pass, |_| (0..40).map(backend).collect()), seconds(1));
    assert_eq!(backends(&conntrack, query(1)).unwrap().0.len(), MAX_BACKENDS);
    assert_eq!(conntrack.statistics().left_out, 24);
}

#[test]
fn an_address_of_ipv4_is_the_same_in_ipv6() {
    let mut conntrack = Conntrack::default();
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 => v6,
    };
    let plain = query(1);
    let service = ServiceAddress { address: mapped(plain.service.address), ..plain.service };
    let other = ServiceQuery { service, client: plain.client.map(mapped) };
    conntrack.register_interest(other, seconds(1));
    let pass = conntrack.plan(seconds(1)).unwrap();
    assert_eq!(pass, Pass::Table(vec![plain]));
    conntrack.handle(outcome(pass, |_| vec![backend(3)]), seconds(1));
    assert_eq!(backends(&conntrack, other), backends(&conntrack, plain));
}

proptest! {
    /// Whatever is wanted, found and failed, in whatever order: the bounds hold, and an answer was one of the kernel's.
    #[test]
    fn bounds_hold(steps in prop::collection::vec((0u32..6, any::<u16>(), 0u8..6, 0u64..90), 1..200)) {
        let mut conntrack = Conntrack::default();
        let mut now = Duration::ZERO;
        for (number, port, what, passed) in steps {
            now += seconds(passed);
            if port % 2 == 0 {
                conntrack.register_interest(query(number), now);
            } else {
                conntrack.register_connection(query(number), client(port), now);
            }
            let Some(pass) = conntrack.plan(now) else { continue };
            prop_assert!(pass.queries().count() <= MAX_QUERIES.max(MAX_IN_PASS));
            let asked: Vec<_> = pass.queries().collect();
            let result = match what {
                0 => failed(pass, Failure::Timeout),
                1 => Outcome { is_cut: true, ..Outcome::of(pass) },
                many => outcome(pass, |_| (2..many).map(backend).collect()),
            };
            conntrack.handle(result, now);
            for query in asked {
                if let Some((backends, at)) = backends(&conntrack, query) {
                    prop_assert!(backends.len() <= MAX_BACKENDS && at <= now);
                    prop_assert!(backends.iter().all(|to| (2..6).map(backend).any(|other| other == *to)));
                    let set: std::collections::BTreeSet<_> = backends.iter().collect();
                    prop_assert_eq!(set.len(), backends.len());
                }
            }
        }
    }
}
