//! Windows are made at random, judged, recorded and replayed.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::{RetransmitKind, TcpCounters};
use proptest::prelude::*;

use super::*;
use crate::aggregate::model::{Counting, EdgeWindows};
use crate::aggregate::peer_nodes::PeerNodeWindows;
use crate::aggregate::places::{Found, Readings};
use crate::aggregate::turn::On;
use crate::aggregate::{Reporter, Via};
use crate::diagnose::cause::Family;
use crate::enrich::Workload;
use crate::enrich::name::Name;

const WALL: Seconds = 1_795_946_400;

/// What happens between two windows.
#[derive(Clone, Debug)]
enum Happening {
    /// An edge counts: segments, of which so many are sent again, failed connects, time that it waits for the peer.
    Count(usize, u64, u64, u64, u64),
    Rename(usize, usize),
    End(usize),
    Merge(usize, usize),
    Drop(u64),
    Missing(bool),
    /// The window ends after so many seconds.
    Window(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let id = || 0..6_usize;
    prop_oneof![
        8 => (id(), 100..5000_u64, 0..200_u64, 0..20_u64, 0..9_000_000_u64).prop_map(|(id, sent, again, failed, waited)|
            Happening::Count(id, sent, again, failed, waited)),
        1 => (id(), 10..14_usize).prop_map(|(id, name)| Happening::Rename(id, name)),
        1 => id().prop_map(Happening::End),
        1 => (id(), id()).prop_map(|(from, into)| Happening::Merge(from, into)),
        1 => (1..100_u64).prop_map(Happening::Drop),
        1 => any::<bool>().prop_map(Happening::Missing),
        5 => (5..20_u64).prop_map(Happening::Window),
    ]
}

/// A node, whose diagnosis is recorded from some window on.
struct Node {
    names: Vec<Arc<Edge>>,
    edges: EdgeWindows,
    listeners: Readings<u32>,
    node: Readings<Place>,
    peer_nodes: PeerNodeWindows,
    discards: u64,
    diagnosis: Diagnosis,
    missing: Option<HashMap<&'static str, String>>,
    now: u64,
}

fn edge(number: usize) -> Arc<Edge> {
    let named =
        |namespace: &str, kind: &str| Workload::Named(Name::new(namespace, &format!("{kind}{number}")));
    Arc::new(Edge {
        reporter: if number.is_multiple_of(3) { Reporter::Destination } else { Reporter::Source },
        source: named("shop", "client-"),
        destination: if number == 4 {
            Workload::Address([10, 0, 0, 9].into())
        } else {
            named("bank", "server-")
        },
        service: number.is_multiple_of(2).then(|| Name::new("bank", "pay")),
        port: Some(8080),
        via: Via::Direct,
    })
}

impl Node {
    fn new() -> Self {
        let mut node = Self {
            names: (0..6).map(edge).collect(),
            edges: EdgeWindows::new(1 << 20),
            listeners: Readings::new(1 << 16),
            node: Readings::new(1 << 16),
            peer_nodes: PeerNodeWindows::new(1 << 16),
            discards: 0,
            diagnosis: Diagnosis::new(Family::ALL.map(|(_, family)| family).to_vec()),
            missing: None,
            now: 100,
        };
        node.edges.end_reading(Duration::from_secs(node.now));
        node.peer_nodes.end_reading(Duration::from_secs(node.now));
        node
    }

    /// Does what happens; what was judged at the end of a window.
    fn does(&mut self, happening: &Happening) -> Option<Judged> {
        match happening {
            Happening::Count(id, sent, again, failed, waited) => {
                let mut tcp = TcpCounters { opened: 3, sent_segments: *sent, ..TcpCounters::ZERO };
                tcp.received_segments = *sent;
                tcp.retransmitted_segments[RetransmitKind::Fast as usize] = *again;
                tcp.connect_failures[0] = *failed;
                let mut totals = Totals { tcp, ..Totals::ZERO };
                totals.waits.waited_us[On::PeerApplication as usize] = *waited;
                totals.waits.responses.buckets[9] = 2;
                totals.waits.responses.sum = 2 * waited / 1000;
                self.edges.count(Counting::Edge(*id), &self.names[*id], &totals);
                let name = format!("node-of-bank-{}", id % 2).into();
                let row = Arc::new(Row::Node { name, zone: "zone-of-bank".into() });
                self.peer_nodes.count(Arc::clone(&row), &row, &tcp);
            }
            Happening::Rename(id, to) => {
                self.names[*id] = edge(*to);
                self.edges.renamed(&Counting::Edge(*id), &self.names[*id]);
            }
            Happening::End(id) => {
                self.edges.ended(&Counting::Edge(*id));
                self.names[*id] = edge(id + 20);
            }
            Happening::Merge(from, into) if from != into => {
                self.edges.merged(&Counting::Edge(*from), Counting::Edge(*into), &self.names[*into]);
                self.names[*from] = edge(from + 30);
            }
            Happening::Merge(..) => {}
            Happening::Drop(count) => self.discards += count,
            Happening::Missing(is) => {
                let missing: HashMap<_, _> =
                    is.then(|| ("packet_drops", "no reasons here".to_owned())).into_iter().collect();
                self.diagnosis.set_missing(missing.clone());
                self.missing = Some(missing);
            }
            Happening::Window(seconds) => return Some(self.window(*seconds)),
        }
        None
    }

