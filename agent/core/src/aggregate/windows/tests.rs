use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Enough for anything but the tests of the limit.
const ROOM: usize = 1 << 20;

impl Name for String {
    fn other(&self) -> Self {
        "other".to_owned()
    }
}

type Few = Windows<u32, String, [u64; 4]>;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(id: u32) -> Arc<String> {
    Arc::new(format!("n{id}"))
}

/// With a first reading at 100 s.
fn begun(max_bytes: usize) -> Few {
    let mut windows = Few::new(max_bytes);
    windows.end_reading(seconds(100));
    windows
}

fn sums(windows: &Few, time: u64) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    windows.recent().each(seconds(time), |name, counted| {
        *sums.entry(String::clone(name)).or_default() += counted[1];
    });
    sums
}

#[test]
fn what_was_counted_before_the_first_reading_has_no_time() {
    let mut windows = Few::new(ROOM);
    windows.count(1, &name(1), &[0, 7, 0, 0]);
    assert_eq!(sums(&windows, 600).len(), 0);
    windows.end_reading(seconds(100));
    windows.count(1, &name(1), &[0, 2, 0, 0]);
    assert_eq!(sums(&windows, 600), BTreeMap::from([("n1".to_owned(), 2)]));
}

#[test]
fn steps_become_coarser_and_end_after_ten_minutes() {
    let mut windows = begun(ROOM);
    let mut most = 0;
    for second in 101..=2000 {
        windows.count(1, &name(1), &[1, 1, 0, 0]);
        windows.end_reading(seconds(second));
        let all = windows.recent().each(KEPT * 2, |_, counted| {
            assert_eq!(counted[1], second - windows.history.begin().map_or(100, |begin| begin.as_secs()));
        });
        most = most.max(all.windows);
        if second > 800 {
            assert!(all.covered >= KEPT && all.covered < KEPT + seconds(121), "{all:?}");
        }
        let minute = windows.recent().each(seconds(60), |_, counted| {
            // One a second: a rate of one, whatever the windows are.
            assert!(counted[1] <= 120);
        });
        if second > 200 {
            assert!(minute.covered >= seconds(60) && minute.covered <= seconds(120), "{minute:?}");
            assert!(minute.widest <= seconds(60), "{minute:?}");
        }
    }
    // With the one that has not ended.
    assert!((10..=18).contains(&most), "{most} steps");
}

#[test]
fn rare_readings_make_long_windows() {
    let mut windows = begun(ROOM);
    for minute in 1..30 {
        windows.count(1, &name(1), &[0, 60, 0, 0]);
        windows.end_reading(seconds(100 + 60 * minute));
    }
    let span = windows.recent().each(seconds(10), |_, counted| assert_eq!(counted[1], 60));
    assert_eq!((span.covered, span.widest), (seconds(60), seconds(60)));
}

#[test]
fn a_clock_may_stand_still_or_jump() {
    let mut windows = begun(ROOM);
    for _ in 0..1000 {
        windows.count(1, &name(1), &[0, 1, 0, 0]);
        windows.end_reading(seconds(100));
    }
    let span = windows.recent().each(KEPT, |_, counted| assert_eq!(counted[1], 1000));
    assert_eq!(span, Span { covered: Duration::ZERO, widest: Duration::ZERO, windows: 0 });
    // An hour ahead: what was counted took so long.
    windows.end_reading(seconds(3700));
    assert_eq!(
        windows.recent().each(seconds(1), |_, counted| assert_eq!(counted[1], 1000)).covered,
        seconds(3600)
    );
    // Back: what was later is gone, and counts go on.
    windows.count(1, &name(1), &[0, 5, 0, 0]);
    windows.end_reading(seconds(50));
    windows.end_reading(seconds(60));
    assert_eq!(sums(&windows, 600), BTreeMap::from([("n1".to_owned(), 5)]));
    assert_eq!(windows.statistics().dropped, 1);
}

