use netcause_common::dns::ResponseCode;

use super::*;

const A: u16 = 1;
const MX: u16 = 15;
const AAAA: u16 = 28;
const OK: ResponseCode = ResponseCode::NoError;
const NX: ResponseCode = ResponseCode::NxDomain;

/// Answers of one client, 10 ms apart unless time passes.
#[derive(Default)]
struct Told {
    search: Search,
    at: Duration,
    waste: Waste,
}

impl Told {
    fn answer(&mut self, name: &str, kind: u16, code: ResponseCode) {
        self.at += Duration::from_millis(10);
        let question = Question { name: name.parse::<Name>().unwrap(), kind };
        self.waste.add(self.search.answered(7, &question, code as u8, self.at));
    }

    /// Both kinds of addresses.
    fn both(&mut self, name: &str, code: ResponseCode) {
        self.answer(name, A, code);
        self.answer(name, AAAA, code);
    }

    fn wait(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
    }

    /// Expansions and queries.
    fn waste(&self) -> (u64, u64) {
        (self.waste.expansions, self.waste.queries)
    }
}

/// Expansions and queries of these answers, for addresses of both kinds.
fn waste(answers: &[(&str, ResponseCode)]) -> (u64, u64) {
    let mut told = Told::default();
    answers.iter().for_each(|(name, code)| told.both(name, *code));
    told.waste()
}

#[test]
fn a_name_that_is_found_at_last_has_wasted_every_domain() {
    for last in [OK, NX] {
        let answers = [
            ("example.com.default.svc.cluster.local", NX),
            ("example.com.svc.cluster.local", NX),
            ("example.com.cluster.local", NX),
            ("example.com", last),
        ];
        assert_eq!(waste(&answers), (3, 6), "{last:?}");
    }
}

#[test]
fn a_name_that_is_found_on_the_way_has_wasted_the_domains_before() {
    assert_eq!(waste(&[("db.prod.svc.cluster.local", NX), ("db.svc.cluster.local", OK)]), (1, 2));
    assert_eq!(waste(&[("db.prod.svc.cluster.local", OK)]), (0, 0));
}

#[test]
fn a_name_that_is_tried_as_it_stands_first_is_no_waste_itself() {
    assert_eq!(waste(&[("a.b", NX), ("a.b.lan", NX), ("a.b.example.com", OK)]), (1, 2));
    assert_eq!(waste(&[("a.b", NX), ("a.b.lan", NX), ("a.b.example.com", NX)]), (2, 4));
    assert_eq!(waste(&[("a.b", NX), ("a.b.lan", OK)]), (0, 0));
}

#[test]
fn names_that_have_nothing_to_do_with_each_other_are_no_waste() {
    for answers in [
        [("www.a.com", NX), ("www.b.com", OK)],
        [("www.a.com", NX), ("www.com", OK)],
        [("a.lan", NX), ("b.lan", OK)],
        [("example.con", NX), ("example.com", OK)],
        [("_ldap._tcp.a._sites.example.com", NX), ("_ldap._tcp.example.com", OK)],
        [("4.3.2.1.bl.example.com", NX), ("4.3.2.1.bl.example.net", NX)],
        [("typo.example.com", NX), ("typo.example.com", NX)],
        [("a.b.c", NX), (".", OK)],
    ] {
        assert_eq!(waste(&answers), (0, 0), "{answers:?}");
    }
}

#[test]
fn two_domains_are_one_list_once_another_lookup_has_shown_it() {
    let mut told = Told::default();
    told.both("db.lan", NX);
    told.both("db.example.com", OK);
    assert_eq!(told.waste(), (0, 0));
    told.both("elsewhere.net.lan", NX);
    told.both("elsewhere.net.example.com", NX);
    told.both("elsewhere.net", OK);
    assert_eq!(told.waste(), (2, 4));
    told.both("mail.lan", NX);
    told.both("mail.example.com", OK);
    assert_eq!(told.waste(), (3, 6));
    told.both("mail.example.net", OK);
    assert_eq!(told.waste(), (3, 6));
}

#[test]
fn failures_of_the_server_neither_end_a_lookup_nor_count() {
    let failed = ResponseCode::ServFail;
    assert_eq!(waste(&[("db.svc.lan", NX), ("db.lan", failed), ("db", OK)]), (1, 2));
    assert_eq!(waste(&[("db.svc.lan", NX), ("db", failed)]), (0, 0));
}

