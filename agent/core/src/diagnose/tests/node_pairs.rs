//! Faults of another node, or of the way to it.

use super::*;
use crate::aggregate::peer_nodes::Row;

/// What was counted with these nodes in the window that ends next.
fn with_nodes(node: &mut Node, counted: &[(&str, TcpCounters)]) {
    for (name, counters) in counted {
        let row = Arc::new(Row::Node { name: (*name).into(), zone: "".into() });
        node.peer_nodes.count(Arc::clone(&row), &row, counters);
    }
    node.peer_nodes.end_reading(Duration::from_secs(node.now + 5));
}

fn lossy() -> Totals {
    let mut lossy = healthy();
    again(&mut lossy, RetransmitKind::Fast, 30);
    lossy
}

#[test]
fn loss_of_several_pairs_to_one_node_is_of_that_node() {
    let bad = [edge("web", "db"), edge("shop", "stock")];
    let good = edge("web", "cache");
    let mut node = Node::with_past(&[Arc::clone(&bad[0]), Arc::clone(&bad[1]), Arc::clone(&good)]);
    with_nodes(&mut node, &[]);
    for _ in 0..3 {
        with_nodes(&mut node, &[("far", lossy().tcp), ("near", healthy().tcp)]);
        let [one, other] = &bad;
        node.window(&[
            (Arc::clone(one), lossy()),
            (Arc::clone(other), lossy()),
            (Arc::clone(&good), healthy()),
        ]);
    }
    assert_eq!(node.active(), [("path_loss", Confidence::Medium, "node/far".to_owned())]);
    assert_eq!(node.diagnosis.findings()[0].finding.affected_total, 2);
}

#[test]
fn loss_to_two_nodes_or_of_one_pair_is_of_the_pairs() {
    let bad = [edge("web", "db"), edge("shop", "stock")];
    let mut node = Node::with_past(&bad);
    with_nodes(&mut node, &[]);
    for _ in 0..3 {
        with_nodes(&mut node, &[("far", lossy().tcp), ("near", lossy().tcp)]);
        node.windows(1, &bad.each_ref().map(|edge| (Arc::clone(edge), lossy())));
    }
    assert_eq!(node.active().len(), 2, "{:?}", node.active());

    let mut node = Node::with_past(&bad);
    with_nodes(&mut node, &[]);
    for _ in 0..3 {
        with_nodes(&mut node, &[("far", lossy().tcp), ("near", healthy().tcp)]);
        node.window(&[(Arc::clone(&bad[0]), lossy()), (Arc::clone(&bad[1]), healthy())]);
    }
    assert_eq!(node.active(), [("path_loss", Confidence::High, "web/db:8080".to_owned())]);
}

#[test]
fn a_node_that_says_nothing_any_more_is_one_finding() {
    let bad = [edge("web", "db"), edge("shop", "stock"), edge("web", "stock")];
    let good = edge("web", "cache");
    let mut all: Vec<_> = bad.iter().map(|edge| (Arc::clone(edge), healthy())).collect();
    all.push((Arc::clone(&good), healthy()));
    let mut node = Node::with_past_of(&all);
    with_nodes(&mut node, &[]);
    let dead = dead(false);
    for (_, totals) in &mut all[..3] {
        *totals = dead;
    }
    for _ in 0..5 {
        with_nodes(&mut node, &[("far", dead.tcp), ("near", healthy().tcp)]);
        node.window(&all);
    }
    assert_eq!(node.active(), [("dead_path", Confidence::Medium, "node/far".to_owned())]);
}
