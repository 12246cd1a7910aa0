//! The names of counters: a recording of another version has others, or has them in other places.

use std::collections::{BTreeMap, HashMap};

use netcause_common::dns::{QueryType, ResponseCode};
use netcause_common::drops::DropCause;
use netcause_common::flow::{
    CloseReason, ConnectFailure, IcmpError, LimitedBy, ResetDirection, ResetReason, RetransmitKind,
    TcpCounters, Timeouts,
};
use serde::{Deserialize, Serialize};

use crate::aggregate::Edge;
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::places::{COUNTERS, LEVELS, Place};
use crate::aggregate::totals::{Totals, words_mut};
use crate::aggregate::turn::On;
use crate::enrich::Workload;

/// Arrays of [`Totals`] by enums: their labels stay when numbers move.
const ARRAYS: [(&str, &[&str]); 14] = [
    ("tcp.closed", CloseReason::LABELS),
    ("tcp.limited_ticks", LimitedBy::LABELS),
    ("tcp.connect_failures", ConnectFailure::LABELS),
    ("tcp.retransmitted_segments", RetransmitKind::LABELS),
    ("tcp.timeouts", Timeouts::LABELS),
    ("tcp.retransmitted_after_drop", DropCause::LABELS),
    ("tcp.resets", ResetDirection::LABELS),
    ("tcp.resets_sent", ResetReason::LABELS),
    ("udp.icmp_errors", IcmpError::LABELS),
    ("dns.queries", QueryType::LABELS),
    ("dns.responses", ResponseCode::LABELS),
    ("waits.waited_us", On::LABELS),
    ("waits.waiting", On::LABELS),
    ("waits.used", &["without_retransmissions", "with"]),
];

/// Names of words, in their order; without a name where nothing is counted.
type Names = Vec<String>;

/// What each word of the counters is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layout {
    edges: Names,
    /// What is counted of other nodes: TCP alone.
    peer_nodes: Names,
    /// By the kind of the place.
    places: BTreeMap<String, Names>,
}

impl Laid for Row {
    fn kind(&self) -> &'static str {
        "peer_node"
    }

    fn names<'a>(&self, layout: &'a Layout) -> Option<&'a Names> {
        Some(&layout.peer_nodes)
    }
}

/// Something whose counters have a layout.
pub trait Laid {
    /// The part that the layout is of: places of different kinds count different things.
    fn kind(&self) -> &'static str;
    /// The names of its words.
    fn names<'a>(&self, layout: &'a Layout) -> Option<&'a Names>;
}

impl Laid for Edge {
    fn kind(&self) -> &'static str {
        "edge"
    }

    fn names<'a>(&self, layout: &'a Layout) -> Option<&'a Names> {
        Some(&layout.edges)
    }
}

impl Laid for Place {
    fn kind(&self) -> &'static str {
        Self::kind(self)
    }

    fn names<'a>(&self, layout: &'a Layout) -> Option<&'a Names> {
        layout.places.get(self.kind())
    }
}

impl Layout {
    /// That of this version.
    pub fn current() -> Self {
        let places = kinds().map(|place| (place.kind().to_owned(), words_of(&place))).into();
        let edges = words_of_totals();
        // They come first in the totals of an edge.
        let peer_nodes = edges.iter().take(size_of::<TcpCounters>() / size_of::<u64>()).cloned().collect();
        Self { edges, peer_nodes, places }
    }

    /// One in which `opened` and `sent_segments` of TCP have changed places.
    #[cfg(test)]
    pub fn swap_for_test(&mut self) {
        let place = |name: &str| self.edges.iter().position(|known| known == name).unwrap();
        let (one, other) = (place("tcp.opened"), place("tcp.sent_segments"));
        self.edges.swap(one, other);
    }
}

/// From the words of a recording to those of this version.
#[derive(Debug)]
pub struct Translation {
    from: Layout,
    to: Layout,
    /// By kind: where each word of the recording is now.
    known: HashMap<&'static str, Vec<Option<usize>>>,
}

impl Translation {
    /// `None` where nothing is to be translated.
    pub fn from(layout: Layout) -> Option<Self> {
        let to = Layout::current();
        (layout != to).then(|| Self { from: layout, to, known: HashMap::new() })
    }

    /// Where each word of this one's counters is in this version; `None` where this version has none of it.
    pub fn of(&mut self, name: &impl Laid) -> &[Option<usize>] {
        let Self { from, to, known } = self;
        known.entry(name.kind()).or_insert_with(|| {
            let (Some(from), Some(to)) = (name.names(from), name.names(to)) else { return Vec::new() };
            let places: HashMap<&String, usize> =
                to.iter().zip(0..).filter(|(name, _)| !name.is_empty()).collect();
            from.iter().map(|name| places.get(name).copied()).collect()
        })
    }
}

