use super::*;
use crate::ingest::dns::{Name, Resolved};

fn with(policy: DnsNames) -> DnsDetails {
    DnsDetails::new(Arc::new(Labels::new(policy)))
}

const AT: Duration = Duration::from_secs(100);

fn workload(name: &str) -> Workload {
    Workload::plain(name)
}

fn question(name: &str) -> Question {
    Question { name: name.parse::<Name>().unwrap(), kind: 1 }
}

fn address() -> IpAddr {
    [10, 0, 0, 9].into()
}

/// What this client knows.
fn resolved(local: u64) -> ResolvedNames {
    let mut resolved = ResolvedNames::default();
    let addresses = [Resolved { address: address(), ttl: 300 }];
    resolved.learn(local, &question("example.com").name, &addresses, AT);
    resolved
}

fn answer(details: &mut DnsDetails, local: u64, workload: &Workload, name: &str, rcode: u16) {
    details.answered(&AnsweredQuery {
        local,
        workload,
        question: &question(name),
        rcode,
        duration: Duration::from_millis(2),
        at: AT,
    });
}

/// A lookup that wastes one query.
fn waste(details: &mut DnsDetails, local: u64, workload: &Workload) {
    answer(details, local, workload, "example.com.lan", 3);
    answer(details, local, workload, "example.com", 0);
}

fn expansions(details: &DnsDetails) -> Vec<(String, u64)> {
    details.expansions().map(|(workload, waste)| (workload.to_string(), waste.expansions)).collect()
}

#[test]
fn answers_are_counted_for_their_workload() {
    let (mut details, app) = (with(DnsNames::Shown), workload("app"));
    waste(&mut details, 1, &app);
    waste(&mut details, 2, &app);
    details.timed_out(&TimedOutQuery { local: 1, workload: &app, question: &question("deaf.com"), at: AT });
    let rows = details.rows(10, &resolved(1), AT);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.workload, app);
    let expected = Searched { waste: Waste { expansions: 2, queries: 2 }, queries: 5 };
    assert_eq!(row.searched, expected);
    assert_eq!(row.lists.by_volume.len(), 3);
    assert_eq!(row.lists.by_failures[0].0.to_string(), "deaf.com");
    assert_eq!(row.resolved.len(), 1);
    assert_eq!(row.resolved[0].label.to_string(), "example.com");
    assert_eq!(row.resolved[0].expires_in, Duration::from_secs(300));
}

#[test]
fn no_name_is_seen_when_names_are_hashed_or_off() {
    let app = workload("app");
    let mut details = with(DnsNames::Hashed);
    waste(&mut details, 1, &app);
    assert_eq!(expansions(&details), [("app".to_owned(), 1)]);
    let rows = details.rows(10, &resolved(1), AT);
    assert!(rows[0].resolved[0].label.to_string().starts_with("h:"));
    let text = format!("{rows:?}");
    assert!(text.contains("Hashed") && !text.contains("example"), "{text}");

    let mut details = with(DnsNames::Off);
    waste(&mut details, 1, &app);
    details.timed_out(&TimedOutQuery { local: 1, workload: &app, question: &question("deaf.com"), at: AT });
    assert_eq!(details.rows(10, &resolved(1), AT), []);
}

#[test]
fn sums_are_conserved_when_there_are_too_many_workloads_or_clients() {
    let mut details = with(DnsNames::Shown);
    let more = u64::try_from(MAX_WORKLOADS).unwrap() + 10;
    for local in 0..more {
        waste(&mut details, local, &workload(&format!("w{local}")));
    }
    let found = expansions(&details);
    assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 1024);
    assert!(found.len() <= MAX_WORKLOADS + 1);
    assert_eq!(details.searched[&Workload::Other].searched.queries, 20);
    let queries: u64 = details.searched.values().map(|sum| sum.searched.queries).sum();
    assert_eq!(queries, 2 * more);
    for local in more..more + 2 * u64::try_from(MAX_CLIENTS).unwrap() {
        answer(&mut details, local, &workload("many"), "a.com", 0);
    }
    assert_eq!(details.clients.len(), MAX_CLIENTS);
}

#[test]
fn a_workload_ends_with_its_last_client() {
    let (mut details, app) = (with(DnsNames::Shown), workload("app"));
    waste(&mut details, 1, &app);
    waste(&mut details, 2, &app);
    waste(&mut details, 3, &Workload::Other);
    details.retain(|local| local == 2);
    assert_eq!(expansions(&details), [("app".to_owned(), 2), ("other".to_owned(), 1)]);
    details.retain(|_| false);
    assert_eq!(expansions(&details), [("other".to_owned(), 1)]);
}

#[test]
fn a_client_that_gets_a_name_takes_its_sums_along() {
    let (mut details, app) = (with(DnsNames::Shown), workload("app"));
    waste(&mut details, 1, &Workload::Cgroup(1));
    waste(&mut details, 1, &app);
    assert_eq!(expansions(&details), [("app".to_owned(), 2)]);
    // Another client stays behind.
    waste(&mut details, 2, &app);
    waste(&mut details, 2, &workload("b"));
    assert_eq!(expansions(&details), [("app".to_owned(), 3), ("b".to_owned(), 1)]);
}

#[test]
fn a_name_that_comes_late_is_asked_for_again() {
    let mut details = with(DnsNames::Shown);
    waste(&mut details, 1, &Workload::Cgroup(1));
    waste(&mut details, 2, &Workload::Cgroup(2));
    details.name_clients(|local| if local == 1 { workload("app") } else { Workload::Cgroup(local) });
    let rows: Vec<_> =
        details.rows(10, &resolved(1), AT).into_iter().map(|row| (row.workload, row.lists)).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (named, nameless) = (&rows[0], &rows[1]);
    assert_eq!((&named.0, &nameless.0), (&workload("app"), &Workload::Cgroup(2)));
    assert_eq!(named.1, nameless.1);
    assert!(!named.1.by_volume.is_empty());
}
