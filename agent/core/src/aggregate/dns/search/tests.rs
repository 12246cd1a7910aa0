use netcause_common::dns::ResponseCode;

use super::*;

const A: u16 = 1;
const MX: u16 = 15;
const AAAA: u16 = 28;
const OK: ResponseCode = ResponseCode::NoError;
const NX: ResponseCode = ResponseCode::NxDomain;

/// Answers of one client, 10 ms apart unless time passes.
#[derive(Default)]
struct Answers {
    search: Search,
    at: Duration,
    waste: Waste,
}

impl Answers {
    fn answer(&mut self, name: &str, kind: u16, code: ResponseCode) {
        self.at += Duration::from_millis(10);
        let question = Question { name: name.parse::<Name>().unwrap(), kind };
        self.waste.add(self.search.answered(7, &question, code as u16, self.at));
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
    let mut client = Answers::default();
    answers.iter().for_each(|(name, code)| client.both(name, *code));
    client.waste()
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
fn unrelated_domains_that_follow_each_other_twice_are_a_search_list() {
    let lookup = |name: &str| {
        ["corp.example", "prod.internal", "lan"].map(|domain| {
            let code = if domain == "lan" { OK } else { NX };
            (format!("{name}.{domain}"), code)
        })
    };
    let mut names: Vec<_> = (0..5).map(|number| format!("n{number}")).collect();
    for _ in 0..2 {
        let mut client = Answers::default();
        for (name, code) in names.iter().flat_map(|name| lookup(name)) {
            client.both(&name, code);
        }
        assert_eq!(client.waste(), (10, 20), "{names:?}");
        // And one name again and again.
        names.fill("n0".to_owned());
    }
    let mut client = Answers::default();
    for (name, code) in lookup("n0") {
        client.both(&name, code);
    }
    assert_eq!(client.waste(), (0, 0), "once is no evidence");
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
    let mut client = Answers::default();
    client.both("db.lan", NX);
    client.both("db.example.com", OK);
    assert_eq!(client.waste(), (0, 0));
    client.both("elsewhere.net.lan", NX);
    client.both("elsewhere.net.example.com", NX);
    client.both("elsewhere.net", OK);
    assert_eq!(client.waste(), (3, 6), "and the first one has been one all the time");
    client.both("mail.lan", NX);
    client.both("mail.example.com", OK);
    assert_eq!(client.waste(), (4, 8));
    client.both("mail.example.net", OK);
    assert_eq!(client.waste(), (4, 8));
}

#[test]
fn failures_of_the_server_neither_end_a_lookup_nor_count() {
    let failed = ResponseCode::ServFail;
    assert_eq!(waste(&[("db.svc.lan", NX), ("db.lan", failed), ("db", OK)]), (1, 2));
    assert_eq!(waste(&[("db.svc.lan", NX), ("db", failed)]), (0, 0));
}

#[test]
fn other_types_are_lookups_of_their_own() {
    let mut client = Answers::default();
    for (name, code) in [("example.com.lan", NX), ("example.com", OK)] {
        client.both(name, code);
        client.answer(name, MX, code);
    }
    assert_eq!(client.waste(), (2, 3));
    // A mail server that asks for the name's addresses and whether a list has it.
    client.answer("example.net", MX, OK);
    client.answer("example.net.list.example.com", A, NX);
    client.answer("example.net", MX, OK);
    assert_eq!(client.waste(), (2, 3));
}

#[test]
fn answers_of_two_threads_are_told_apart() {
    let mut client = Answers::default();
    // One thread has both answers and goes on, the other has one of two.
    client.both("db.lan", NX);
    client.answer("db.lan", A, NX);
    client.answer("db", A, OK);
    assert_eq!(client.waste(), (2, 3));
    // The second half of a lookup needs no evidence of its own, a third lookup does.
    client.answer("db.lan", AAAA, NX);
    assert_eq!(client.waste(), (2, 4));
    client.answer("db.lan", AAAA, NX);
    assert_eq!(client.waste(), (2, 4));
    client.answer("db", A, OK);
    assert_eq!(client.waste(), (3, 5));
}

#[test]
fn what_is_long_ago_is_no_evidence() {
    for (seconds, expected) in [(9, 2), (11, 0)] {
        let mut client = Answers::default();
        client.both("example.com.lan", NX);
        client.wait(seconds);
        client.both("example.com", OK);
        assert_eq!(client.waste.queries, expected, "{seconds}");
    }
    for (seconds, expected) in [(1, 2), (3, 0)] {
        let mut client = Answers::default();
        client.both("api.eu.example.com", NX);
        client.wait(seconds);
        client.both("api.example.com", OK);
        assert_eq!(client.waste.queries, expected, "{seconds}");
    }
}

#[test]
fn a_name_that_failed_for_long_does_not_count_as_a_whole() {
    let mut client = Answers::default();
    for _ in 0..100 {
        client.answer("example.com.lan", A, NX);
        client.wait(1);
    }
    client.answer("example.com", A, OK);
    assert!((1..=21).contains(&client.waste.queries), "{:?}", client.waste);
}

#[test]
fn one_type_after_the_other_counts_in_the_long_run() {
    let mut client = Answers::default();
    for kind in [A, AAAA] {
        for _ in 0..60 {
            client.answer("example.com.lan", kind, NX);
            client.answer("example.com", kind, OK);
            client.wait(1);
        }
    }
    assert_eq!(client.waste.queries, 120);
    // For some seconds after the change, the second type's could be the other halves of the first one's.
    assert!((105..=120).contains(&client.waste.expansions), "{:?}", client.waste);
}

#[test]
fn memory_is_bounded() {
    let mut client = Answers::default();
    for number in 0..1000 {
        client.answer(&format!("a{number}.example.com"), A, NX);
    }
    assert_eq!(client.search.clients[&7].failed.len(), MAX_PENDING);
    // What came last is still known.
    client.answer("a999", A, OK);
    assert_eq!(client.waste(), (1, 1));

    let question = Question { name: "x.lan".parse::<Name>().unwrap(), kind: A };
    for local in 0..5000 {
        client.search.answered(local, &question, NX as u16, client.at);
    }
    assert_eq!(client.search.clients.len(), MAX_CLIENTS);
    client.wait(20);
    client.search.answered(5000, &question, NX as u16, client.at);
    assert_eq!(client.search.clients.len(), 1);
    client.search.retain(|local| local != 5000);
    assert!(client.search.clients.is_empty());
}

#[test]
fn clients_are_looked_at_apart() {
    let mut search = Search::default();
    let at = Duration::from_secs(1);
    let mut answer = |local, name: &str, code: ResponseCode| {
        let question = Question { name: name.parse::<Name>().unwrap(), kind: A };
        search.answered(local, &question, code as u16, at).queries
    };
    assert_eq!([answer(1, "db.lan", NX), answer(2, "db", OK), answer(1, "db", OK)], [0, 0, 1]);
}
