//! What diagnosis remembers, as plain data: a recording begins with it, so that a replay goes on from the same past.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Diagnosis;
use super::cause::Family;
use super::finding::{Dated, Finding, Insufficient, Watched};
use super::past::{Past, Pasts};
use super::tracker::{Current, Tracker};
use crate::aggregate::Edge;
use crate::enrich::objects::Seconds;

/// Words of other versions that are kept, and the length of one. Those of this version are a few dozen.
const MAX_WORDS: usize = 4096;
const MAX_WORD: usize = 128;

/// A [`Diagnosis`], with numbers in the place of edges: which edge it is matters, not only its name. How often each cause was
/// found since the start is left out, because no judgement depends on it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    families: Vec<Family>,
    #[serde(default)]
    sidecar_ports: Vec<u16>,
    pasts: Vec<(u32, Past)>,
    current: Vec<StoredCurrent>,
    ended: Vec<StoredEnded>,
    pub insufficient: Vec<Insufficient>,
    watched: Watched,
    pub missing: BTreeMap<String, String>,
    began: Option<Duration>,
    judged: Option<Seconds>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFinding {
    finding: Finding,
    affected: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredCurrent {
    finding: StoredFinding,
    began: (Duration, Seconds),
    last: (Duration, Seconds),
    judgements: u32,
    is_active: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredEnded {
    at: Duration,
    finding: StoredFinding,
    since: Seconds,
    until: Option<Seconds>,
}

impl State {
    /// Of a diagnosis; `number` gives each edge its number.
    pub fn of(diagnosis: &Diagnosis, mut number: impl FnMut(&Arc<Edge>) -> u32) -> Self {
        let Diagnosis {
            families,
            sidecar_ports,
            pasts,
            tracker,
            insufficient,
            watched,
            missing,
            began,
            judged,
        } = diagnosis;
        let mut pasts: Vec<_> = pasts.all().map(|(edge, past)| (number(edge), *past)).collect();
        pasts.sort_unstable_by_key(|(edge, _)| *edge);
        let mut stored = |finding: &Finding| StoredFinding {
            affected: finding.affected.iter().map(&mut number).collect(),
            finding: finding.clone(),
        };
        let current = tracker.current.values().map(|current| StoredCurrent {
            finding: stored(&current.finding),
            began: current.began,
            last: current.last,
            judgements: current.judgements,
            is_active: current.is_active,
        });
        let current = current.collect();
        let ended = tracker.ended.iter().map(|(at, Dated { finding, since, until })| StoredEnded {
            at: *at,
            finding: stored(finding),
            since: *since,
            until: *until,
        });
        Self {
            families: families.clone(),
            sidecar_ports: sidecar_ports.clone(),
            pasts,
            current,
            ended: ended.collect(),
            insufficient: insufficient.clone(),
            watched: *watched,
            missing: missing.iter().map(|(signal, why)| ((*signal).to_owned(), why.clone())).collect(),
            began: *began,
            judged: *judged,
        }
    }

    /// The diagnosis again; `None` where `edge` does not know a number.
    pub fn restore(self, edge: impl Fn(u32) -> Option<Arc<Edge>>) -> Option<Diagnosis> {
        let Self {
            families,
            sidecar_ports,
            pasts,
            current,
            ended,
            insufficient,
            watched,
            missing,
            began,
            judged,
        } = self;
        let pasts: Option<Vec<_>> =
            pasts.into_iter().map(|(number, past)| Some((edge(number)?, past))).collect();
        let finding = |stored: StoredFinding| -> Option<Arc<Finding>> {
            let affected = stored.affected.into_iter().map(&edge).collect::<Option<Vec<_>>>()?;
            Some(Arc::new(Finding { affected, ..stored.finding }))
        };
        let current = current.into_iter().map(|stored| {
            let StoredCurrent { finding: of, began, last, judgements, is_active } = stored;
            let finding = finding(of)?;
            Some((finding.id(), Current { finding, began, last, judgements, is_active }))
        });
        let current = current.collect::<Option<_>>()?;
        let ended = ended.into_iter().map(|StoredEnded { at, finding: of, since, until }| {
            Some((at, Dated { finding: finding(of)?, since, until }))
        });
        let ended = ended.collect::<Option<_>>()?;
        Some(Diagnosis {
            families,
            sidecar_ports,
            pasts: Pasts::of_all(pasts?.into_iter()),
            tracker: Tracker { current, ended, ..Tracker::default() },
            insufficient,
            watched,
            missing: missing
                .into_iter()
                .map(|(signal, why)| Some((known(&signal)?, why)))
                .collect::<Option<_>>()?,
            began,
            judged,
        })
    }

    /// The findings, to give them other names.
    pub fn findings_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        let current = self.current.iter_mut().map(|current| &mut current.finding.finding);
        current.chain(self.ended.iter_mut().map(|ended| &mut ended.finding.finding))
    }
}

/// A word that lives as long as the program, as those have that findings are made of; `None` where it is too long, or there are
/// too many.
pub(crate) fn known(text: &str) -> Option<&'static str> {
    static WORDS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let words = words.get_or_insert_default();
    if let Some(word) = words.get(text) {
        return Some(word);
    }
    if words.len() >= MAX_WORDS || text.len() > MAX_WORD {
        return None;
    }
    let word: &'static str = Box::leak(text.into());
    words.insert(word);
    Some(word)
}

/// Reads a word of a finding.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let text = String::deserialize(deserializer)?;
    known(&text).ok_or_else(|| serde::de::Error::custom("too many words, or one that is too long"))
}

/// Enums that are written as their labels: a label stays when numbers move.
macro_rules! by_label {
    ($($name:ident),+) => {
        $(
            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.label())
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let label = <String as serde::Deserialize>::deserialize(deserializer)?;
                    let known = Self::ALL.into_iter().find(|known| known.label() == label);
                    known.ok_or_else(|| {
                        serde::de::Error::custom(format!("{} {label} is not known", stringify!($name)))
                    })
                }
            }
        )+
    };
}
pub(super) use by_label;
