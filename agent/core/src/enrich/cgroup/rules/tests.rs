use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, path: &str) -> bool {
    let rules = Rules::new(vec![Rule::new(pattern, None, "x").unwrap()]).unwrap();
    rules.find(path.as_bytes()).is_some()
}

#[test]
fn stars_stand_for_names_and_for_directories() {
    for (pattern, path, is_match) in [
        ("system.slice/kafka*.service", "system.slice/kafka.service", true),
        ("system.slice/kafka*.service", "system.slice/kafka@7.service", true),
        ("system.slice/kafka*.service", "system.slice/kafka.service/worker/1", true),
        ("system.slice/kafka*.service", "system.slice/kafka/a.service", false),
        ("system.slice/kafka*.service", "x/system.slice/kafka.service", false),
        ("system.slice/kafka*.service", "system.slice", false),
        ("/batch", "batch/7", true),
        ("batch", "batch7", false),
        ("**/kafka*.service", "kafka.service", true),
        ("**/kafka*.service", "a/b/kafka.service", true),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "a/x/y", false),
        ("a/*/b", "a/b", false),
        ("a/*/b", "a/x/b", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("a\\x2db", "a\\x2db", true),
        ("**", "", true),
        ("*", "", false),
        ("*", "a", true),
    ] {
        assert_eq!(matches(pattern, path), is_match, "{pattern} of {path}");
    }
}

#[test]
fn the_first_rule_counts() {
    let rule = |path, namespace, workload| Rule::new(path, namespace, workload).unwrap();
    let rules = Rules::new(vec![
        rule("a/b", Some("shop"), "first"),
        rule("a", Some(""), "second"),
        rule("a/c", None, "never"),
    ])
    .unwrap();
    let find = |path: &str| {
        let says = rules.find(path.as_bytes())?;
        Some((says.namespace.clone(), says.workload.clone()))
    };
    assert_eq!(find("a/b/x"), Some((Some("shop".into()), "first".into())));
    assert_eq!(find("a/c"), Some((None, "second".into())));
    assert_eq!(find("b"), None);
}

#[test]
fn what_can_match_nothing_is_refused() {
    let error = |path: &str| Rule::new(path, None, "x").unwrap_err();
    assert_eq!(error(""), RuleError::Empty);
    assert_eq!(error("/"), RuleError::Empty);
    for (path, name) in [("a//b", ""), ("a/", ""), ("//a", ""), ("a/../b", ".."), ("./a", ".")] {
        assert_eq!(error(path), RuleError::NoName(name.into()), "{path}");
    }
    assert_eq!(error("a/b**"), RuleError::Stars("b**".into()));
    assert_eq!(error("***"), RuleError::Stars("***".into()));
    assert_eq!(error(&"a".repeat(1025)), RuleError::TooLong);
    assert_eq!(Rule::new("a", None, "").unwrap_err(), RuleError::NoWorkload);
    let many = vec![Rule::new("a", None, "x").unwrap(); MAX_RULES + 1];
    assert_eq!(Rules::new(many).unwrap_err(), RuleError::TooMany);
}

#[test]
fn a_long_row_of_stars_is_no_long_wait() {
    // Hundreds of stars and a path of four thousand bytes: what goes back to every star would not end.
    let pattern = "a*".repeat(200) + "b";
    let path = ["a".repeat(255).as_str(); 16].join("/");
    assert!(!matches(&format!("**/{pattern}"), &path));
    assert!(!matches(&(["**/a*"; 150].join("/") + "/b"), &path));
}

/// The plain meaning, tried out in every way.
fn matches_by_trying(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => true,
        ["**", rest @ ..] => (0..=path.len()).any(|taken| matches_by_trying(rest, &path[taken..])),
        [name, rest @ ..] => {
            path.first().is_some_and(|first| name_by_trying(name.as_bytes(), first.as_bytes()))
                && matches_by_trying(rest, &path[1..])
        }
    }
}

fn name_by_trying(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|taken| name_by_trying(rest, &name[taken..])),
        [first, rest @ ..] => name.first() == Some(first) && name_by_trying(rest, &name[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn a_rule_means_what_it_says(
        pattern in proptest::collection::vec(prop_oneof!["(\\*?[ab]){1,3}\\*?", "\\*{1,2}"], 1..5),
        path in proptest::collection::vec("[ab]{1,4}", 0..5),
    ) {
        let pattern: Vec<_> = pattern.iter().map(String::as_str).collect();
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let is_match = matches(&pattern.join("/"), &path.join("/"));
        prop_assert_eq!(is_match, matches_by_trying(&pattern, &path));
    }

    #[test]
    fn nothing_panics(pattern in "[a*/.]{0,20}|\\PC{0,20}", path: Vec<u8>) {
        if let Ok(rule) = Rule::new(&pattern, None, "x") {
            let _ = Rules::new(vec![rule]).unwrap().find(&path);
        }
    }
}
