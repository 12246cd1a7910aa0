//! One kind of windows, as what is new since the judgement before: names, steps, and which subject has which name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::layout::{Laid, Translation};
use crate::aggregate::totals::words_mut;
use crate::aggregate::windows::{Recent, Step, Subject, record};

/// Subjects at most: the windows have 16 384 edges and 4096 that have ended.
const MAX_SUBJECTS: usize = 1 << 20;

/// What is new.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part<N> {
    /// Names, numbered on from those before.
    new: Vec<N>,
    /// How many subjects there are, names or none.
    subjects: u32,
    /// Subjects with another name than before: what each is a part of, and the number of its name.
    named: Vec<(u32, Option<(u32, u32)>)>,
    /// The latest first.
    steps: Vec<StoredStep>,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredStep {
    /// The one at this position before.
    Same(u32),
    New {
        begin: Duration,
        end: Duration,
        entries: Bytes,
    },
}

/// Bytes as MessagePack has them, not as a list of numbers.
#[derive(Debug)]
struct Bytes(Box<[u8]>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Writes parts. Holds every name of the segment: which one it is, is known by where it lies.
#[derive(Debug)]
pub struct PartWriter<N, C> {
    numbers: HashMap<usize, u32>,
    names: Vec<Arc<N>>,
    /// Names that have been written.
    written: usize,
    subjects: Vec<Option<(u32, u32)>>,
    steps: Vec<Arc<Step<C>>>,
}

impl<N, C> Default for PartWriter<N, C> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            names: Vec::new(),
            written: 0,
            subjects: Vec::new(),
            steps: Vec::new(),
        }
    }
}

impl<N: Clone, C: Pod> PartWriter<N, C> {
    /// The number of a name.
    pub fn number(&mut self, name: &Arc<N>) -> u32 {
        *self.numbers.entry(Arc::as_ptr(name).addr()).or_insert_with(|| {
            self.names.push(Arc::clone(name));
            u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// The names that were not written as yet.
    pub fn take_new(&mut self) -> Vec<N> {
        let new = self.names.get(self.written..).unwrap_or_default();
        let new = new.iter().map(|name| N::clone(name)).collect();
        self.written = self.names.len();
        new
    }

    /// What is new, of as many steps as cover the time.
    pub fn write(&mut self, recent: &Recent<N, C>, time: Duration) -> Part<N> {
        let mut named = Vec::new();
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        for (subject, name) in recent.names().iter().enumerate() {
            let name = name.as_ref().map(|(whole, name)| (small(*whole), self.number(name)));
            match self.subjects.get_mut(subject) {
                Some(before) if *before == name => continue,
                Some(before) => *before = name,
                None => self.subjects.push(name),
            }
            named.push((small(subject), name));
        }
        self.subjects.truncate(recent.names().len());
        let latest = recent.steps(time);
        let stored =
            latest.iter().map(|step| match self.steps.iter().position(|before| Arc::ptr_eq(before, step)) {
                Some(position) => StoredStep::Same(small(position)),
                None => StoredStep::New {
                    begin: step.begin,
                    end: step.end,
                    entries: Bytes(step.encoded().into()),
                },
            });
        let steps = stored.collect();
        self.steps = latest.into_iter().cloned().collect();
        Part { new: self.take_new(), subjects: small(recent.names().len()), named, steps }
    }
}

/// Reads parts.
#[derive(Debug)]
pub struct PartReader<N, C> {
    names: Vec<Arc<N>>,
    subjects: Vec<Option<(Subject, Arc<N>)>>,
    steps: Vec<Arc<Step<C>>>,
}

impl<N: Laid, C: Pod> PartReader<N, C> {
    /// The first names are known.
    pub fn new(names: impl Iterator<Item = N>) -> Self {
        Self { names: names.map(Arc::new).collect(), subjects: Vec::new(), steps: Vec::new() }
    }

    /// The name with this number.
    pub fn name(&self, number: u32) -> Option<Arc<N>> {
        self.names.get(usize::try_from(number).ok()?).cloned()
    }

    /// The windows again; `None` where the part names what there is not.
    pub fn read(
        &mut self,
        part: Part<N>,
        translation: Option<&mut Translation>,
        rename: impl FnMut(N) -> N,
    ) -> Option<Recent<N, C>> {
        let Part { new, subjects, named, steps } = part;
        self.names.extend(new.into_iter().map(rename).map(Arc::new));
        let count = usize::try_from(subjects).ok().filter(|count| *count <= MAX_SUBJECTS)?;
        self.subjects.resize(count, None);
        for (subject, name) in named {
            let name = match name {
                Some((whole, number)) => Some((usize::try_from(whole).ok()?, self.name(number)?)),
                None => None,
            };
            *self.subjects.get_mut(usize::try_from(subject).ok()?)? = name;
        }
        let mut translation = translation;
        let read = steps.into_iter().map(|step| match step {
            StoredStep::Same(position) => self.steps.get(usize::try_from(position).ok()?).cloned(),
            StoredStep::New { begin, end, entries } => {
                let step = Step::new(begin, end.max(begin), entries.0);
                Some(Arc::new(match translation.as_deref_mut() {
                    Some(translation) => self.translated(&step, translation),
                    None => step,
                }))
            }
        });
        self.steps = read.collect::<Option<_>>()?;
        Some(Recent::from_parts(self.steps.clone(), self.subjects.clone()))
    }

    /// A step with its words where this version has them.
    fn translated(&self, step: &Step<C>, translation: &mut Translation) -> Step<C> {
        let mut maps: HashMap<&'static str, Vec<Option<usize>>> = HashMap::new();
        for (_, name) in self.subjects.iter().flatten() {
            maps.entry(name.kind()).or_insert_with(|| translation.of(&**name).to_vec());
        }
        step.translated(|subject, bytes| {
            let mut counters = C::zeroed();
            let name = self.subjects.get(subject).and_then(Option::as_ref);
            if let Some(map) = name.and_then(|(_, name)| maps.get(name.kind())) {
                let mut words = vec![0; map.len()];
                record::add_words(bytes, &mut words);
                for (word, place) in words.into_iter().zip(map) {
                    if let Some(now) = place.and_then(|place| words_mut(&mut counters).get_mut(place)) {
                        *now = word;
                    }
                }
            }
            counters
        })
    }
}
