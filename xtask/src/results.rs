//! The results of a test run, read from the lines that Rust's test binaries print.

use std::{collections::BTreeMap, time::Duration};

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Outcome {
    /// It did not run.
    Skipped,
    /// It ran and succeeded.
    Passed,
    /// It ran and failed.
    Failed,
}

/// One run of the lab on one kernel.
#[derive(Debug)]
pub(crate) struct Run {
    /// `this machine`, or the release of a kernel of the matrix.
    pub place: String,
    /// Each test with a result.
    pub outcomes: BTreeMap<String, Outcome>,
    /// The output of the failed tests.
    pub failures: String,
    /// A failure outside the tests: the VM died, the lab ended without results.
    pub problem: Option<String>,
    /// How long it took, boot included.
    pub took: Duration,
}

impl Run {
    /// Reads a run's output; `code` is the lab's exit code.
    pub(crate) fn parse(place: &str, output: &str, code: Option<i32>, took: Duration) -> Self {
        let mut run = Self {
            place: place.to_owned(),
            outcomes: output.lines().filter_map(outcome).collect(),
            failures: String::new(),
            problem: None,
            took,
        };
        if let Some((_, failures)) = output.split_once("\nfailures:\n") {
            // The names of the failed tests follow once more; the first part has what they printed.
            let end = failures.find("\nfailures:\n").unwrap_or(failures.len());
            failures[..end].trim_end().clone_into(&mut run.failures);
        }
        let failed = run.count(Outcome::Failed) > 0;
        match code {
            Some(0) => {}
            Some(_) if failed => {}
            Some(code) => run.problem = Some(format!("the lab ended with exit code {code}")),
            None => run.problem = Some("the lab did not end".to_owned()),
        }
        run
    }

    /// A place where nothing could be run.
    pub(crate) fn not_run(place: &str, problem: String) -> Self {
        Self {
            place: place.to_owned(),
            outcomes: BTreeMap::new(),
            failures: String::new(),
            problem: Some(problem),
            took: Duration::ZERO,
        }
    }

    /// The number of tests with this outcome.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.values().filter(|found| **found == outcome).count()
    }

    /// Whether no test failed and nothing else did.
    pub(crate) fn is_good(&self) -> bool {
        self.problem.is_none() && self.count(Outcome::Failed) == 0
    }
}

/// The test and its outcome in a line `test NAME ... ok`.
pub(crate) fn outcome(line: &str) -> Option<(String, Outcome)> {
    let (name, outcome) = line.trim_end().strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome.split([' ', ',']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Skipped,
        _ => return None,
    };
    // A test with a kind is printed as `[kind] name`, the others with spaces instead; the lab's kinds are reasons for
    // skipping.
    let name = name.trim_start();
    let name = name.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(name, |(_, name)| name);
    // Kinds are padded to the longest, and so are names.
    Some((name.trim().to_owned(), outcome))
}

/// The tests that have passed, of a run that may not have ended.
pub(crate) fn passed(output: &str) -> Vec<String> {
    let outcomes: BTreeMap<_, _> = output.lines().filter_map(outcome).collect();
    outcomes.into_iter().filter(|(_, outcome)| *outcome == Outcome::Passed).map(|(name, _)| name).collect()
}

/// The names in what a test binary prints for `--list`.
pub(crate) fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.trim().strip_suffix(": test").map(str::to_owned)).collect()
}

/// The sums of all `test result:` lines, as cargo prints one per test binary.
pub(crate) fn sums(output: &str) -> Counts {
    let mut sums = Counts::default();
    for line in output.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
        for part in line.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
            match words.next() {
                Some("passed") => sums.passed += count,
                Some("failed") => sums.failed += count,
                Some("ignored") => sums.skipped += count,
                _ => {}
            }
        }
    }
    sums
}

/// The numbers of the last line.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    /// Ran and succeeded.
    pub passed: usize,
    /// Ran and failed, and places where nothing could be run.
    pub failed: usize,
    /// Ran nowhere.
    pub skipped: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 3 tests\ntest                 a::one ... ok\ntest two   ... FAILED\ntest [no prometheus]    three ... ignored\n\
                          \nfailures:\n\n---- two ----\nit was 3\n\n\nfailures:\n    two\n\n\
                          test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn a_run_is_read() {
        let run = Run::parse("6.1", OUTPUT, Some(101), Duration::ZERO);
        assert_eq!(run.outcomes["a::one"], Outcome::Passed);
        assert_eq!(run.outcomes["two"], Outcome::Failed);
        assert_eq!(run.outcomes["three"], Outcome::Skipped);
        assert_eq!(run.failures.trim(), "---- two ----\nit was 3");
        assert!(run.problem.is_none() && !run.is_good());
    }

    #[test]
    fn what_has_passed_is_known_of_a_run_that_did_not_end() {
        assert_eq!(passed(OUTPUT), ["a::one"]);
        // What failed the first time has the outcome of the second.
        let both = format!("{OUTPUT}\ntest two ... ok\n");
        assert_eq!(passed(&both), ["a::one", "two"]);
        assert!(Run::parse("x", &both, Some(0), Duration::ZERO).is_good());
    }

    #[test]
    fn an_end_without_a_failed_test_is_a_problem() {
        assert!(Run::parse("x", "test a ... ok\n", Some(101), Duration::ZERO).problem.is_some());
        assert!(Run::parse("x", "test a ... ok\n", None, Duration::ZERO).problem.is_some());
        assert!(Run::parse("x", "test a ... ok\n", Some(0), Duration::ZERO).is_good());
    }

    #[test]
    fn unit_tests_are_summed() {
        let output = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                      test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(sums(output), Counts { passed: 7, failed: 3, skipped: 1 });
    }
}
