//! Legs between a workload and its own sidecar are shown for all ports together, as the sum of their edges, which end one by one.

use std::sync::Arc;

use netcause_common::flow::TcpCounters;

use super::budget::Shown;
use crate::aggregate::sums::Sums;
use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, Via};
use crate::seen::Moment;

/// What legs had from edges that are not shown any more.
#[derive(Debug)]
pub struct Legs(Sums<Edge, Arc<Edge>, TcpCounters>);

impl Default for Legs {
    fn default() -> Self {
        Self(Sums::of_rows())
    }
}

impl Legs {
    /// What each leg adds to the sum of the edges shown.
    pub fn keep(&mut self, shown: &[Shown], moment: &Moment) -> Vec<Shown> {
        let tcp = |shown: &Shown| TcpCounters { open: 0, ..shown.totals.tcp };
        let parts =
            shown.iter().filter_map(|shown| Some((Arc::clone(&shown.edge), leg(&shown.edge)?, tcp(shown))));
        let kept = self.0.keep(parts, moment);
        kept.map(|(edge, tcp)| Shown {
            edge: Arc::new(edge.clone()),
            totals: Totals { tcp, ..Totals::ZERO },
            counts: false,
        })
        .collect()
    }
}

/// The leg without its port and its other end, which is the same pod.
fn leg(edge: &Edge) -> Option<Edge> {
    let is_leg = matches!(edge.via, Via::OwnSidecar(_));
    is_leg.then(|| Edge { source: edge.source.clone(), via: edge.via, ..Edge::other(edge.reporter) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Reporter;
    use crate::enrich::Workload;
    use crate::enrich::sidecar::Direction;

    #[test]
    fn a_leg_keeps_what_a_port_had_that_is_gone() {
        let of_port = |port, opened| Shown {
            edge: Arc::new(Edge {
                source: Workload::plain("shop"),
                port: Some(port),
                via: Via::OwnSidecar(Direction::Outbound),
                ..Edge::other(Reporter::Source)
            }),
            totals: Totals { tcp: TcpCounters { opened, open: 1, ..TcpCounters::ZERO }, ..Totals::ZERO },
            counts: true,
        };
        let mut legs = Legs::default();
        let mut kept = |shown: &[Shown]| {
            let kept = legs.keep(shown, &Moment::default());
            kept.iter().map(|kept| (kept.edge.source.to_string(), kept.totals.tcp.opened)).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[of_port(80, 3), of_port(9000, 4)]), []);
        assert_eq!(kept(&[of_port(9000, 5)]), [("shop".to_owned(), 3)]);
        assert_eq!(kept(&[]), []);
    }

    #[test]
    fn what_was_taken_for_a_leg_goes_back() {
        let leg = |opened| Shown {
            edge: Arc::new(Edge {
                source: Workload::plain("shop"),
                port: Some(80),
                via: Via::OwnSidecar(Direction::Outbound),
                ..Edge::other(Reporter::Source)
            }),
            totals: Totals { tcp: TcpCounters { opened, ..TcpCounters::ZERO }, ..Totals::ZERO },
            counts: true,
        };
        let mut legs = Legs::default();
        assert!(legs.keep(&[leg(12)], &Moment::default()).is_empty());
        assert!(legs.keep(&[leg(3)], &Moment::default()).is_empty(), "nine belong to a direct edge");
    }
}
