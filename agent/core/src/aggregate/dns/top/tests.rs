use std::collections::BTreeMap;

use netcause_common::dns::ResponseCode;
use proptest::prelude::*;

use super::*;
use crate::ingest::dns::Name;

const AT: Duration = Duration::from_secs(1);

fn label(text: &str) -> Label {
    Label::Plain(text.parse::<Name>().unwrap())
}

fn workload(number: usize) -> Workload {
    Workload::plain(&format!("w{number}"))
}

fn answered(milliseconds: u64) -> LookupOutcome {
    LookupOutcome::Answered(ResponseCode::NoError, Duration::from_millis(milliseconds))
}

fn names(list: &[(Label, NameStats)]) -> Vec<String> {
    list.iter().map(|(label, _)| label.to_string()).collect()
}

#[test]
fn names_stand_by_volume_failures_and_latency() {
    let mut top = Top::default();
    let me = workload(1);
    let code = |code| LookupOutcome::Answered(code, Duration::ZERO);
    for (name, outcome, times) in [
        ("often.com", answered(1), 9),
        ("slow.com", answered(200), 1),
        ("slow.com", answered(400), 1),
        ("once.com", answered(5000), 1),
        ("gone.com", code(ResponseCode::NxDomain), 3),
        ("ill.com", code(ResponseCode::ServFail), 2),
        ("ill.com", LookupOutcome::TimedOut, 1),
        ("deaf.com", LookupOutcome::TimedOut, 2),
    ] {
        (0..times).for_each(|_| top.record(&me, label(name), outcome, AT));
    }
    let lists = top.lists(&me, 3);
    assert_eq!(names(&lists.by_volume), ["often.com", "gone.com", "ill.com"]);
    assert_eq!(names(&lists.by_failures), ["ill.com", "deaf.com"]);
    assert_eq!(names(&lists.by_latency), ["slow.com", "often.com", "gone.com"]);
    let slow = lists.by_latency[0].1;
    assert_eq!(slow.mean(), Some(Duration::from_millis(300)));
    assert_eq!((slow.max, slow.queries), (Duration::from_millis(400), 2));
    let ill = lists.by_failures[0].1;
    assert_eq!((ill.failures, ill.timeouts, ill.nxdomain, ill.mean()), (2, 1, 0, Some(Duration::ZERO)));
    assert_eq!(lists.by_volume[1].1.nxdomain, 3);
    assert_eq!(top.lists(&workload(2), 3), Lists::default());
}

#[test]
fn a_list_is_of_the_last_windows() {
    let mut top = Top::default();
    let me = workload(1);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let count = |top: &Top| top.lists(&me, 1).by_volume.first().map(|(_, stats)| stats.queries);
    top.record(&me, label("a.com"), answered(1), minutes(1));
    top.record(&me, label("a.com"), answered(1), minutes(16));
    assert_eq!(count(&top), Some(2));
    assert_eq!(top.workloads().count(), 1);
    top.record(&me, label("a.com"), answered(1), minutes(32));
    assert_eq!(count(&top), Some(2));
    top.turn(minutes(47));
    assert_eq!(count(&top), Some(1));
    top.turn(minutes(62));
    assert_eq!((count(&top), top.workloads().count()), (None, 0));
    // After a long gap both windows are too old.
    top.record(&me, label("a.com"), answered(1), minutes(63));
    top.turn(minutes(100));
    assert_eq!(count(&top), None);
}

#[test]
fn further_workloads_are_one() {
    let mut top = Top::default();
    for number in 0..MAX_WORKLOADS + 10 {
        top.record(&workload(number), label("a.com"), answered(1), AT);
    }
    assert_eq!(top.workloads().count(), MAX_WORKLOADS + 1);
    assert_eq!(top.lists(&Workload::Other, 1).by_volume[0].1.queries, 10);
}

#[test]
fn a_name_that_fails_is_kept() {
    let mut top = Top::default();
    let me = workload(1);
    (0..2).for_each(|_| top.record(&me, label("ill.com"), LookupOutcome::TimedOut, AT));
    for number in 0..5000 {
        top.record(&me, label(&format!("x{number}.com")), answered(1), AT);
    }
    let (_, ill) = &top.lists(&me, 1).by_failures[0];
    assert_eq!((ill.timeouts, ill.at_most_missed), (2, 0));
    let kept = top.lists(&me, usize::MAX).by_volume;
    assert_eq!(kept.len(), MAX_NAMES);
    assert!(kept.iter().all(|(label, stats)| label.to_string() == "ill.com" || stats.at_most_missed > 50));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    /// The counters never exceed the truth, and with the stated error are not below it; a name that is not kept had at most the
    /// stated error.
    #[test]
    fn the_error_is_as_said(
        asked in prop::collection::vec((prop_oneof![0..20_u32, 0..300_u32], 0..20_u32), 0..3000),
        turn in 0..3000_usize,
    ) {
        let (mut top, me) = (Top::default(), workload(1));
        let mut truth: BTreeMap<Label, (u64, u64)> = BTreeMap::new();
        for (number, (name, what)) in asked.iter().enumerate() {
            let label = label(&format!("n{name}.com"));
            let (queries, failed) = truth.entry(label.clone()).or_default();
            *queries += 1;
            *failed += u64::from(*what == 0);
            let outcome = if *what == 0 { LookupOutcome::TimedOut } else { answered(1) };
            top.record(&me, label, outcome, if number < turn { AT } else { WINDOW + AT });
        }
        let kept: BTreeMap<_, _> = top.lists(&me, usize::MAX).by_volume.into_iter().collect();
        let missed = kept.values().map(|stats| stats.at_most_missed).max().unwrap_or_default();
        for (label, (queries, failed)) in truth {
            match kept.get(&label) {
                Some(stats) => {
                    prop_assert!(stats.queries <= queries && queries <= stats.queries + stats.at_most_missed);
                    prop_assert!(stats.failed() <= failed);
                }
                None => prop_assert!(queries <= 2 * missed, "{label}: {queries}, {missed}"),
            }
        }
    }
}
