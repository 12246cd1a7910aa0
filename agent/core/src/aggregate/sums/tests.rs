use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::scrapers::Scrapers;

#[test]
fn counters_of_a_part_are_judged_one_by_one() {
    let mut sums = Sums::default();
    let mut kept = |counters: [u64; 2]| {
        sums.keep([(1, 1, counters)].into_iter(), &Moment::default()).next().map(|(_, kept)| kept)
    };
    kept([10, 7]);
    assert_eq!(kept([12, 0]), Some([0, 7]), "the first goes on, the second has begun anew");
    assert_eq!(kept([12, 3]), Some([0, 7]));
}

#[test]
fn a_part_that_moves_is_counted_once_while_its_old_row_lives_on() {
    let mut sums = Sums::default();
    // What each row shows: the sum of its parts, and what it keeps.
    let mut shown = |parts: &[(u8, char, u64)]| {
        let mut rows: BTreeMap<char, u64> = BTreeMap::new();
        let all = parts.iter().map(|(part, row, count)| (*part, *row, [*count]));
        for (row, [kept]) in sums.keep(all, &Moment::default()) {
            rows.insert(*row, kept);
        }
        for (_, row, count) in parts {
            let sum = rows.entry(*row).or_default();
            *sum = sum.wrapping_add(*count);
        }
        rows.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(shown(&[(1, 'a', 10), (2, 'a', 5)]), [('a', 15)]);
    assert_eq!(
        shown(&[(1, 'b', 12), (2, 'a', 5)]),
        [('a', 15), ('b', 2)],
        "the past stays where it was shown"
    );
    assert_eq!(shown(&[(1, 'b', 1), (2, 'a', 5)]), [('a', 15), ('b', 3)], "it begins anew");
    assert_eq!(
        shown(&[(1, 'a', 4), (2, 'a', 5)]),
        [('a', 21)],
        "its row ends with it, and its past moves along"
    );
}

/// What happens between two views.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A part counts more, and comes if it is not there.
    Grows {
        part: u8,
        more: u64,
    },
    /// A part ends.
    Ends {
        part: u8,
    },
    /// A part begins anew.
    Restarts {
        part: u8,
        with: u64,
    },
    /// A part belongs to another row from now on.
    Moves {
        part: u8,
        row: u8,
    },
    View,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, 1..9_u64).prop_map(|(part, more)| Step::Grows { part, more }),
        1 => (0..5_u8).prop_map(|part| Step::Ends { part }),
        1 => (0..5_u8, 0..3_u64).prop_map(|(part, with)| Step::Restarts { part, with }),
        1 => (0..5_u8, 0..2_u8).prop_map(|(part, row)| Step::Moves { part, row }),
        3 => Just(Step::View),
    ]
}

proptest! {
    /// A row grows by what was seen of its parts, and by the past of those whose old row has ended; it never goes back.
    #[test]
    fn rows_grow_by_what_was_counted(steps in vec(step(), 1..80)) {
        let mut sums = Sums::default();
        let mut parts: HashMap<u8, (u8, u64)> = HashMap::new();
        let mut shown: HashMap<u8, u64> = HashMap::new();
        // Of each part: its row and value when it was last seen, and what of its row is its own.
        let mut seen: HashMap<u8, (u8, u64, u64)> = HashMap::new();
        for step in steps {
            match step {
                Step::Grows { part, more } => parts.entry(part).or_insert((part % 2, 0)).1 += more,
                Step::Ends { part } => {
                    parts.remove(&part);
                }
                Step::Restarts { part, with } => {
                    if let Some((_, value)) = parts.get_mut(&part) {
                        *value = with;
                    }
                }
                Step::Moves { part, row } => {
                    if let Some(part) = parts.get_mut(&part) {
                        part.0 = row;
                    }
                }
                Step::View => {
                    let mut now: HashMap<u8, u64> = HashMap::new();
                    for (row, value) in parts.values() {
                        *now.entry(*row).or_default() += value;
                    }
                    let all = parts.iter().map(|(part, (row, value))| (*part, *row, [*value]));
                    for (row, [added]) in sums.keep(all, &Moment::default()) {
                        let sum = now.get_mut(row).expect("a row without a part");
                        *sum = sum.wrapping_add(added);
                    }
                    let mut expected: HashMap<u8, u64> =
                        now.keys().map(|row| (*row, shown.get(row).copied().unwrap_or(0))).collect();
                    let before = std::mem::take(&mut seen);
                    for (part, (row, value)) in &parts {
                        let (old, last, own) = before.get(part).copied().unwrap_or((*row, 0, 0));
                        let grown = if *value < last { *value } else { value - last };
                        let past = if old == *row || now.contains_key(&old) { 0 } else { own };
                        *expected.entry(*row).or_default() += grown + past;
                        let own = if old == *row { own } else { past };
                        seen.insert(*part, (*row, *value, own + grown));
                    }
                    prop_assert_eq!(&now, &expected);
                    shown = now;
                }
            }
        }
    }
}

