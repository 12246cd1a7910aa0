//! What is wrong, judged when a window has ended.

use std::collections::BTreeSet;

use super::{Engine, Output};
use crate::diagnose::finding::Finding;
use crate::diagnose::{Diagnosis, Windows, local};
use crate::enrich::Workload;
use crate::enrich::uid::PodUid;

impl Engine {
    /// What is wrong.
    #[must_use]
    pub fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }

    /// The pods on this node that a finding hurts, each once.
    #[must_use]
    pub fn pods_hurt_by(&self, finding: &Finding) -> BTreeSet<PodUid> {
        let workloads: BTreeSet<&Workload> = finding.affected.iter().map(|edge| local(edge)).collect();
        workloads.into_iter().flat_map(|workload| self.names.pods_of(workload)).collect()
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
