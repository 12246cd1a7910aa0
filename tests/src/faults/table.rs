//! The tables: how each family of faults was named, and how often each confidence was right.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use serde_json::{Value, json};

use super::{
    judge::{Kind, Said, Verdict, rank},
    run::Outcome,
};

/// Named within this is right, and later late.
const SOON: f64 = 30.0;

/// What confidence has to be worth, in percent.
const LIMITS: [(&str, f64); 3] = [("low", 60.0), ("medium", 85.0), ("high", 97.0)];

#[derive(Default)]
struct Row {
    cases: usize,
    right: usize,
    late: usize,
    missed: usize,
    /// Named soon at any confidence.
    seen: usize,
    /// Findings at medium confidence or better.
    wrong_cause: usize,
    wrong_side: usize,
    wrong_subject: usize,
    false_ones: usize,
    named: Vec<f64>,
    over: Vec<f64>,
    lasting: usize,
}

/// All that was measured.
#[derive(Default)]
pub(super) struct Table {
    rows: BTreeMap<&'static str, Row>,
    /// By confidence: findings, and those that were right.
    confidence: BTreeMap<String, (usize, usize)>,
    failed: usize,
    /// How long healthy traffic was watched: of each case, until its fault begins.
    healthy_seconds: u64,
}

impl Table {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        let case = &outcome.case;
        let look_alike = outcome.at[1].saturating_sub(outcome.at[0]);
        self.healthy_seconds += case.healthy + if case.is_healthy() { look_alike } else { 0 };
        for (act, verdict) in outcome.case.acts.iter().zip(&outcome.verdicts) {
            self.rows.entry(act.name).or_default().add(verdict, act.truth.causes.is_empty());
        }
        let first = outcome.case.acts.first().map_or("", |act| act.name);
        for said in &outcome.said {
            let (all, right) = self.confidence.entry(said.confidence.clone()).or_default();
            *all += 1;
            *right += usize::from(said.kind == Kind::Right);
            if rank(&said.confidence) >= 2 {
                self.rows.entry(first).or_default().said(said.kind);
            }
        }
    }

    /// A case that could not be made.
    pub(super) fn failed(&mut self) {
        self.failed += 1;
    }

    pub(super) fn all_ran(&self) -> bool {
        self.failed == 0
    }

    /// Acts that were named soon, acts that had a fault, and findings that were wrong.
    pub(super) fn sums(&self) -> (usize, usize, usize) {
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum();
        let faults = self.rows.values().map(|row| row.right + row.late + row.missed).sum();
        (
            sum(|row| row.right),
            faults,
            sum(|row| row.wrong_cause + row.wrong_side + row.wrong_subject + row.false_ones),
        )
    }
}

impl Row {
    fn add(&mut self, verdict: &Verdict, is_healthy: bool) {
        self.cases += 1;
        if is_healthy {
            return;
        }
        match verdict.named {
            Some(time) if time <= SOON => self.right += 1,
            Some(_) => self.late += 1,
            None => self.missed += 1,
        }
        self.seen += usize::from(verdict.seen.is_some_and(|time| time <= SOON));
        self.named.extend(verdict.named);
        match verdict.over {
            Some(time) => self.over.push(time),
            None => self.lasting += usize::from(verdict.named.is_some()),
        }
    }

    fn said(&mut self, kind: Kind) {
        match kind {
            Kind::Right => {}
            Kind::WrongCause => self.wrong_cause += 1,
            Kind::WrongSide => self.wrong_side += 1,
            Kind::WrongSubject => self.wrong_subject += 1,
            Kind::False => self.false_ones += 1,
        }
    }
}

/// The middle and the largest of some numbers, or dashes.
fn middle_and_most(numbers: &[f64]) -> [String; 2] {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let show = |number: Option<&f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.0}"));
    [show(sorted.get(sorted.len() / 2)), show(sorted.last())]
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| family | cases | right | late | missed | right at any confidence | wrong cause | wrong side | wrong subject | false | named: median s | worst s | over: median s | worst s | not over |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        for (name, row) in &self.rows {
            let ([named, latest], [over, longest]) =
                (middle_and_most(&row.named), middle_and_most(&row.over));
            let Row {
                cases,
                right,
                late,
                missed,
                seen,
                wrong_cause,
                wrong_side,
                wrong_subject,
                false_ones,
                lasting,
                ..
            } = row;
            writeln!(
                f,
                "| {name} | {cases} | {right} | {late} | {missed} | {seen} | {wrong_cause} | {wrong_side} | {wrong_subject} | {false_ones} | {named} | {latest} | {over} | {longest} | {lasting} |"
            )?;
        }
        writeln!(f, "\n| confidence | findings | right | share | limit |\n|---|---|---|---|---|")?;
        for (name, limit) in LIMITS {
            let (all, right) = self.confidence.get(name).copied().unwrap_or_default();
            let share =
                if all == 0 { "-".to_owned() } else { format!("{:.0} %", 100.0 * right as f64 / all as f64) };
            writeln!(f, "| {name} | {all} | {right} | {share} | {limit:.0} % |")?;
        }
        let (right, faults, wrong) = self.sums();
        let seen: usize = self.rows.values().map(|row| row.seen).sum();
        let hours = self.healthy_seconds as f64 / 3600.0;
        let false_ones: usize = self.rows.values().map(|row| row.false_ones).sum();
        let cases: usize = self.rows.values().map(|row| row.cases).sum();
        let named: Vec<f64> = self.rows.values().flat_map(|row| row.named.iter().copied()).collect();
        let over: Vec<f64> = self.rows.values().flat_map(|row| row.over.iter().copied()).collect();
        let ([middle, most], [over, longest]) = (middle_and_most(&named), middle_and_most(&over));
        writeln!(
            f,
            "\n{right} of {faults} faults were named within {SOON:.0} s with the right cause, side and subject at medium confidence or better, {seen} at any; {wrong} findings were wrong, in {cases} cases \
             ({} healthy). Seconds until named: median {middle}, worst {most}; until over: median {over}, worst {longest}. {} cases could not be made.",
            cases - faults,
            self.failed
        )?;
        writeln!(
            f,
            "\nHealthy traffic was watched for {hours:.1} hours in all, one case beside another: {false_ones} findings."
        )
    }
}

/// A case as a line of JSON.
pub(super) fn line(outcome: &Outcome) -> Value {
    let Outcome { case, verdicts, said, at } = outcome;
    let acts = case.acts.iter().zip(verdicts).map(|(act, verdict)| {
        json!({
            "family": act.name, "severity": act.severity, "traffic": format!("{:?}", act.traffic),
            "named_after_seconds": verdict.named, "at_any_confidence_after_seconds": verdict.seen, "confidence": verdict.confidence,
            "over_after_seconds": verdict.over,
        })
    });
    let said = said.iter().map(|Said { id, kind, confidence, at, summary }| {
        json!({"id": id, "kind": format!("{kind:?}"), "confidence": confidence, "at": at, "summary": summary})
    });
    json!({
        "seed": case.seed, "fault_at": at, "v6": case.v6, "delay_ms": case.delay_ms, "healthy_seconds": case.healthy,
        "bystanders": format!("{:?}", case.bystanders),
        "acts": acts.collect::<Vec<_>>(), "said": said.collect::<Vec<_>>(),
    })
}