#[test]
fn other_types_are_lookups_of_their_own() {
    let mut told = Told::default();
    for (name, code) in [("example.com.lan", NX), ("example.com", OK)] {
        told.both(name, code);
        told.answer(name, MX, code);
    }
    assert_eq!(told.waste(), (2, 3));
    // A mail server that asks for the name's addresses and whether a list has it.
    told.answer("example.net", MX, OK);
    told.answer("example.net.list.example.com", A, NX);
    told.answer("example.net", MX, OK);
    assert_eq!(told.waste(), (2, 3));
}

#[test]
fn answers_of_two_threads_are_told_apart() {
    let mut told = Told::default();
    // One thread has both answers and goes on, the other has one of two.
    told.both("db.lan", NX);
    told.answer("db.lan", A, NX);
    told.answer("db", A, OK);
    assert_eq!(told.waste(), (2, 3));
    // The second half of a lookup needs no evidence of its own, a third lookup does.
    told.answer("db.lan", AAAA, NX);
    assert_eq!(told.waste(), (2, 4));
    told.answer("db.lan", AAAA, NX);
    assert_eq!(told.waste(), (2, 4));
    told.answer("db", A, OK);
    assert_eq!(told.waste(), (3, 5));
}

#[test]
fn what_is_long_ago_is_no_evidence() {
    for (seconds, expected) in [(9, 2), (11, 0)] {
        let mut told = Told::default();
        told.both("example.com.lan", NX);
        told.wait(seconds);
        told.both("example.com", OK);
        assert_eq!(told.waste.queries, expected, "{seconds}");
    }
    for (seconds, expected) in [(1, 2), (3, 0)] {
        let mut told = Told::default();
        told.both("api.eu.example.com", NX);
        told.wait(seconds);
        told.both("api.example.com", OK);
        assert_eq!(told.waste.queries, expected, "{seconds}");
    }
}

#[test]
fn a_name_that_failed_for_long_does_not_count_as_a_whole() {
    let mut told = Told::default();
    for _ in 0..100 {
        told.answer("example.com.lan", A, NX);
        told.wait(1);
    }
    told.answer("example.com", A, OK);
    assert!((1..=21).contains(&told.waste.queries), "{:?}", told.waste);
}

#[test]
fn one_type_after_the_other_counts_in_the_long_run() {
    let mut told = Told::default();
    for kind in [A, AAAA] {
        for _ in 0..60 {
            told.answer("example.com.lan", kind, NX);
            told.answer("example.com", kind, OK);
            told.wait(1);
        }
    }
    assert_eq!(told.waste.queries, 120);
    // For some seconds after the change, the second type's could be the other halves of the first one's.
    assert!((105..=120).contains(&told.waste.expansions), "{:?}", told.waste);
}

#[test]
fn memory_is_bounded() {
    let mut told = Told::default();
    for number in 0..1000 {
        told.answer(&format!("a{number}.example.com"), A, NX);
    }
    assert_eq!(told.search.clients[&7].failed.len(), MAX_PENDING);
    // What came last is still known.
    told.answer("a999", A, OK);
    assert_eq!(told.waste(), (1, 1));

    let question = Question { name: "x.lan".parse::<Name>().unwrap(), kind: A };
    for local in 0..5000 {
        told.search.answered(local, &question, NX as u8, told.at);
    }
    assert_eq!(told.search.clients.len(), MAX_CLIENTS);
    told.wait(20);
    told.search.answered(5000, &question, NX as u8, told.at);
    assert_eq!(told.search.clients.len(), 1);
    told.search.retain(|local| local != 5000);
    assert!(told.search.clients.is_empty());
}

#[test]
fn clients_are_looked_at_apart() {
    let mut search = Search::default();
    let at = Duration::from_secs(1);
    let mut tell = |local, name: &str, code: ResponseCode| {
        let question = Question { name: name.parse::<Name>().unwrap(), kind: A };
        search.answered(local, &question, code as u8, at).queries
    };
    assert_eq!([tell(1, "db.lan", NX), tell(2, "db", OK), tell(1, "db", OK)], [0, 0, 1]);
}
