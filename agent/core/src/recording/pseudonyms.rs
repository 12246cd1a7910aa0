//! Other names, the same ones for the same names: a recording that leaves the house.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::aggregate::Edge;
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::places::Place;
use crate::diagnose::finding::{Finding, Pair, Subject};
use crate::diagnose::state::State;
use crate::enrich::Workload;
use crate::enrich::name::Name;
use crate::enrich::uid::PodUid;

/// The longest name that is looked for in texts, in bytes.
const MAX_NAME: usize = 256;
/// Devices that every node has.
const COMMON_DEVICES: [&str; 3] = ["", "lo", "other"];

/// Names, and what stands for them: keyed hashes (`SipHash`). Without the key, which is never written, nobody can tell which name
/// a hash is of by hashing guesses.
#[derive(Debug)]
pub struct Pseudonyms {
    key: RandomState,
    known: HashMap<String, String>,
    addresses: HashSet<IpAddr>,
}

impl Pseudonyms {
    /// By this key.
    #[must_use]
    pub fn new(key: RandomState) -> Self {
        Self { key, known: HashMap::new(), addresses: HashSet::new() }
    }

    /// The names so far.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Stands for a name; no name stays none.
    pub fn word(&mut self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let Self { key, known, .. } = self;
        // 48 bits: two of 10 000 names have one hash once in five million recordings.
        known
            .entry(name.to_owned())
            .or_insert_with(|| format!("x{:012x}", key.hash_one(name) & 0xffff_ffff_ffff))
            .clone()
    }

    /// An edge with other names.
    pub fn edge(&mut self, edge: &Edge) -> Edge {
        Edge {
            source: self.workload(&edge.source),
            destination: self.workload(&edge.destination),
            service: edge.service.as_ref().map(|service| self.name(service)),
            ..edge.clone()
        }
    }

    /// A place with other names.
    pub fn place(&mut self, place: &Place) -> Place {
        match place {
            Place::Listener(workload, port) => Place::Listener(self.workload(workload), *port),
            Place::Device(device) => Place::Device(self.device(device)),
            Place::Qdisc(device, kind) => Place::Qdisc(self.device(device), kind.clone()),
            Place::Protocols(owner) => Place::Protocols(owner.as_ref().map(|owner| self.workload(owner))),
            Place::Conntrack(owner) => Place::Conntrack(owner.as_ref().map(|owner| self.workload(owner))),
            Place::Drops(workload, peer) => Place::Drops(self.workload(workload), self.workload(peer)),
            Place::Search(workload) => Place::Search(self.workload(workload)),
            // Tables of the kernel.
            Place::Softnet
            | Place::Cpu
            | Place::NeighbourTable(_)
            | Place::Neighbours
            | Place::Configuration => place.clone(),
        }
    }

    /// Another node with other names.
    pub fn row(&mut self, row: &Row) -> Row {
        match row {
            Row::Node { name, zone } => {
                Row::Node { name: self.word(name).into(), zone: self.word(zone).into() }
            }
            Row::Unknown | Row::Other => row.clone(),
        }
    }

    /// Gives other names to what a diagnosis remembers. Its texts were made from the old ones: those that are known are replaced in
    /// them. The edges come before it.
    pub(crate) fn state(&mut self, state: &mut State) {
        // Names first, since a text may have those of another finding.
        for finding in state.findings_mut() {
            finding.subject = self.subject(&finding.subject);
        }
        for insufficient in &mut state.insufficient {
            insufficient.subject = self.subject(&insufficient.subject);
        }
        for finding in state.findings_mut() {
            self.finding(finding);
        }
        for insufficient in &mut state.insufficient {
            insufficient.symptom = self.text(&insufficient.symptom);
            insufficient.missing.iter_mut().for_each(|missing| missing.why = self.text(&missing.why));
        }
        state.missing.values_mut().for_each(|why| *why = self.text(why));
    }

    fn finding(&self, finding: &mut Finding) {
        let evidence = finding.evidence.iter_mut().chain(&mut finding.counter_evidence);
        evidence.for_each(|signal| signal.says = self.text(&signal.says));
        finding.missing_evidence.iter_mut().for_each(|missing| missing.why = self.text(&missing.why));
        finding.excluded.iter_mut().for_each(|excluded| excluded.because = self.text(&excluded.because));
        finding.summary = self.text(&finding.summary);
        finding.next_step.text = self.text(&finding.next_step.text);
        finding.next_step.command = self.text(&finding.next_step.command);
    }

