use super::*;
use crate::enrich::directory::NodeRef;

fn sent(segments: u64) -> TcpCounters {
    TcpCounters { sent_segments: segments, ..TcpCounters::ZERO }
}

fn node(name: &str) -> PeerNode<'_> {
    PeerNode::Known(NodeRef { name, zone: Some("z") })
}

/// Each row and its segments.
fn rows(nodes: &PeerNodes) -> Vec<(String, u64)> {
    let name = |row: &Row| match row {
        Row::Node { name, zone } => format!("{name}/{zone}"),
        Row::Unknown => "unknown".to_owned(),
        Row::Other => "other".to_owned(),
    };
    nodes.rows().iter().map(|(row, totals)| (name(row), totals.sent_segments)).collect()
}

fn of(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|(name, segments)| ((*name).to_owned(), *segments)).collect()
}

#[test]
fn what_is_of_no_node_is_of_the_cluster_or_left_out() {
    let mut nodes = PeerNodes::new(4);
    nodes.add(node("a"), &sent(3));
    nodes.add(PeerNode::Unknown, &sent(5));
    nodes.add(PeerNode::Outside, &sent(7));
    assert_eq!(rows(&nodes), of(&[("a/z", 3), ("unknown", 5)]));
}

#[test]
fn a_larger_node_takes_the_place_of_the_smallest() {
    let mut nodes = PeerNodes::new(2);
    nodes.add(node("a"), &sent(100));
    nodes.add(node("b"), &sent(10));
    nodes.add(node("c"), &sent(19));
    nodes.give_places();
    assert_eq!(rows(&nodes), of(&[("a/z", 100), ("b/z", 10), ("other", 19)]), "not twice as large");
    nodes.add(node("c"), &sent(3));
    nodes.give_places();
    assert_eq!(nodes.folded(), 1);
    assert_eq!(rows(&nodes), of(&[("a/z", 100), ("other", 22)]), "its past stays in other");
    nodes.add(node("b"), &sent(1));
    nodes.add(node("c"), &sent(4));
    assert_eq!(rows(&nodes), of(&[("a/z", 100), ("c/z", 4), ("other", 23)]));
}

#[test]
fn a_zone_that_comes_late_begins_a_row() {
    let mut nodes = PeerNodes::new(2);
    nodes.add(PeerNode::Known(NodeRef { name: "a", zone: None }), &sent(3));
    assert_eq!(rows(&nodes), of(&[("a/", 3)]));
    nodes.add(node("a"), &sent(4));
    assert_eq!(rows(&nodes), of(&[("a/z", 4)]));
}

#[test]
fn a_node_that_counts_nothing_any_more_ends() {
    let names = Names::new(crate::enrich::Options::default());
    let mut nodes = PeerNodes::new(2);
    nodes.add(node("a"), &sent(1));
    nodes.add(node("b"), &sent(1 << 20));
    nodes.end_reading(HALF_LIFE, &names);
    assert_eq!(rows(&nodes), of(&[("b/z", 1 << 20)]));
    nodes.end_reading(HALF_LIFE * 1000, &names);
    assert_eq!(rows(&nodes), of(&[]));
}
