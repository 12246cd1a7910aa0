//! Recordings: all that the diagnosis is given, as bytes, and the same diagnosis from them, on another machine.
//!
//! A recording is made of segments. A segment begins with what the diagnosis remembers ([`Diagnosis`] as it is after one
//! judgement); behind that comes what each further judgement was given ([`Judged`]). So each segment is whole by itself, and a replay
//! of it does what the agent did: the same windows in the same order, judged from the same past.
//!
//! A segment is a line with the version of the format, and frames ([`frame`]), each compressed and with a checksum. What comes
//! after a frame that is cut short or damaged is not read, since it builds on it. Frames are MessagePack with the names of fields, and
//! counters have their names in the first one ([`layout`]), so that other versions can read it: what they do not know is left out, and
//! what they have besides is zero.

mod frame;
mod layout;
mod part;
mod pseudonyms;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use netcause_common::flow::TcpCounters;
use serde::{Deserialize, Serialize};

use crate::aggregate::Edge;
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::places::{Counted, Place};
use crate::aggregate::totals::Totals;
use crate::diagnose::state::State;
use crate::diagnose::{Diagnosis, Judged, LATELY};
use crate::enrich::objects::Seconds;
use layout::Layout;
use part::{Part, PartWriter};

pub use pseudonyms::Pseudonyms;
pub use replay::{Error, Replay};

/// The version of the format. Another one is needed only where a field or a counter has another meaning.
pub const VERSION: u32 = 1;
/// The line that a segment begins with, before the version.
const TITLE: &str = "netcause recording ";

/// Where a segment comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The version of the agent that recorded.
    pub agent: String,
    /// The name of its node.
    pub node: String,
}

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
struct Begin {
    origin: Origin,
    layout: Layout,
    /// When the judgement ended that the segment begins after, seconds since 1970.
    wall: Seconds,
    /// The edges that the state names, by number.
    edges: Vec<Edge>,
    state: State,
}

/// Each further frame.
#[derive(Debug, Serialize, Deserialize)]
struct Window {
    now: Duration,
    wall: Seconds,
    #[serde(default)]
    missing: Option<BTreeMap<String, String>>,
    edges: Part<Edge>,
    listeners: Part<Place>,
    node: Part<Place>,
    peer_nodes: Part<Row>,
}

/// Writes a segment.
#[derive(Debug)]
pub struct Writer {
    edges: PartWriter<Edge, Totals>,
    listeners: PartWriter<Place, Counted>,
    node: PartWriter<Place, Counted>,
    peer_nodes: PartWriter<Row, TcpCounters>,
}

impl Writer {
    /// Begins a segment after a judgement that ended at `wall`; the bytes that it begins with.
    #[must_use]
    pub fn begin(origin: &Origin, diagnosis: &Diagnosis, wall: Seconds) -> (Self, Vec<u8>) {
        let mut edges = PartWriter::default();
        let state = State::of(diagnosis, |edge| edges.number(edge));
        let begin =
            Begin { origin: origin.clone(), layout: Layout::current(), wall, edges: edges.take_new(), state };
        let mut bytes = format!("{TITLE}{VERSION}\n").into_bytes();
        frame::append(&mut bytes, &begin);
        let writer = Self {
            edges,
            listeners: PartWriter::default(),
            node: PartWriter::default(),
            peer_nodes: PartWriter::default(),
        };
        (writer, bytes)
    }

    /// What the next judgement is given, to be appended.
    #[must_use]
    pub fn window(&mut self, judged: &Judged) -> Vec<u8> {
        let Judged { edges, listeners, node, peer_nodes, now, wall, missing } = judged;
        let missing = missing
            .as_ref()
            .map(|missing| missing.iter().map(|(signal, why)| ((*signal).to_owned(), why.clone())).collect());
        let window = Window {
            now: *now,
            wall: *wall,
            missing,
            edges: self.edges.write(edges, LATELY),
            listeners: self.listeners.write(listeners, LATELY),
            node: self.node.write(node, LATELY),
            peer_nodes: self.peer_nodes.write(peer_nodes, LATELY),
        };
        let mut bytes = Vec::new();
        frame::append(&mut bytes, &window);
        bytes
    }
}
