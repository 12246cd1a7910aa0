//! The report: scenarios by kernel, the output of failed tests, the sums.

use std::fmt::Write as _;

use crate::{
    exec,
    results::{Counts, Outcome, Run},
};

/// Lines of failures shown of each place.
const FAILURE_LINES: usize = 120;

/// The results of everything that ran.
#[derive(Default)]
pub(super) struct Report {
    /// The unit tests.
    pub unit: Counts,
    /// The selected scenarios.
    pub scenarios: Vec<String>,
    /// The lab, once for each place.
    pub runs: Vec<Run>,
    /// Lines that explain gaps in the table.
    pub notes: Vec<String>,
}

impl Report {
    /// The report as text, without the last line.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        // Failures come last: of a long output often only the end is read.
        self.table(&mut text);
        text.push('\n');
        self.failures(&mut text);
        let unit = self.unit;
        line(
            &mut text,
            "unit tests",
            &format!("{} passed, {} failed, {} ignored", unit.passed, unit.failed, unit.skipped),
        );
        for run in &self.runs {
            let mut result = format!(
                "{} passed, {} failed, {} skipped in {:.0} s",
                run.count(Outcome::Passed),
                run.count(Outcome::Failed),
                run.count(Outcome::Skipped),
                run.took.as_secs_f64()
            );
            if let Some(problem) = &run.problem {
                result = format!("{result}; PROBLEM: {problem}");
            }
            line(&mut text, &run.place, &result);
        }
        for note in &self.notes {
            line(&mut text, "note", note);
        }
        let nowhere: Vec<&str> = self.nowhere().collect();
        if !nowhere.is_empty() {
            line(&mut text, "ran nowhere", &nowhere.join(", "));
        }
        text
    }

    /// The sums. A scenario counts once for each place where it ran, and as skipped only when it ran nowhere; a place with a
    /// problem counts as one more failure.
    pub(super) fn counts(&self) -> Counts {
        let sum = |outcome| self.runs.iter().map(|run| run.count(outcome)).sum::<usize>();
        let problems = self.runs.iter().filter(|run| run.problem.is_some()).count();
        Counts {
            passed: self.unit.passed + sum(Outcome::Passed),
            failed: self.unit.failed + sum(Outcome::Failed) + problems,
            skipped: self.unit.skipped + self.nowhere().count(),
        }
    }

    fn nowhere(&self) -> impl Iterator<Item = &str> {
        let ran = |name: &&String| {
            self.runs
                .iter()
                .any(|run| run.outcomes.get(*name).is_some_and(|outcome| *outcome != Outcome::Skipped))
        };
        self.scenarios.iter().filter(move |name| !ran(name)).map(String::as_str)
    }

    fn table(&self, text: &mut String) {
        if self.runs.is_empty() || self.scenarios.is_empty() {
            return;
        }
        let width = self.scenarios.iter().map(String::len).max().unwrap_or(0).max("scenario".len());
        let places: Vec<&str> = self.runs.iter().map(|run| short(&run.place)).collect();
        let _ = write!(text, "{:width$}", "scenario");
        for place in &places {
            let _ = write!(text, "  {place:>12}");
        }
        text.push('\n');
        for scenario in &self.scenarios {
            let _ = write!(text, "{scenario:width$}");
            for run in &self.runs {
                let word = match run.outcomes.get(scenario) {
                    Some(Outcome::Passed) => "ok",
                    Some(Outcome::Failed) => "FAILED",
                    Some(Outcome::Skipped) => "skipped",
                    None => "no result",
                };
                let _ = write!(text, "  {word:>12}");
            }
            text.push('\n');
        }
    }

    fn failures(&self, text: &mut String) {
        for run in self.runs.iter().filter(|run| !run.is_good() && !run.failures.is_empty()) {
            let _ = writeln!(text, "=== {} ===", run.place);
            let _ = writeln!(text, "{}\n", exec::tail(&run.failures, FAILURE_LINES));
        }
    }
}

fn line(text: &mut String, what: &str, result: &str) {
    let _ = writeln!(text, "{what}: {result}");
}

/// A kernel's release without Debian's suffix.
fn short(place: &str) -> &str {
    place.split(['+', '-']).next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(place: &str, output: &str, code: i32) -> Run {
        Run::parse(place, output, Some(code), Duration::ZERO)
    }

    #[test]
    fn what_ran_nowhere_is_skipped_and_never_passed() {
        let report = Report {
            unit: Counts { passed: 2, failed: 0, skipped: 0 },
            scenarios: ["a", "b", "c"].map(str::to_owned).to_vec(),
            runs: vec![
                run("this machine", "test a ... ok\ntest [no b here] b ... ignored\n", 0),
                run("6.1.0-56-cloud-amd64", "test a ... ok\ntest b ... ok\n", 0),
            ],
            notes: Vec::new(),
        };
        assert_eq!(report.counts(), Counts { passed: 5, failed: 0, skipped: 1 });
        let text = report.text();
        assert!(text.contains("ran nowhere: c\n"), "{text}");
        assert!(text.contains("no result"), "{text}");
    }

    #[test]
    fn a_place_with_a_problem_is_a_failure() {
        let report = Report {
            scenarios: vec!["a".to_owned()],
            runs: vec![Run::not_run("6.1", "the VM ended by itself".to_owned())],
            ..Report::default()
        };
        assert_eq!(report.counts(), Counts { passed: 0, failed: 1, skipped: 1 });
        assert!(report.text().contains("PROBLEM: the VM ended by itself"));
    }
}