/// One place of each kind.
fn kinds() -> [Place; 12] {
    [
        Place::Listener(Workload::Other, None),
        Place::Device(String::new()),
        Place::Qdisc(String::new(), String::new()),
        Place::Softnet,
        Place::Cpu,
        Place::Protocols(None),
        Place::Conntrack(None),
        Place::NeighbourTable(String::new()),
        Place::Neighbours,
        Place::Configuration,
        Place::Drops(Workload::Other, Workload::Other),
        Place::Search(Workload::Other),
    ]
}

fn words_of(place: &Place) -> Names {
    let padded = |names: &'static [&'static str], length: usize| {
        names.iter().copied().chain(std::iter::repeat("")).take(length).map(str::to_owned)
    };
    padded(place.counters(), COUNTERS)
        .chain(padded(place.levels(), LEVELS))
        .chain(["readings".to_owned()])
        .collect()
}

/// The names of the words of [`Totals`], as `Debug` has them: fields and positions, in the order of the declaration, which is that
/// in memory.
fn words_of_totals() -> Names {
    let mut totals = Totals::ZERO;
    words_mut(&mut totals).iter_mut().zip(1..).for_each(|(word, number)| *word = number);
    let text = format!("{totals:?}");
    let (mut path, mut names) = (Vec::<Step>::new(), Names::new());
    for token in text.split_inclusive([' ', ',', '[', ']', '{', '}']) {
        let (word, end) = token.split_at(token.len().saturating_sub(1));
        if let Some(field) = word.strip_suffix(':') {
            path.push(Step::Field(field.to_owned()));
        } else if word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty() {
            names.push(name(&path));
        }
        match (end, path.last_mut()) {
            ("[", _) => path.push(Step::Index(0)),
            (",", Some(Step::Index(index))) => *index += 1,
            // The end of an array, of a field, and of the last field.
            ("]", Some(Step::Index(_))) | ("," | "}", Some(Step::Field(_))) => {
                path.pop();
            }
            _ => {}
        }
    }
    names
}

/// A part of the way to a word.
#[derive(Debug)]
enum Step {
    Field(String),
    Index(usize),
}

fn name(path: &[Step]) -> String {
    let fields: Vec<&str> = path
        .iter()
        .filter_map(|step| match step {
            Step::Field(field) => Some(field.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    let array = fields.join(".");
    match path.last() {
        Some(Step::Index(index)) => {
            let labels = ARRAYS.iter().find(|(name, _)| *name == array).map(|(_, labels)| *labels);
            match labels.and_then(|labels| labels.get(*index)) {
                Some(label) => format!("{array}.{label}"),
                None => format!("{array}.{index}"),
            }
        }
        _ => array,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_name_of_its_own() {
        let mut names = words_of_totals();
        assert_eq!(names.len(), size_of::<Totals>() / 8);
        for expected in [
            "tcp.opened",
            "tcp.closed.reset_sent",
            "tcp.retransmitted_after_drop.policy",
            "tcp.rtt.buckets.3",
            "tcp.min_rtt.sum",
            "udp.icmp_errors.prohibited",
            "dns.responses.NXDOMAIN",
            "dns.udp.received_bytes",
            "waits.waited_us.network",
            "waits.queueing.sum",
        ] {
            assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
        }
        // A new array by an enum belongs into `ARRAYS`.
        let positions = names.iter().filter(|name| {
            name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let odd: Vec<_> =
            positions.filter(|name| !name.contains(".buckets.") && !name.contains("timeouts")).collect();
        assert_eq!(odd, Vec::<&String>::new());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), size_of::<Totals>() / 8);
    }

    #[test]
    fn words_of_another_version_find_their_places() {
        let current = Layout::current();
        assert!(Translation::from(current.clone()).is_none());
        let mut other = current;
        other.edges.swap(0, 3);
        "tcp.of_the_future".clone_into(&mut other.edges[1]);
        let edge = Edge::other(crate::aggregate::Reporter::Source);
        let mut translation = Translation::from(other).unwrap();
        assert_eq!(translation.of(&edge)[..5], [Some(3), None, Some(2), Some(0), Some(4)]);
        assert_eq!(translation.of(&Place::Cpu)[..2], [Some(0), None]);
        assert_eq!(translation.of(&Place::Cpu)[COUNTERS + LEVELS], Some(COUNTERS + LEVELS));
    }
}