    fn window(&mut self, seconds: u64) -> Judged {
        self.now += seconds;
        let now = Duration::from_secs(self.now);
        let place = Place::Listener(Workload::Named(Name::new("bank", "server-0")), Some(8080));
        let totals = [self.discards, 0, self.discards, 0, 0];
        self.listeners.read([Found { id: 1, place, totals: &totals, levels: &[self.discards % 7, 10] }]);
        let device = Place::Device("bond0.bank".to_owned());
        self.node.read([Found {
            id: device.clone(),
            place: device,
            totals: &[self.discards; 4],
            levels: &[1],
        }]);
        self.listeners.end_reading(now);
        self.node.end_reading(now);
        self.edges.end_reading(now);
        self.peer_nodes.end_reading(now);
        let judged = Judged {
            edges: self.edges.recent(),
            listeners: self.listeners.recent(),
            node: self.node.recent(),
            peer_nodes: self.peer_nodes.recent(),
            now,
            wall: WALL + self.now,
            missing: self.missing.take(),
        };
        self.diagnosis.judge(&judged.windows());
        judged
    }
}

/// Everything that is said after a judgement, in words.
fn said(diagnosis: &Diagnosis) -> String {
    let missing: BTreeMap<_, _> = diagnosis.missing().iter().collect();
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{missing:?}",
        diagnosis.findings(),
        diagnosis.insufficient(),
        diagnosis.watched(),
        diagnosis.judged(),
    )
}

fn origin() -> Origin {
    Origin { agent: "0.1.0".to_owned(), node: "node-17".to_owned() }
}

/// Plays, and records from the given window on: the bytes, and what was said after each window from there.
fn recorded(happenings: &[Happening], from: usize) -> (Vec<u8>, Vec<String>) {
    let mut node = Node::new();
    let (mut writer, mut bytes, mut sayings, mut windows) = (None::<Writer>, Vec::new(), Vec::new(), 0);
    for happening in happenings {
        let Some(judged) = node.does(happening) else { continue };
        match &mut writer {
            Some(writer) => {
                bytes.extend(writer.window(&judged));
                sayings.push(said(&node.diagnosis));
            }
            None if windows >= from => {
                let (begun, first) = Writer::begin(&origin(), &node.diagnosis, judged.wall);
                (writer, bytes) = (Some(begun), first);
                sayings.push(said(&node.diagnosis));
            }
            None => {}
        }
        windows += 1;
    }
    (bytes, sayings)
}

/// What a replay says after each window that can be read.
fn replayed(bytes: &[u8]) -> Result<(Vec<String>, bool), Error> {
    let mut replay = Replay::begin(bytes, None)?;
    let mut sayings = vec![said(&replay.diagnosis)];
    while let Some(judged) = replay.next(None)? {
        replay.judge(&judged);
        sayings.push(said(&replay.diagnosis));
    }
    Ok((sayings, replay.is_torn))
}

/// Three minutes in which something goes wrong.
fn story() -> Vec<Happening> {
    let mut story = Vec::new();
    for window in 0..36 {
        let again = if window > 12 { 60 } else { 0 };
        story.extend((0..5).map(|id| Happening::Count(id, 1000, if id < 2 { again } else { 0 }, 0, 1000)));
        if window == 20 {
            story.extend([
                Happening::Rename(3, 11),
                Happening::End(4),
                Happening::Missing(true),
                Happening::Drop(7),
            ]);
        }
        story.push(Happening::Window(5));
    }
    story
}

#[test]
fn a_story_is_found_again_from_each_of_its_windows_on() {
    for from in 0..36 {
        let (bytes, sayings) = recorded(&story(), from);
        assert_eq!(sayings.len(), 36 - from);
        assert_eq!(replayed(&bytes).unwrap(), (sayings.clone(), false));
        assert!(sayings.last().unwrap().contains("PathLoss"), "{sayings:?}");
    }
}

