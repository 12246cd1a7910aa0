use super::rules::Rule;
use super::*;

const NOW: Duration = Duration::from_secs(7);

fn name(cgroups: &Cgroups, id: u64) -> Option<String> {
    cgroups.place(id).map(|place| place.name().to_string())
}

#[test]
fn a_place_is_kept_while_it_is_in_use() {
    let mut cgroups = Cgroups::default();
    cgroups.request(5, NOW);
    assert_eq!((name(&cgroups, 5), cgroups.due(NOW)), (None, vec![5]));
    assert!(cgroups.answer(5, Some(b"a/b"), NOW) && !cgroups.answer(5, Some(b"a/b"), NOW));
    assert!(cgroups.answer(1, Some(b""), NOW));
    assert_eq!((name(&cgroups, 5).as_deref(), name(&cgroups, 1).as_deref()), (Some("a/b"), Some("host")));
    cgroups.request(5, NOW);
    assert_eq!(cgroups.due(NOW), [0; 0], "it is known");
    // Its flow may have come after the reading that says what is in use.
    cgroups.retain(|_| false);
    assert_eq!(name(&cgroups, 5).as_deref(), Some("a/b"));
    cgroups.retain(|used| used == 5);
    assert_eq!(name(&cgroups, 5).as_deref(), Some("a/b"));
    cgroups.retain(|_| false);
    assert_eq!((name(&cgroups, 5), cgroups.statistics().known), (None, 0));
}

#[test]
fn what_is_not_found_is_wanted_again() {
    let mut cgroups = Cgroups::default();
    cgroups.request(5, NOW);
    assert_eq!(cgroups.due(NOW), [5]);
    assert!(!cgroups.answer(5, None, NOW));
    assert_eq!(cgroups.due(NOW), [0; 0]);
    assert_eq!(cgroups.due(NOW * 2), [5]);
    assert!(cgroups.answer(5, Some(b"late.service"), NOW * 2));
    assert_eq!(cgroups.statistics(), Statistics { known: 1, ..Statistics::default() });
}

#[test]
fn rules_name_what_is_no_pod_and_what_is_known_too() {
    let pod = "kubepods/pod0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3";
    let mut cgroups = Cgroups::default();
    for (id, path) in [(1, "system.slice/kafka.service/x"), (2, "batch"), (3, pod)] {
        cgroups.answer(id, Some(path.as_bytes()), NOW);
    }
    let names = |cgroups: &Cgroups| [1, 2, 3].map(|id| name(cgroups, id).unwrap());
    let pod_name = "pod:0f9d13e4-7a3c-4b52-9c1d-5e6f708192a3";
    assert_eq!(names(&cgroups), ["kafka.service", "batch", pod_name]);
    let rule = |path, name| Rule::new(path, Some("data"), name).unwrap();
    let rules = vec![rule("system.slice/kafka*.service", "kafka"), rule("**", "other")];
    cgroups.set_rules(Rules::new(rules).unwrap());
    assert_eq!(names(&cgroups), ["kafka", "other", pod_name]);
    let Some(Place::Configured(says)) = cgroups.place(1) else { panic!("it has a rule") };
    assert_eq!(says.namespace.as_deref(), Some("data"));
    cgroups.set_rules(Rules::default());
    assert_eq!(names(&cgroups), ["kafka.service", "batch", pod_name]);
}
