use super::*;

fn list(directory: &mut Directory, source: Source, pods: &[u32], now: Seconds) {
    directory.apply_from(source, Change::Init(Kind::Pod), now);
    for number in pods {
        let address = format!("10.0.0.{number}");
        directory.apply_from(source, Change::ApplyPod(Box::new(pod(*number, START, &[&address]))), now);
    }
    directory.apply_from(source, Change::InitDone(Kind::Pod), now);
}

fn held(directory: &Directory, at: Seconds) -> Vec<u8> {
    (0..10).filter(|number| directory.holder_name(&format!("10.0.0.{number}"), at).is_some()).collect()
}

#[test]
fn what_a_list_leaves_out_is_deleted() {
    let mut directory = directory();
    list(&mut directory, Source::Api, &[1, 2, 3], START);
    list(&mut directory, Source::Api, &[2, 4], START + 10);
    assert_eq!(held(&directory, START + 11), [2, 4]);
    assert_eq!(directory.statistics().gone_pods, 2);
    list(&mut directory, Source::Api, &[1], START + 20);
    assert_eq!(held(&directory, START + 21), [1], "and can come again");
    directory.change(Change::InitDone(Kind::Pod), START + 30);
    assert_eq!(held(&directory, START + 31), [1], "no list had begun");
}

#[test]
fn what_another_source_lists_is_not_deleted() {
    let mut directory = directory();
    list(&mut directory, Source::Kubelet, &[1, 2], START);
    list(&mut directory, Source::Api, &[2, 3], START);
    list(&mut directory, Source::Api, &[], START + 10);
    assert_eq!(held(&directory, START + 11), [1, 2]);
    directory.delete_pod(1, START + 12);
    assert_eq!(held(&directory, START + 13), [1, 2], "the API had not listed it");
    list(&mut directory, Source::Kubelet, &[], START + 20);
    assert!(held(&directory, START + 21).is_empty());
}

#[test]
fn a_source_that_is_behind_takes_no_address_away() {
    let mut directory = directory();
    let sent = |addresses| Change::ApplyPod(Box::new(pod(1, START, addresses)));
    directory.apply_from(Source::Kubelet, sent(&["10.0.0.1"]), START);
    directory.apply_from(Source::Api, sent(&[]), START + 1);
    assert_eq!(held(&directory, START + 2), [1]);
    let ended = Change::ApplyPod(Box::new(Pod { has_ended: true, ..pod(1, START, &["10.0.0.1"]) }));
    directory.apply_from(Source::Kubelet, ended, START + 3);
    directory.apply_from(Source::Api, sent(&["10.0.0.1"]), START + 4);
    assert!(held(&directory, START + 5).is_empty(), "it has ended");
}

#[test]
fn what_exceeds_a_limit_is_counted() {
    let mut directory = Directory::new(Limits { pods: 2, nodes: 1, ..Limits::default() });
    list(&mut directory, Source::Api, &[1, 2, 3], START);
    assert_eq!(held(&directory, START), [1, 2]);
    assert_eq!(directory.statistics().dropped.pods, 1);
    directory.delete_pod(1, START + 1);
    list(&mut directory, Source::Api, &[2, 3], START + 2);
    assert_eq!(held(&directory, START + 3), [2, 3], "a deleted one makes room");
    for name in ["one", "two", "one"] {
        directory.change(Change::ApplyNode(Box::new(node(name, &["192.0.2.1"]))), START);
    }
    assert_eq!((directory.statistics().nodes, directory.statistics().dropped.nodes), (1, 1));
}

#[test]
fn an_address_that_all_claim_costs_no_more() {
    let mut directory = directory();
    for number in 0..1000 {
        directory.apply_pod(pod(number, START, &["10.0.0.1"]), START);
    }
    let statistics = directory.statistics();
    assert_eq!((statistics.addresses, statistics.holdings), (1, 16));
    assert_eq!(statistics.dropped.holdings, 1000 - 16);
    assert_eq!(directory.holder_name("10.0.0.1", START), None);
    (0..1000).for_each(|number| _ = directory.delete_pod(number, START + 1));
    directory.expire(START + 1000);
    assert_eq!(directory.statistics().holdings, 0);
}

#[test]
fn past_holdings_are_bounded() {
    let mut directory = Directory::new(Limits { past: 5, ..Limits::default() });
    for number in 0..9 {
        directory.apply_pod(pod(number, START, &[&format!("10.0.0.{number}")]), START);
        directory.delete_pod(number, START + 1);
    }
    directory.expire(START + 1);
    assert_eq!(held(&directory, START), [4, 5, 6, 7, 8], "the last ones are kept");
}
