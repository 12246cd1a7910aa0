//! The table: each case with what both agents said.

use super::verdict::{Heard, Truth, Verdict};

/// A case that was played.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) truth: [Truth; 2],
    pub(super) heard: [Heard; 2],
}

impl Outcome {
    fn ends(&self) -> impl Iterator<Item = (&Heard, &Truth)> {
        self.heard.iter().zip(&self.truth)
    }

    /// How often a wrong side was named with high confidence.
    pub(super) fn accused(&self) -> usize {
        self.ends().map(|(heard, truth)| heard.accused(truth).len()).sum()
    }

    /// The row of the table.
    pub(super) fn line(&self) -> String {
        let cells: Vec<String> = self.ends().map(|(heard, truth)| cell(heard, truth)).collect();
        format!("| {} | {} |", self.name, cells.join(" | "))
    }

    /// All that was said.
    pub(super) fn in_full(&self) -> String {
        let mut text = String::new();
        for (end, heard) in ["A", "B"].iter().zip(&self.heard) {
            for (cause, said) in &heard.said {
                let seconds = said.after.as_secs();
                let state = if said.is_active { "active" } else { "ended" };
                text.push_str(&format!(
                    "    {end}: {cause}, {}, after {seconds} s, {state}: {}\n",
                    said.confidence, said.summary
                ));
            }
            for symptom in &heard.unexplained {
                text.push_str(&format!("    {end}: no cause for: {symptom}\n"));
            }
        }
        text.trim_end().to_owned()
    }
}

/// `path_loss/path, high, 12 s: right`.
fn cell(heard: &Heard, truth: &Truth) -> String {
    let (verdict, said) = heard.judge(truth);
    let Some((cause, said)) = said else { return verdict.to_string() };
    let others: Vec<String> = heard
        .said
        .iter()
        .filter(|(other, _)| other.as_str() != cause)
        .map(|(other, said)| format!("{other} {}", said.confidence))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" (also {})", others.join(", ")) };
    format!("{cause}, {}, {} s: {verdict}{others}", said.confidence, said.after.as_secs())
}

/// The whole table, and its sums.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| case | node A (client) | node B (server) |\n|---|---|---|\n".to_owned();
    for outcome in outcomes {
        text.push_str(&outcome.line());
        text.push('\n');
    }
    let views: Vec<Verdict> = outcomes
        .iter()
        .flat_map(|outcome| outcome.ends().map(|(heard, truth)| heard.judge(truth).0).collect::<Vec<_>>())
        .collect();
    let count = |verdict: Verdict| views.iter().filter(|one| **one == verdict).count();
    let good = views.iter().filter(|verdict| verdict.is_good()).count();
    text.push_str(&format!(
        "\n{} cases, {} views: {good} good ({:.0} %): {} right, {} rightly silent; {} missed, {} other cause on the right \
         side, {} wrong side, {} false. A wrong side with high confidence: {}.\n",
        outcomes.len(),
        views.len(),
        100.0 * good as f64 / views.len().max(1) as f64,
        count(Verdict::Right),
        count(Verdict::RightlySilent),
        count(Verdict::Missed),
        count(Verdict::OtherCause),
        count(Verdict::WrongSide),
        count(Verdict::False),
        outcomes.iter().map(Outcome::accused).sum::<usize>(),
    ));
    text
}