    fn subject(&mut self, subject: &Subject) -> Subject {
        match subject {
            Subject::Edge(pair) => Subject::Edge(self.pair(pair)),
            Subject::DnsServer(pair) => Subject::DnsServer(self.pair(pair)),
            Subject::Workload(workload) => Subject::Workload(self.workload(workload)),
            Subject::Listener(workload, port) => Subject::Listener(self.workload(workload), *port),
            Subject::Node => Subject::Node,
            Subject::NodePair(peer) => Subject::NodePair(self.word(peer)),
            Subject::Interface(device) => Subject::Interface(self.device(device)),
        }
    }

    fn pair(&mut self, pair: &Pair) -> Pair {
        let service = match pair.service.split_once('/') {
            Some((namespace, name)) => format!("{}/{}", self.word(namespace), self.word(name)),
            None => self.word(&pair.service),
        };
        Pair {
            source: self.workload(&pair.source),
            destination: self.workload(&pair.destination),
            service,
            port: pair.port,
        }
    }

    fn name(&mut self, name: &Name) -> Name {
        Name::new(&self.word(name.namespace()), &self.word(name.workload()))
    }

    fn device(&mut self, device: &str) -> String {
        if COMMON_DEVICES.contains(&device) { device.to_owned() } else { self.word(device) }
    }

    fn workload(&mut self, workload: &Workload) -> Workload {
        match workload {
            Workload::Named(name) => Workload::Named(self.name(name)),
            Workload::Pod(uid) => {
                let other = PodUid::from_hash(self.key.hash_one(uid), self.key.hash_one((uid, 1)));
                self.known.insert(uid.to_string(), other.to_string());
                Workload::Pod(other)
            }
            Workload::Address(address) => Workload::Address(self.address(*address)),
            // Numbers that the kernel gave, and no names.
            Workload::Namespace(_)
            | Workload::Cgroup(_)
            | Workload::Backend
            | Workload::Several
            | Workload::External
            | Workload::Any
            | Workload::Unknown
            | Workload::Other => workload.clone(),
        }
    }

    /// An address of the same version that nobody has: of 240.0.0.0/4 (RFC 1112 section 4) or 100::/64 (RFC 6666).
    fn address(&mut self, address: IpAddr) -> IpAddr {
        let text = address.to_string();
        if let Some(other) = self.known.get(&text).and_then(|other| other.parse().ok()) {
            return other;
        }
        let mut attempt = 0_u64;
        let other = loop {
            let hash = self.key.hash_one((address, attempt));
            let other = match address {
                IpAddr::V4(_) => {
                    let low = u32::try_from(hash & 0x0fff_ffff).unwrap_or_default();
                    IpAddr::V4(Ipv4Addr::from_bits(0xf000_0000 | low))
                }
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(0x0100 << 112 | u128::from(hash))),
            };
            // Windows never have so many that there is none left.
            if self.addresses.insert(other) || attempt == 64 {
                break other;
            }
            attempt += 1;
        };
        self.known.insert(text, other.to_string());
        other
    }

    /// A text with the other names: what is known, as a whole word, and the longest first.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let is_inside = |char: char| char.is_alphanumeric() || char == '-' || char == '_';
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(next) = rest.chars().next() {
            let starts = !before.is_some_and(is_inside);
            let known = starts.then(|| self.longest(rest, is_inside)).flatten();
            let (length, with) = known.unwrap_or((next.len_utf8(), &rest[..next.len_utf8()]));
            replaced.push_str(with);
            before = rest[..length].chars().next_back();
            rest = &rest[length..];
        }
        replaced
    }

    /// The longest name that the text begins with, and what stands for it.
    fn longest<'a>(&'a self, text: &str, is_inside: impl Fn(char) -> bool) -> Option<(usize, &'a str)> {
        let mut ends: Vec<usize> = text
            .char_indices()
            .take_while(|(at, _)| *at < MAX_NAME)
            .filter(|(at, char)| *at > 0 && !is_inside(*char))
            .map(|(at, _)| at)
            .collect();
        if text.len() <= MAX_NAME {
            ends.push(text.len());
        }
        ends.into_iter().rev().find_map(|end| Some((end, self.known.get(&text[..end])?.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_texts_are_replaced_as_whole_words_and_the_longest_first() {
        let mut names = Pseudonyms::new(RandomState::new());
        let [shop, web, web_v2, address] =
            ["shop", "web", "web-v2", "db.shop.example"].map(|name| names.word(name));
        let other = names.address([10, 0, 0, 9].into());
        assert_eq!(
            names.text("shop.web → web-v2:8080: webs wait, web waits; 10.0.0.9, 10.0.0.91 db.shop.example"),
            format!("{shop}.{web} → {web_v2}:8080: webs wait, {web} waits; {other}, 10.0.0.91 {address}")
        );
        assert_eq!(names.word("web"), web);
        assert_eq!(names.address([10, 0, 0, 9].into()), other);
        assert_ne!(Pseudonyms::new(RandomState::new()).word("web"), web);
    }
}
