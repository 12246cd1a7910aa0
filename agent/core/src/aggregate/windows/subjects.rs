//! Who counted: numbers of subjects for as long as a step has them, and their names.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use slab::Slab;

use super::Name;

/// The number of a subject in steps.
pub type Subject = usize;

/// Subjects that have ended and keep their name while steps have them; further ones are counted under [`Name::other`].
const MAX_ENDED: usize = 4096;
/// So many that have ended and are in no step wait for each other before they are forgotten.
const FORGOTTEN_AT_ONCE: usize = 64;

/// All subjects.
#[derive(Debug)]
pub struct Subjects<Id, N> {
    known: Slab<Known<N>>,
    of: HashMap<Id, Subject>,
    /// Those of [`Name::other`]: one for each such name, two at most of edges.
    others: Vec<Subject>,
    ended: usize,
    folded: u64,
}

#[derive(Debug)]
struct Known<N> {
    name: Arc<N>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It counts.
    Lives,
    /// It counts no more.
    Ended,
    /// It is a part of another one.
    PartOf(Subject),
}

impl<Id, N> Default for Subjects<Id, N> {
    fn default() -> Self {
        Self { known: Slab::new(), of: HashMap::new(), others: Vec::new(), ended: 0, folded: 0 }
    }
}

impl<Id: Eq + Hash, N: Name> Subjects<Id, N> {
    /// The number of a subject, which is new when the subject is.
    pub fn of(&mut self, id: Id, name: &Arc<N>) -> Subject {
        let known = &mut self.known;
        *self
            .of
            .entry(id)
            .or_insert_with(|| known.insert(Known { name: Arc::clone(name), state: State::Lives }))
    }

    /// The number of a subject that has counted.
    pub fn find(&self, id: &Id) -> Option<Subject> {
        self.of.get(id).copied()
    }

    /// Another name for a subject.
    pub fn rename(&mut self, id: &Id, name: &Arc<N>) {
        if let Some(known) = self.find(id).and_then(|subject| self.known.get_mut(subject)) {
            known.name = Arc::clone(name);
        }
    }

    /// Makes a subject a part of another one.
    pub fn merge(&mut self, from: &Id, into: Id, name: &Arc<N>) {
        let Some(from) = self.of.remove(from) else { return };
        let into = self.of(into, name);
        self.become_part(from, into);
    }

    /// A subject counts no more.
    pub fn end(&mut self, id: &Id) {
        let Some(subject) = self.of.remove(id) else { return };
        if self.ended < MAX_ENDED {
            self.set(subject, State::Ended);
            self.ended += 1;
            return;
        }
        let Some(other) = self.known.get(subject).map(|known| known.name.other()) else { return };
        self.folded += 1;
        let into = self.other(other);
        self.become_part(subject, into);
    }

    /// What a subject is a part of, or itself.
    pub fn resolve(&self, subject: Subject) -> Subject {
        // No cycles: a subject becomes a part once, of one that is none.
        std::iter::successors(Some(subject), |subject| self.whole(*subject)).last().unwrap_or(subject)
    }

    /// What a subject has become a part of.
    fn whole(&self, subject: Subject) -> Option<Subject> {
        match self.known.get(subject)?.state {
            State::PartOf(whole) => Some(whole),
            State::Lives | State::Ended => None,
        }
    }

    /// Forgets the subjects that count no more and are in no step.
    pub fn forget(&mut self, in_steps: impl FnOnce() -> HashSet<Subject>) {
        let idle = self.known.len() - self.of.len() - self.others.len();
        if idle < FORGOTTEN_AT_ONCE {
            return;
        }
        let mut needed = in_steps();
        // What a subject that is needed is a part of is needed too, and what that has become a part of.
        for subject in needed.clone() {
            needed.extend(std::iter::successors(self.whole(subject), |whole| self.whole(*whole)));
        }
        self.known.retain(|subject, known| known.state == State::Lives || needed.contains(&subject));
        self.ended = self.known.iter().filter(|(_, known)| known.state == State::Ended).count();
    }

    /// Names by number, and what each is a part of.
    pub fn names(&self) -> Vec<Option<(Subject, Arc<N>)>> {
        let length = self.known.iter().next_back().map_or(0, |(subject, _)| subject + 1);
        let mut names = vec![None; length];
        for (subject, _) in &self.known {
            let whole = self.resolve(subject);
            if let (Some(name), Some(known)) = (names.get_mut(subject), self.known.get(whole)) {
                *name = Some((whole, Arc::clone(&known.name)));
            }
        }
        names
    }

    /// Subjects folded so far.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    fn other(&mut self, name: N) -> Subject {
        let is_it = |subject: &&Subject| self.known.get(**subject).is_some_and(|known| *known.name == name);
        if let Some(other) = self.others.iter().find(is_it) {
            return *other;
        }
        let other = self.known.insert(Known { name: Arc::new(name), state: State::Lives });
        self.others.push(other);
        other
    }

    fn become_part(&mut self, subject: Subject, whole: Subject) {
        let whole = self.resolve(whole);
        let name = self.known.get(whole).map(|known| Arc::clone(&known.name));
        if let (Some(known), Some(name)) = (self.known.get_mut(subject), name)
            && whole != subject
        {
            // Its own name takes no room any longer.
            *known = Known { name, state: State::PartOf(whole) };
        }
    }

    fn set(&mut self, subject: Subject, state: State) {
        if let Some(known) = self.known.get_mut(subject) {
            known.state = state;
        }
    }
}
