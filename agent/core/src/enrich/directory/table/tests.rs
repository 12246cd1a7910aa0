use std::collections::HashMap;

use proptest::prelude::*;

use super::{CHUNK, Chained, Keyed, NONE, Table};

#[derive(Debug)]
struct Thing {
    key: u8,
    what: u32,
    next: u32,
}

impl Keyed for Thing {
    type Key = u8;

    fn key(&self) -> &u8 {
        &self.key
    }
}

impl Chained for Thing {
    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }

    fn following(&self) -> u32 {
        self.next
    }
}

#[test]
fn memory_is_given_back() {
    let mut table = Table::default();
    let ids: Vec<u32> = (0..100_000).map(|what| table.push(Thing { key: 0, what, next: NONE })).collect();
    let slots = |table: &Table<Thing>| table.chunks.iter().map(|chunk| chunk.slots.capacity()).sum::<usize>();
    assert!(slots(&table) < 100_000 + CHUNK);
    ids.into_iter().rev().for_each(|id| assert!(table.unlink(id).is_some()));
    assert_eq!((slots(&table), table.len(), table.keys()), (0, 0, 0));
    table.push(Thing { key: 0, what: 0, next: NONE });
    assert_eq!(slots(&table), CHUNK, "a chunk is used again");
}

proptest! {
    /// Against lists by key.
    #[test]
    fn chains_are_lists(steps in prop::collection::vec((0_u8..5, prop::option::of(0_usize..100)), 0..1500)) {
        let (mut table, mut ids, mut lists) = (Table::default(), Vec::new(), HashMap::<u8, Vec<u32>>::new());
        for (number, (key, removed)) in (0..).zip(steps) {
            match removed.filter(|_| !ids.is_empty()) {
                Some(at) if number % 3 != 0 => {
                    let id = ids.swap_remove(at % ids.len());
                    let thing: Thing = table.unlink(id).unwrap();
                    lists.get_mut(&thing.key).unwrap().retain(|what| *what != thing.what);
                    prop_assert!(table.get(id).is_none());
                }
                _ => {
                    ids.push(table.push(Thing { key, what: number, next: NONE }));
                    lists.entry(key).or_default().insert(0, number);
                }
            }
        }
        for (key, list) in &lists {
            prop_assert_eq!(&table.chain(key).map(|(_, thing)| thing.what).collect::<Vec<_>>(), list);
        }
        prop_assert_eq!(table.keys(), lists.values().filter(|list| !list.is_empty()).count());
        prop_assert_eq!(table.len(), ids.len());
        prop_assert_eq!(table.iter().count(), ids.len());
        prop_assert_eq!(table.values_mut().count(), ids.len());
    }
}
