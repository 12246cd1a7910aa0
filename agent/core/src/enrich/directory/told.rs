//! Which sources tell of an object, and which have told it again since their list began.

use crate::enrich::objects::{Kind, Source};

/// Sources, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources(u8);

impl Sources {
    /// Puts one in, or takes it out.
    pub fn set(&mut self, source: Source, is_in: bool) {
        if is_in { self.0 |= bit(source) } else { self.0 &= !bit(source) }
    }

    /// Whether it is in.
    pub fn has(self, source: Source) -> bool {
        self.0 & bit(source) != 0
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Who tells of an object.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// They do.
    pub by: Sources,
    again: Sources,
}

impl Told {
    /// A source tells it.
    pub fn tell(&mut self, source: Source) {
        self.by.set(source, true);
        self.again.set(source, true);
    }

    /// A source begins to tell all that it knows.
    pub fn list_begins(&mut self, source: Source) {
        self.again.set(source, false);
    }

    /// Whether a source that has told all has left this out, of which it had told.
    pub fn is_missed(self, source: Source) -> bool {
        self.by.has(source) && !self.again.has(source)
    }

    /// A source tells it no more. Says whether nobody does now.
    pub fn gone(&mut self, source: Source) -> bool {
        self.by.set(source, false);
        self.by.is_empty()
    }
}

/// The lists that have begun and not ended.
#[derive(Debug, Default)]
pub struct Lists([Sources; 4]);

impl Lists {
    /// One begins.
    pub fn begin(&mut self, source: Source, kind: Kind) {
        self.of(kind).set(source, true);
    }

    /// One ends. Says whether it had begun.
    pub fn end(&mut self, source: Source, kind: Kind) -> bool {
        let had_begun = self.of(kind).has(source);
        self.of(kind).set(source, false);
        had_begun
    }

    fn of(&mut self, kind: Kind) -> &mut Sources {
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