#[test]
fn a_late_name_is_that_of_the_past_and_a_new_holder_begins_anew() {
    let mut windows = begun(ROOM);
    windows.count(1, &name(1), &[0, 5, 0, 0]);
    windows.count(2, &name(2), &[0, 1, 0, 0]);
    windows.end_reading(seconds(105));
    windows.renamed(&1, &Arc::new("web".to_owned()));
    // The number of an edge that has ended is another one's.
    windows.ended(&2);
    windows.count(2, &name(3), &[0, 2, 0, 0]);
    windows.end_reading(seconds(110));
    let expected = [("n2", 1), ("n3", 2), ("web", 5)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(sums(&windows, 600), BTreeMap::from(expected));
    windows.merged(&2, 1, &Arc::new("web".to_owned()));
    windows.count(2, &name(4), &[0, 3, 0, 0]);
    let expected = [("n2", 1), ("n4", 3), ("web", 7)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(sums(&windows, 600), BTreeMap::from(expected));
}

#[test]
fn a_part_of_a_part_stays_where_it_belongs() {
    let mut windows = begun(ROOM);
    windows.count(1, &name(1), &[0, 5, 0, 0]);
    (100..200).for_each(|id| windows.count(id, &name(id), &[0, 1, 0, 0]));
    windows.end_reading(seconds(105));
    // The second one has counted nothing itself, and no step has it.
    windows.merged(&1, 2, &name(2));
    windows.merged(&2, 3, &name(3));
    (100..200).for_each(|id| windows.ended(&id));
    // All steps but one that has the first are gone: the others are forgotten, and their numbers used again.
    windows.count(3, &name(3), &[0, 2, 0, 0]);
    windows.end_reading(seconds(110));
    (200..500).for_each(|id| windows.count(id, &name(id), &[0, 1, 0, 0]));
    assert_eq!(sums(&windows, 600).get("n3"), Some(&7));
}

#[test]
fn subjects_that_do_nothing_cost_nothing() {
    let mut windows = begun(ROOM);
    for id in 0..10_000 {
        windows.count(id, &name(id), &[1; 4]);
    }
    windows.end_reading(seconds(105));
    let before = windows.statistics().bytes;
    windows.count(7, &name(7), &[1; 4]);
    windows.end_reading(seconds(110));
    assert!(windows.statistics().bytes - before < 64);
}

#[test]
fn what_takes_too_many_bytes_is_dropped_and_counted() {
    let mut windows = begun(4096);
    for second in 0..100 {
        for id in 0..100 {
            windows.count(id, &name(id), &[u64::MAX; 4]);
        }
        windows.end_reading(seconds(105 + 5 * second));
        assert!(windows.statistics().bytes <= 4096);
    }
    assert_eq!(windows.statistics().dropped, 100);
    let mut windows = begun(4096);
    for second in 0..100 {
        (0..20).for_each(|id| windows.count(id, &name(id), &[1 << 40; 4]));
        windows.end_reading(seconds(105 + 5 * second));
        assert!(windows.statistics().bytes <= 4096);
    }
    let statistics = windows.statistics();
    assert!(statistics.dropped > 0 && statistics.reach >= seconds(15), "{statistics:?}");
}

#[test]
fn edges_that_come_and_go_are_bounded() {
    let mut windows = begun(64 << 20);
    let count = 3 * 4096;
    for id in 0..count {
        windows.count(id, &name(id), &[0, 1, 0, 0]);
        windows.ended(&id);
    }
    windows.end_reading(seconds(105));
    let all = sums(&windows, 600);
    assert_eq!(all.values().sum::<u64>(), u64::from(count));
    assert_eq!((all.len(), all["other"]), (4096 + 1, u64::from(count) - 4096));
    assert_eq!(windows.statistics().folded, u64::from(count) - 4096);
    for second in 0..200 {
        windows.end_reading(seconds(110 + 5 * second));
    }
    // All but those that are waited for are forgotten.
    windows.subjects.forget(|| windows.history.subjects());
    assert!(windows.subjects.names().iter().flatten().count() < 100);
    assert_eq!(sums(&windows, 600).len(), 0);
}

#[derive(Clone, Debug)]
enum Happening {
    Count(u32, u64),
    Rename(u32, u32),
    Merge(u32, u32),
    Move(u32, u32, u64),
    End(u32),
    Read(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let id = || 0..6_u32;
    prop_oneof![
        6 => (id(), 1..1_u64 << 40).prop_map(|(id, count)| Happening::Count(id, count)),
        1 => (id(), 10..16_u32).prop_map(|(id, name)| Happening::Rename(id, name)),
        1 => (id(), id()).prop_map(|(from, into)| Happening::Merge(from, into)),
        2 => (id(), id(), any::<u64>()).prop_map(|(from, to, part)| Happening::Move(from, to, part)),
        1 => id().prop_map(Happening::End),
        4 => (0..9_u64).prop_map(Happening::Read),
    ]
}

proptest! {
    /// Whatever happens, all windows together have what each subject counted, under the names that they should have.
    #[test]
    fn windows_add_up(happenings in prop::collection::vec(happening(), 1..120)) {
        let mut windows = begun(ROOM);
        // Names by id; counts by id while it lives, and by name when it has ended.
        let mut names: BTreeMap<u32, Arc<String>> = (0..6).map(|id| (id, name(id))).collect();
        let (mut live, mut ended) = (BTreeMap::<u32, u64>::new(), BTreeMap::<String, u64>::new());
        let (mut now, mut fresh) = (100, 100);
        for happening in happenings {
            match happening {
                Happening::Count(id, count) => {
                    windows.count(id, &names[&id], &[0, count, 0, 0]);
                    *live.entry(id).or_default() += count;
                }
                Happening::Rename(id, to) => {
                    names.insert(id, name(to));
                    windows.renamed(&id, &names[&id]);
                }
                Happening::Merge(from, into) if from != into => {
                    windows.merged(&from, into, &names[&into]);
                    if let Some(count) = live.remove(&from) {
                        *live.entry(into).or_default() += count;
                    }
                    fresh += 1;
                    names.insert(from, name(fresh));
                }
                Happening::Move(from, to, part) => {
                    let Some(has) = live.get(&from).copied() else { continue };
                    let part = part % (has + 1);
                    windows.moved(&from, to, &names[&to], &[0, part, 0, 0]);
                    *live.entry(from).or_default() -= part;
                    *live.entry(to).or_default() += part;
                    // A past moves at the end of a reading.
                    windows.end_reading(seconds(now));
                }
                Happening::End(id) => {
                    windows.ended(&id);
                    *ended.entry(String::clone(&names[&id])).or_default() += live.remove(&id).unwrap_or_default();
                    fresh += 1;
                    names.insert(id, name(fresh));
                }
                Happening::Read(later) => {
                    now += later;
                    windows.end_reading(seconds(now));
                }
                Happening::Merge(..) => {}
            }
            let mut expected = ended.clone();
            for (id, count) in &live {
                *expected.entry(String::clone(&names[id])).or_default() += count;
            }
            expected.retain(|_, count| *count != 0);
            prop_assert_eq!(sums(&windows, 10_000), expected);
        }
    }
}
