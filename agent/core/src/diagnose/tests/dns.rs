//! DNS servers that are down, slow to reach, or asked too much.

use netcause_common::dns::ResponseCode;

use super::*;

fn resolver(client: &str) -> Arc<Edge> {
    Arc::new(Edge { port: Some(53), ..(*edge(client, "dns")).clone() })
}

/// Queries in five seconds, what became of them.
fn asked(queries: u64, answers: u64, timeouts: u64) -> Totals {
    let mut totals = Totals::ZERO;
    totals.dns.queries[0] = queries;
    totals.dns.responses[ResponseCode::NoError as usize] = answers;
    totals.dns.timeouts = timeouts;
    totals.dns.duration.buckets[0] = answers;
    totals.dns.duration.sum = answers * 1_000_000;
    totals
}

/// The one finding: cause, side and confidence.
fn only(node: &Node) -> (&'static str, Side, Confidence) {
    let findings = node.diagnosis.findings();
    let [dated] = &findings[..] else { panic!("{findings:#?}") };
    (dated.finding.cause.label(), dated.finding.side, dated.finding.confidence)
}

#[test]
fn a_server_that_nobody_hears_from_is_down_as_far_as_is_known() {
    let web = resolver("web");
    let mut node = Node::with_past_of(&[(Arc::clone(&web), asked(10, 10, 0))]);
    node.windows(3, &[(web, asked(10, 0, 10))]);
    assert_eq!(only(&node), ("dns_server_down", Side::Dns, Confidence::Medium));
}

#[test]
fn a_server_that_answers_others_is_not_down() {
    let (web, shop) = (resolver("web"), resolver("shop"));
    let fine = asked(10, 10, 0);
    let mut node = Node::with_past_of(&[(Arc::clone(&web), fine), (Arc::clone(&shop), fine)]);
    node.windows(3, &[(web, asked(10, 0, 10)), (shop, fine)]);
    assert_eq!(only(&node), ("dns_server_unreachable", Side::Policy, Confidence::Medium));
}

#[test]
fn a_server_that_comes_back_answers_some_clients_first() {
    let (web, shop) = (resolver("web"), resolver("shop"));
    let (fine, silent) = (asked(10, 10, 0), asked(10, 0, 10));
    let mut node = Node::with_past_of(&[(Arc::clone(&web), fine), (Arc::clone(&shop), fine)]);
    node.windows(4, &[(Arc::clone(&web), silent), (Arc::clone(&shop), silent)]);
    node.window(&[(web, silent), (shop, fine)]);
    assert_eq!(node.causes(), ["dns_server_down"]);
}

#[test]
fn the_servers_own_end_decides_where_queries_are_lost() {
    let fine = asked(10, 10, 0);
    let silent = asked(10, 0, 10);
    // Nothing arrives; all arrives and is not answered; all is answered.
    for (arrived, expected) in [
        (Totals::ZERO, ("dns_server_unreachable", Side::Path, Confidence::Medium)),
        (asked(10, 0, 0), ("dns_server_down", Side::Dns, Confidence::High)),
        (asked(10, 10, 0), ("dns_server_unreachable", Side::Path, Confidence::High)),
    ] {
        let web = resolver("web");
        let server = other_end(&web);
        let mut node = Node::with_past_of(&[(Arc::clone(&web), fine), (Arc::clone(&server), fine)]);
        // Longer than what is judged: the server's end is not forgotten.
        node.windows(8, &[(web, silent), (server, arrived)]);
        assert_eq!(only(&node), expected);
    }
}

#[test]
fn so_does_an_end_that_counts_all_clients_as_one() {
    let fine = asked(10, 10, 0);
    let silent = asked(10, 0, 10);
    for (arrived, expected) in [
        (Totals::ZERO, ("dns_server_unreachable", Side::Path, Confidence::Medium)),
        (asked(10, 0, 0), ("dns_server_down", Side::Dns, Confidence::High)),
        (asked(10, 10, 0), ("dns_server_unreachable", Side::Path, Confidence::Medium)),
    ] {
        let web = resolver("web");
        let server = Arc::new(Edge { source: Workload::Any, ..Edge::clone(&other_end(&web)) });
        let mut node = Node::with_past_of(&[(Arc::clone(&web), fine), (Arc::clone(&server), fine)]);
        node.windows(8, &[(Arc::clone(&web), silent), (Arc::clone(&server), arrived)]);
        assert_eq!(only(&node), expected);
        // What it answers are the queries of another client.
        let shop = resolver("shop");
        let past = [&web, &shop, &server].map(|edge| (Arc::clone(edge), fine));
        let mut node = Node::with_past_of(&past);
        node.windows(8, &[(web, silent), (shop, fine), (server, fine)]);
        assert_eq!(only(&node), ("dns_server_unreachable", Side::Policy, Confidence::Medium));
    }
}

#[test]
fn a_rule_of_this_node_is_named() {
    let web = resolver("web");
    let mut node = Node::with_past_of(&[(Arc::clone(&web), asked(10, 10, 0))]);
    let place = Place::Drops(web.source.clone(), web.destination.clone());
    for total in 1..4 {
        node.read(&place, &[10 * total]);
        node.window(&[(Arc::clone(&web), asked(10, 0, 10))]);
    }
    assert_eq!(only(&node), ("dns_server_unreachable", Side::Policy, Confidence::High));
}

