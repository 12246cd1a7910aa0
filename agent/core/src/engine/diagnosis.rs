//! What is wrong, judged when a window has ended.

use std::collections::{BTreeSet, HashMap};

use super::{Engine, Output};
use crate::diagnose::finding::Finding;
use crate::diagnose::{Diagnosis, Judged, local};
use crate::enrich::Workload;
use crate::enrich::uid::PodUid;

/// What judgements are given, for those who keep it.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// [`Output::Judged`] is wanted.
    is_on: bool,
    /// What was said to be missing since the last one.
    missing: Option<HashMap<&'static str, String>>,
}

impl Engine {
    /// What is wrong.
    #[must_use]
    pub fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }

    /// From now on [`Output::Judged`] comes with each judgement.
    pub fn keep_judged(&mut self) {
        self.keeping.is_on = true;
    }

    /// Evidence that this node cannot have.
    pub(super) fn miss(&mut self, missing: HashMap<&'static str, String>) {
        if self.keeping.is_on {
            self.keeping.missing = Some(missing.clone());
        }
        self.diagnosis.set_missing(missing);
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
        let judged = Judged {
            edges: windows.recent(),
            listeners: self.places.listeners.recent(),
            node: self.places.node.recent(),
            peer_nodes: self.peer_nodes.windows().recent(),
            now: self.time.monotonic,
            wall: self.time.wall,
            missing: self.keeping.missing.take(),
        };
        let turns = self.diagnosis.judge(&judged.windows());
        self.outputs.extend(turns.into_iter().map(Output::Finding));
        if self.keeping.is_on {
            self.outputs.push_back(Output::Judged(Box::new(judged)));
        }
    }
}
