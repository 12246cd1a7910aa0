//! Tracks which sources list an object, so that a source's new list removes what only that source had.

use crate::enrich::objects::{Kind, Source};

/// A set of sources, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSet(u8);

impl SourceSet {
    /// Adds a source or removes it.
    pub fn set(&mut self, source: Source, is_in: bool) {
        if is_in { self.0 |= bit(source) } else { self.0 &= !bit(source) }
    }

    /// Whether the set contains this source.
    pub fn has(self, source: Source) -> bool {
        self.0 & bit(source) != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The sources that list an object.
#[derive(Clone, Copy, Debug, Default)]
pub struct Provenance {
    /// Sources that list it.
    pub sources: SourceSet,
    /// Those of them that have sent it since their latest [`Change::Init`](crate::enrich::objects::Change::Init).
    refreshed: SourceSet,
}

impl Provenance {
    /// A source has sent the object.
    pub fn add(&mut self, source: Source) {
        self.sources.set(source, true);
        self.refreshed.set(source, true);
    }

    /// A source begins a new list.
    pub fn begin_list(&mut self, source: Source) {
        self.refreshed.set(source, false);
    }

    /// Whether the object is missing from the list that this source has completed now, and was in the one before.
    pub fn is_stale(self, source: Source) -> bool {
        self.sources.has(source) && !self.refreshed.has(source)
    }

    /// A source no longer lists the object. Returns true when no other source does.
    pub fn remove(&mut self, source: Source) -> bool {
        self.sources.set(source, false);
        self.sources.is_empty()
    }
}

/// The lists in progress: begun and not ended, by kind.
#[derive(Debug, Default)]
pub struct Lists([SourceSet; 4]);

impl Lists {
    /// A source begins its list of this kind.
    pub fn begin(&mut self, source: Source, kind: Kind) {
        self.of(kind).set(source, true);
    }

    /// A source ends its list of this kind. Returns whether it had begun.
    pub fn end(&mut self, source: Source, kind: Kind) -> bool {
        let had_begun = self.of(kind).has(source);
        self.of(kind).set(source, false);
        had_begun
    }

    fn of(&mut self, kind: Kind) -> &mut SourceSet {
        let [pods, services, slices, nodes] = &mut self.0;
        match kind {
            Kind::Pod => pods,
            Kind::Service => services,
            Kind::EndpointSlice => slices,
            Kind::Node => nodes,
        }
    }
}

fn bit(source: Source) -> u8 {
    match source {
        Source::Api => 1,
        Source::Kubelet => 2,
        Source::File => 4,
    }
}