#[test]
fn each_error_says_what_is_wrong() {
    let (bytes, _) = recorded(&story(), 30);
    assert_eq!(replayed(b"{}").unwrap_err(), Error::NotARecording);
    assert_eq!(replayed(b"").unwrap_err(), Error::NotARecording);
    let later = [b"netcause recording 7\n", &bytes[21..]].concat();
    assert_eq!(replayed(&later).unwrap_err(), Error::Version { found: 7 });
    assert_eq!(replayed(&bytes[..40]).unwrap_err(), Error::Torn);
    let mut unknown = b"netcause recording 1\n".to_vec();
    frame::append(&mut unknown, &"something");
    assert!(matches!(replayed(&unknown).unwrap_err(), Error::Unknown(_)));
}

#[test]
fn other_names_are_the_only_difference() {
    let (bytes, sayings) = recorded(&story(), 20);
    let mut names = Pseudonyms::new(RandomState::new());
    let mut replay = Replay::begin(&bytes, Some(&mut names)).unwrap();
    let (mut writer, mut other) = Writer::begin(&replay.origin, &replay.diagnosis, replay.wall);
    while let Some(judged) = replay.next(Some(&mut names)).unwrap() {
        other.extend(writer.window(&judged));
        replay.judge(&judged);
    }
    let (others, _) = replayed(&other).unwrap();
    assert_eq!(others.len(), sayings.len());
    for (one, other) in sayings.iter().zip(&others) {
        // Findings that are equally sure and began together come in the order of their names.
        assert_eq!(sorted(&names.text(one)), sorted(other));
        for name in ["shop", "bank", "client-", "server-", "10.0.0.9", "node-17"] {
            assert!(!other.contains(name), "{name}: {other}");
        }
    }
    assert_ne!(sayings, others);
    // Nor are they in what is not said.
    let mut rest = &other[21..];
    while !rest.is_empty() {
        let plain = frame::plain(&mut rest).unwrap();
        let text = String::from_utf8_lossy(&plain);
        for name in ["shop", "bank", "client-", "server-", "10.0.0.9", "node-17"] {
            assert!(!text.contains(name), "{name}: {text}");
        }
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split([' ', '[', ']']).collect();
    words.sort_unstable();
    words
}

#[test]
fn counters_of_another_version_are_found_by_their_names() {
    let mut node = Node::new();
    node.does(&Happening::Count(1, 1000, 0, 0, 0));
    let judged = node.window(5);
    let (mut writer, _) = Writer::begin(&origin(), &Diagnosis::default(), judged.wall);
    let window = writer.window(&judged);
    let mut layout = Layout::current();
    layout.swap_for_test();
    let begin = Begin {
        origin: origin(),
        layout,
        wall: judged.wall,
        edges: Vec::new(),
        state: State::of(&Diagnosis::default(), |_| 0),
    };
    let mut bytes = b"netcause recording 1\n".to_vec();
    frame::append(&mut bytes, &begin);
    bytes.extend(window);
    let mut replay = Replay::begin(&bytes, None).unwrap();
    let read = replay.next(None).unwrap().unwrap();
    let mut seen = Vec::new();
    read.edges.each(LATELY, |edge, totals| seen.push((Edge::clone(edge), *totals)));
    // `opened` and `sent_segments` have changed places.
    let (_, totals) = &seen[0];
    assert_eq!((totals.tcp.opened, totals.tcp.sent_segments, totals.tcp.received_segments), (1000, 3, 1000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever happens, a replay says the same after each window.
    #[test]
    fn a_replay_says_the_same(happenings in prop::collection::vec(happening(), 20..250), from in 0..6_usize) {
        let (bytes, sayings) = recorded(&happenings, from);
        if bytes.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(replayed(&bytes).unwrap(), (sayings, false));
    }

    /// A file that is cut short has fewer windows, and those are the same.
    #[test]
    fn what_is_cut_short_has_fewer_windows(keep in any::<prop::sample::Index>()) {
        let (bytes, sayings) = recorded(&story(), 24);
        match replayed(&bytes[..keep.index(bytes.len())]) {
            Ok((some, _)) => prop_assert_eq!(&some[..], &sayings[..some.len()]),
            Err(error) => prop_assert!(matches!(error, Error::NotARecording | Error::Torn), "{}", error),
        }
    }

    /// A byte that was changed gives an error, or windows that were before it.
    #[test]
    fn a_flipped_byte_is_no_other_finding(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let (mut bytes, sayings) = recorded(&story(), 24);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok((some, is_torn)) = replayed(&bytes) {
            prop_assert!(is_torn && some.len() < sayings.len());
            prop_assert_eq!(&some[..], &sayings[..some.len()]);
        }
    }

    /// Frames with a right checksum and anything in them are refused.
    #[test]
    fn any_bytes_are_read_without_a_panic(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let (bytes, _) = recorded(&story(), 34);
        let mut odd = bytes;
        frame::append(&mut odd, &content);
        let _ = replayed(&odd);
    }
}
