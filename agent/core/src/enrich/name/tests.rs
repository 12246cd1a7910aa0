use std::sync::Arc;

use proptest::prelude::*;

use super::{Interner, MIN_SWEPT, Name};

#[test]
fn one_name_is_kept_once() {
    let mut names = Interner::default();
    let (first, second) = (names.name("shop", "cart"), names.name("shop", "cart"));
    assert!(Arc::ptr_eq(&first.0, &second.0));
    assert_eq!((first.namespace(), first.workload()), ("shop", "cart"));
    assert_eq!(first.to_string(), "shop/cart");
    assert_ne!(first, names.name("shopcart", ""));
    assert_eq!(names.count(), 2);
}

#[test]
fn names_that_nobody_holds_are_forgotten() {
    let mut names = Interner::default();
    let held = names.name("shop", "cart");
    for number in 0..10 * MIN_SWEPT {
        names.name("jobs", &number.to_string());
        assert!(names.count() <= MIN_SWEPT, "by itself");
    }
    names.forget();
    assert_eq!(names.count(), 1);
    assert!(Arc::ptr_eq(&held.0, &names.name("shop", "cart").0));
    drop(held);
    names.forget();
    assert_eq!(names.count(), 0);
}

#[test]
fn a_separator_in_a_part_moves_nothing_into_the_other() {
    let name = Name::new("a\0b", "c\0d");
    assert_eq!((name.namespace(), name.workload()), ("ab", "cd"));
}

proptest! {
    #[test]
    fn names_are_compared_as_their_parts(a in "[a-c.-]{0,3}", b in "[a-c.-]{0,3}", c in "[a-c.-]{0,3}", d in "[a-c.-]{0,3}") {
        let (one, other) = (Name::new(&a, &b), Name::new(&c, &d));
        prop_assert_eq!(one.cmp(&other), (&a, &b).cmp(&(&c, &d)));
        prop_assert_eq!(one == other, (&a, &b) == (&c, &d));
    }
}
