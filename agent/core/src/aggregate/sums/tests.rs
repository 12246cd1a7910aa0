use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn counters_of_a_part_are_judged_one_by_one() {
    let mut sums = Sums::default();
    let mut kept =
        |counters: [u64; 2]| sums.keep([(1, 1, counters)].into_iter()).next().map(|(_, kept)| kept);
    kept([10, 7]);
    assert_eq!(kept([12, 0]), Some([0, 7]), "the first goes on, the second has begun anew");
    assert_eq!(kept([12, 3]), Some([0, 7]));
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
    /// No row goes back while it lives, and it grows by exactly what was seen of its parts.
    #[test]
    fn no_row_goes_back_while_it_has_a_part(steps in vec(step(), 1..80)) {
        let mut sums = Sums::default();
        let mut parts: HashMap<u8, (u8, u64)> = HashMap::new();
        let mut shown: HashMap<u8, u64> = HashMap::new();
        // The last value seen of each part in its row.
        let mut seen: HashMap<(u8, u8), u64> = HashMap::new();
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
                    let kept: HashMap<u8, u64> = sums
                        .keep(parts.iter().map(|(part, (row, value))| (*part, *row, [*value])))
                        .map(|(row, [value])| (*row, value))
                        .collect();
                    let mut now: HashMap<u8, u64> = HashMap::new();
                    for (row, value) in parts.values() {
                        *now.entry(*row).or_default() += value;
                    }
                    for (row, value) in &kept {
                        prop_assert!(now.contains_key(row), "row {row} has no part but keeps {value}");
                        *now.entry(*row).or_default() += value;
                    }
                    for (row, value) in &now {
                        if let Some(before) = shown.get(row) {
                            let grown: u64 = parts.iter().filter(|(_, (of, _))| of == row).map(|(part, (_, value))| {
                                let before = seen.get(&(*part, *row)).copied().unwrap_or(0);
                                if *value < before { *value } else { value - before }
                            }).sum();
                            prop_assert_eq!(*value, before + grown, "row {}", row);
                        }
                    }
                    seen = parts.iter().map(|(part, (row, value))| ((*part, *row), *value)).collect();
                    shown = now;
                }
            }
        }
    }
}
