//! A finding in the making.

use std::sync::Arc;

use super::around::Around;
use super::cause::{Cause, Confidence, Owner, Side};
use super::finding::{Excluded, Finding, Impact, Missing, NextStep, Pair, Signal, Subject};
use crate::aggregate::Edge;

/// What a rule says of one subject in one judgement.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it says.
    pub finding: Finding,
    /// One judgement is enough: no chance and no healthy traffic does so much.
    pub is_plain: bool,
    /// It does not depend on how long anything takes, whatever its cause: no shortage of CPUs explains it.
    pub is_timeless: bool,
    /// How much speaks for it: to compare drafts of one cause.
    pub weight: f64,
}

impl Draft {
    /// A cause, with whom, and one sentence.
    #[must_use]
    pub fn new(cause: Cause, subject: Subject, confidence: Confidence, summary: String) -> Self {
        let side = cause.side();
        let finding = Finding {
            cause,
            side,
            owner: side.owner(),
            confidence,
            subject,
            affected: Vec::new(),
            affected_total: 0,
            impact: Impact::default(),
            evidence: Vec::new(),
            counter_evidence: Vec::new(),
            missing_evidence: Vec::new(),
            excluded: Vec::new(),
            summary,
            next_step: NextStep { text: String::new(), command: String::new() },
        };
        Self { finding, is_plain: false, is_timeless: false, weight: 0.0 }
    }

    /// Of one edge.
    #[must_use]
    pub fn of_edge(cause: Cause, edge: &Arc<Edge>, confidence: Confidence, summary: String) -> Self {
        Self::new(cause, Subject::Edge(Pair::of(edge)), confidence, summary).affects(edge)
    }

    /// It hurts this edge as well.
    #[must_use]
    pub fn affects(mut self, edge: &Arc<Edge>) -> Self {
        self.finding.affected.push(Arc::clone(edge));
        self.finding.affected_total += 1;
        self
    }

    /// It is wrong at this side, and that owner acts.
    #[must_use]
    pub fn at(mut self, side: Side, owner: Owner) -> Self {
        (self.finding.side, self.finding.owner) = (side, owner);
        self
    }

    /// How much speaks for it, and whether one judgement is enough.
    #[must_use]
    pub fn weighs(mut self, weight: f64, is_plain: bool) -> Self {
        (self.weight, self.is_plain) = (weight, is_plain);
        self
    }

    /// Whether it does not depend on how long anything takes.
    #[must_use]
    pub fn whatever_the_time(mut self, is_timeless: bool) -> Self {
        self.is_timeless = is_timeless;
        self
    }

    /// How much it hurts.
    #[must_use]
    pub fn hurts(mut self, impact: Impact) -> Self {
        self.finding.impact = impact;
        self
    }

    /// This speaks for it.
    #[must_use]
    pub fn because(mut self, signal: Signal) -> Self {
        self.finding.evidence.push(signal);
        self
    }

    /// This speaks for it, where it is there.
    #[must_use]
    pub fn because_of(mut self, signal: Option<Signal>) -> Self {
        self.finding.evidence.extend(signal);
        self
    }

    /// This speaks against it, or for the health of another part.
    #[must_use]
    pub fn although(mut self, signal: Option<Signal>) -> Self {
        self.finding.counter_evidence.extend(signal);
        self
    }

    /// It is not that.
    #[must_use]
    pub fn not(mut self, cause: Cause, because: &str) -> Self {
        self.finding.excluded.push(Excluded { cause, because: because.to_owned() });
        self
    }

    /// This could not be had, and would have said more.
    #[must_use]
    pub fn without(mut self, signal: &'static str, why: &str) -> Self {
        self.finding.missing_evidence.push(Missing { signal, why: why.to_owned() });
        self
    }

    /// As sure as it can be on a node in this state: where tasks wait for a CPU all the time, whatever is judged by times is late for
    /// that reason too.
    #[must_use]
    pub fn on(mut self, around: &Around) -> Self {
        let is_by_time = matches!(
            self.finding.cause,
            Cause::SlowServer
                | Cause::SlowClient
                | Cause::SidecarFault
                | Cause::UpstreamOfSidecar
                | Cause::ReceiverStalled
                | Cause::Bufferbloat
                | Cause::SpuriousTimeout
                | Cause::AckLoss
                | Cause::Reordering
                | Cause::DnsServerSlow
        );
        if let Some(signal) = around.short_of_cpu().filter(|_| is_by_time && !self.is_timeless) {
            self.finding.confidence = Confidence::Low;
            self.finding.counter_evidence.push(signal);
        }
        self
    }

    /// What to do.
    #[must_use]
    pub fn then(mut self, text: &str, command: String) -> Self {
        self.finding.next_step = NextStep { text: text.to_owned(), command };
        self
    }
}

impl Signal {
    /// A count of a whole.
    #[must_use]
    pub fn part(signal: &'static str, value: u64, of: u64, unit: &'static str, says: String) -> Self {
        Self { signal, value: value as f64, of: Some(of as f64), baseline: None, unit, says }
    }

    /// A count or another value that is no part of anything.
    #[must_use]
    pub fn value(signal: &'static str, value: f64, unit: &'static str, says: String) -> Self {
        Self { signal, value, of: None, baseline: None, unit, says }
    }

    /// With what was usual.
    #[must_use]
    pub fn usually(mut self, baseline: Option<f64>) -> Self {
        self.baseline = baseline;
        self
    }
}
