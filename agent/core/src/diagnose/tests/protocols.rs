//! What the protocols of a network namespace count.

use super::*;
use crate::node::netstat::COUNTERS;

/// Windows in which these counters of a workload's network namespace grow by 20 each.
fn grown(names: &[&str]) -> Vec<&'static str> {
    let mut node = Node::with_past(&[]);
    let place = Place::Protocols(Some(Workload::plain("server")));
    for number in 1..=4 {
        let totals = COUNTERS.map(|name| if names.contains(&name) { 20 * number } else { 0 });
        node.read(&place, &totals);
        node.window(&[]);
    }
    node.causes()
}

#[test]
fn acknowledgements_that_others_have_overtaken_are_no_reuse_of_ports() {
    assert_eq!(grown(&["TcpExt_PAWSEstab"]), Vec::<&str>::new());
    assert_eq!(grown(&["TcpExt_PAWSEstab", "TcpExt_PAWSTimewait"]), ["time_wait_reuse"]);
    assert_eq!(grown(&["TcpExt_PAWSActive"]), ["time_wait_reuse"]);
}