proptest! {
    /// Whoever scrapes when, growth of all rows is what parts have counted, and no more.
    #[test]
    fn growth_is_what_was_counted(
        steps in vec((step(), 1..20_u64), 1..80),
        phases in vec((prop::sample::select(std::vec![5_u64, 15, 60]), 0..60_u64), 1..4),
    ) {
        let mut sums = Sums::default();
        let mut parts: HashMap<u8, (u8, u64)> = HashMap::new();
        let mut scrapers = Scrapers::new(&phases);
        let (mut counted, mut second, mut moment) = (0, 0, Moment::default());
        // What ends between two views is not seen.
        let mut unseen: HashMap<u8, u64> = HashMap::new();
        // Nor is one that begins anew between two and has as much again.
        let mut anew = std::collections::HashSet::new();
        let mut lost = 0;
        let last = (0..3).map(|_| (Step::View, 0));
        for (step, seconds) in steps.into_iter().chain(last) {
            match step {
                Step::Grows { part, more } => {
                    parts.entry(part).or_insert((part % 2, 0)).1 += more;
                    *unseen.entry(part).or_default() += more;
                    lost += u64::from(anew.contains(&part));
                    counted += more;
                }
                Step::Ends { part } => {
                    parts.remove(&part);
                    lost += unseen.remove(&part).unwrap_or(0);
                    anew.insert(part);
                }
                Step::Restarts { part, .. } => {
                    if let Some((_, value)) = parts.get_mut(&part) {
                        *value = 0;
                        anew.insert(part);
                        lost += unseen.remove(&part).unwrap_or(0);
                    }
                }
                Step::Moves { part, row } => {
                    if let Some(part) = parts.get_mut(&part) {
                        part.0 = row;
                    }
                }
                Step::View => {}
            }
            for _ in 0..=seconds {
                second += 1;
                let all = seconds == 0;
                if !all && !scrapers.is_due(second) {
                    continue;
                }
                moment.now = Duration::from_secs(second);
                let mut rows: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
                for (row, value) in parts.values() {
                    rows.entry(*row).or_insert_with(|| std::vec![0])[0] += value;
                }
                let all_parts = parts.iter().map(|(part, (row, value))| (*part, *row, [*value]));
                for (row, [added]) in sums.keep(all_parts, &moment) {
                    let sum = &mut rows.entry(*row).or_insert_with(|| std::vec![0])[0];
                    *sum = sum.wrapping_add(added);
                }
                unseen.clear();
                anew.clear();
                scrapers.read(&rows);
                let seen = scrapers.view(&rows, moment.now, (!all).then_some(second), &[counted]);
                moment.seen = moment.seen.and(seen);
            }
        }
        if lost == 0 && !scrapers.has_unseen_restart {
            scrapers.expect_all(&[counted]);
        }
    }
}
