//! `GET /api/v1/events`: the last TCP failure events of each edge, latest first.

use netcause_core::aggregate::events::EdgeEvent;
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::enrich::Workload;
use netcause_core::ingest::TcpEventKind;
use serde::Serialize;

use super::snapshot::Snapshot;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    /// Events received since the agent started; those of each edge that are not among the last are left out below.
    received: u64,
    events: Vec<Event<'a>>,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    /// Seconds since 1970.
    time: f64,
    reporter: &'static str,
    source: End<'a>,
    destination: End<'a>,
    /// The server's port; `null` for an edge of several.
    port: Option<u16>,
    /// The client's port; `null` when unknown.
    client_port: Option<u16>,
    /// The remote address.
    peer: String,
    /// The DNS name that the local workload resolved it from; `null` when unknown.
    peer_name: Option<String>,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Serialize)]
struct End<'a> {
    namespace: &'a str,
    workload: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Kind {
    ConnectFailed {
        reason: &'static str,
        error: i32,
        syn_retransmits: u32,
        after_seconds: f64,
    },
    Retransmitted {
        kind: &'static str,
        segments: u32,
        consecutive_timeouts: u8,
        /// Those of the segments that repeat what this node dropped.
        dropped_segments: u32,
        /// Why it did; `null` when it dropped none.
        dropped_reason: Option<&'static str>,
    },
    Reset {
        direction: &'static str,
    },
}

impl<'a> From<&'a Snapshot> for Body<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let events = &snapshot.events;
        let event = |event: &'a EdgeEvent| Event::new(event, events.boot_seconds);
        Self { received: events.received, events: events.latest.iter().map(|latest| event(latest)).collect() }
    }
}

impl<'a> Event<'a> {
    fn new(of_edge: &'a EdgeEvent, boot_seconds: f64) -> Self {
        let EdgeEvent { edge, peer, peer_name, event } = of_edge;
        let Edge { reporter, source, destination, port, via, .. } = &**edge;
        // A leg to an own sidecar is one edge for all ports.
        let own = matches!(via, Via::OwnSidecar(_)).then_some(event.flow.service_port);
        Self {
            time: boot_seconds + event.at.as_secs_f64(),
            reporter: match reporter {
                Reporter::Source => "source",
                Reporter::Destination => "destination",
            },
            source: End { namespace: source.namespace(), workload: source.to_string() },
            destination: End {
                namespace: edge.destination_namespace(),
                workload: Workload::to_string(destination),
            },
            port: port.or(own),
            client_port: Some(event.client_port).filter(|port| *port != 0),
            peer: peer.to_string(),
            peer_name: peer_name.as_ref().map(ToString::to_string),
            kind: Kind::from(&event.kind),
        }
    }
}

impl From<&TcpEventKind> for Kind {
    fn from(kind: &TcpEventKind) -> Self {
        match kind {
            TcpEventKind::ConnectFailed { reason, error, syn_retransmits, after } => Self::ConnectFailed {
                reason: reason.label(),
                error: *error,
                syn_retransmits: *syn_retransmits,
                after_seconds: after.as_secs_f64(),
            },
            TcpEventKind::Retransmitted { kind, segments, consecutive_timeouts, dropped } => {
                Self::Retransmitted {
                    kind: kind.label(),
                    segments: *segments,
                    consecutive_timeouts: *consecutive_timeouts,
                    dropped_segments: dropped.map_or(0, |(segments, _)| segments),
                    dropped_reason: dropped.map(|(_, reason)| reason.label()),
                }
            }
            TcpEventKind::Reset { direction } => Self::Reset { direction: direction.label() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use netcause_common::flow::{ConnectFailure, FlowKey};
    use netcause_core::ingest::TcpEvent;

    use super::*;
    use crate::expose::snapshot::EventsView;

    #[test]
    fn an_event_says_when_who_and_what() {
        let edge = Edge { source: Workload::plain("web"), port: Some(80), ..Edge::other(Reporter::Source) };
        let kind = TcpEventKind::ConnectFailed {
            reason: ConnectFailure::TimedOut,
            error: 110,
            syn_retransmits: 2,
            after: Duration::from_secs(3),
        };
        let event =
            TcpEvent { at: Duration::from_millis(1500), flow: FlowKey::default(), client_port: 0, kind };
        let latest = vec![Arc::new(EdgeEvent {
            edge: Arc::new(edge),
            peer: [10, 0, 0, 9].into(),
            peer_name: None,
            event,
        })];
        let events = EventsView { received: 7, boot_seconds: 1_800_000_000.0, latest };
        let snapshot = Snapshot { events, ..Snapshot::default() };
        let text = serde_json::to_string(&Body::from(&snapshot)).unwrap();
        assert_eq!(
            text,
            r#"{"received":7,"events":[{"time":1800000001.5,"reporter":"source","source":{"namespace":"","workload":"web"},"destination":{"namespace":"","workload":"other"},"port":80,"client_port":null,"peer":"10.0.0.9","peer_name":null,"event":"connect_failed","reason":"timed_out","error":110,"syn_retransmits":2,"after_seconds":3.0}]}"#
        );
    }
}
