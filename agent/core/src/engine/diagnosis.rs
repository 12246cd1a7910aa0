//! What is wrong, judged when a window has ended.

use super::{Engine, Output};
use crate::diagnose::{Diagnosis, Windows};

impl Engine {
    /// What is wrong.
    #[must_use]
    pub fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }

    /// Judges what was counted, when a window has ended.
    pub(super) fn diagnose(&mut self) {
        let windows = self.model.windows();
        if !windows.has_just_ended() {
            return;
        }
        let turns = self.diagnosis.judge(&Windows {
            edges: &windows.recent(),
            listeners: &self.places.listeners.recent(),
            node: &self.places.node.recent(),
            peer_nodes: &self.peer_nodes.windows().recent(),
            now: self.time.monotonic,
            wall: self.time.wall,
        });
        self.outputs.extend(turns.into_iter().map(Output::Finding));
    }
}