#[test]
fn search_domains_that_make_most_queries_are_named() {
    let web = resolver("web");
    let fine = (Arc::clone(&web), asked(100, 100, 0));
    let mut node = Node::with_past_of(std::slice::from_ref(&fine));
    let place = Place::Search(web.source.clone());
    // Few of many, and few at all.
    for totals in [[0, 0, 0], [5, 10, 100], [10, 20, 200], [12, 24, 226]] {
        node.read(&place, &totals);
        node.window(std::slice::from_ref(&fine));
    }
    assert!(node.causes().is_empty(), "{:?}", node.active());
    for round in 1..8 {
        node.read(&place, &[12 + 40 * round, 24 + 80 * round, 226 + 100 * round]);
        node.window(std::slice::from_ref(&fine));
    }
    assert_eq!(only(&node), ("dns_search_amplification", Side::Client, Confidence::Medium));
}

#[test]
fn tcp_to_a_server_whose_answers_are_cut_is_dropped_or_refused() {
    let web = resolver("web");
    let mut cut = asked(100, 100, 0);
    cut.dns.truncated = 30;
    let mut works = cut;
    works.tcp.opened = 30;
    for is_refused in [false, true] {
        let mut node = Node::with_past_of(&[(Arc::clone(&web), works)]);
        let mut blocked = cut;
        if is_refused {
            blocked.tcp.connect_failures[ConnectFailure::Refused as usize] = 30;
        } else {
            again(&mut blocked, RetransmitKind::Syn, 6);
        }
        // What was opened before is still in the span that is judged.
        node.windows(3, &[(Arc::clone(&web), blocked)]);
        assert_eq!(node.causes(), ["dns_tcp_fallback_blocked"], "{is_refused}");
    }
}

#[test]
fn what_waited_for_a_server_that_was_down_does_not_make_it_slow() {
    let (web, shop) = (resolver("web"), resolver("shop"));
    let (fine, silent) = (asked(10, 10, 0), asked(10, 0, 10));
    let mut node = Node::with_past_of(&[(Arc::clone(&web), fine), (Arc::clone(&shop), fine)]);
    node.windows(4, &[(Arc::clone(&web), silent), (Arc::clone(&shop), fine)]);
    let mut late = asked(80, 80, 0);
    late.dns.duration.buckets[0] -= 2;
    late.dns.duration.buckets[15] += 2;
    late.dns.duration.sum += 7_000_000_000;
    // Two of eighty took seconds.
    node.windows(3, &[(Arc::clone(&web), late), (Arc::clone(&shop), late)]);
    assert!(!node.causes().contains(&"dns_server_slow"), "{:?}", node.active());
    late.dns.duration.buckets[0] -= 20;
    late.dns.duration.buckets[15] += 20;
    late.dns.duration.sum += 70_000_000_000;
    // A quarter did.
    let mut node = Node::with_past_of(&[(Arc::clone(&web), fine)]);
    node.windows(3, &[(web, late)]);
    assert!(node.causes().contains(&"dns_server_slow"), "{:?}", node.active());
}

#[test]
fn a_client_without_a_name_is_dropped_by_its_address() {
    let web = resolver("web");
    let served = |queries| (other_end(&web), asked(queries, queries, 0));
    let client = Workload::Address("192.0.2.7".parse().unwrap());
    let place = Place::Drops(client, web.destination.clone());
    for dropped in [0, 10] {
        let mut node = Node::with_past_of(&[(Arc::clone(&web), asked(10, 10, 0)), served(10)]);
        for number in 0..4 {
            node.read(&place, &[number * dropped]);
            node.windows(1, &[(Arc::clone(&web), asked(10, 0, 10)), served(0)]);
        }
        let side = if dropped > 0 { Side::Policy } else { Side::Path };
        assert_eq!(only(&node), ("dns_server_unreachable", side, Confidence::Medium));
    }
}

#[test]
fn a_server_that_answers_over_udp_is_not_behind_a_dead_path() {
    let web = resolver("web");
    let fine = asked(100, 100, 0);
    // New connections, and one that was open; nothing is known of answers that were cut.
    let mut unopened = fine;
    again(&mut unopened, RetransmitKind::Syn, 6);
    let mut stuck = dead(false);
    stuck.dns = fine.dns;
    for blocked in [unopened, stuck] {
        let mut node = Node::with_past_of(&[(Arc::clone(&web), fine)]);
        node.windows(4, &[(Arc::clone(&web), blocked)]);
        assert_eq!(node.active(), [("policy_drop", Confidence::Medium, "web/dns:53".to_owned())]);
        let evidence = &node.diagnosis.findings()[0].finding.evidence;
        assert!(evidence.iter().any(|signal| signal.signal == "dns_responses"), "{evidence:?}");
    }
}

#[test]
fn few_repeated_syns_after_answers_that_were_cut_are_enough() {
    let web = resolver("web");
    let mut cut = asked(100, 100, 0);
    cut.dns.truncated = 2;
    let mut node = Node::with_past_of(&[(Arc::clone(&web), asked(100, 100, 0))]);
    // Timeouts back off: one in each window.
    again(&mut cut, RetransmitKind::Syn, 1);
    node.windows(4, &[(web, cut)]);
    assert_eq!(node.causes(), ["dns_tcp_fallback_blocked"]);
}
