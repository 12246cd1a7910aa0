//! `cargo xtask fuzz`: coverage-guided fuzzing of the parser of DNS messages.
//!
//! The fuzzer is LLVM's libFuzzer, compiled into `tests/fuzz`. `cargo fuzz` needs a nightly compiler for its sanitizers; the parser
//! has no unsafe code for them to check, and every compiler has the coverage pass.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netcause_common::dns::AnswerDetail;

use crate::{
    cargo, exec,
    tools::packages::{self, Purpose},
    workspace,
};

/// The program that fuzzes.
const FUZZER: &str = "fuzz-dns";
/// The inputs that are kept in the repository.
const CORPUS: &str = "tests/fuzz/corpus/dns";
/// An input that takes longer is a hang; others take microseconds. libFuzzer reads the wall clock, and a
/// busy machine has kept the processor away for a second.
const HANG_SECONDS: u32 = 10;
/// More is a leak, or an input for which the parser allocates too much.
const MEMORY_MIB: u32 = 512;
/// The flags of cargo-fuzz: counters at every edge, and the operands of every comparison.
const COVERAGE: [&str; 10] = [
    "-C",
    "passes=sancov-module",
    "-C",
    "llvm-args=-sanitizer-coverage-level=4",
    "-C",
    "llvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-C",
    "llvm-args=-sanitizer-coverage-pc-table",
    "-C",
    "llvm-args=-sanitizer-coverage-trace-compares",
];

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many inputs to try
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Seconds after which to stop
    #[arg(long)]
    seconds: Option<u64>,
    /// Add the inputs that reach new code to the corpus in the repository
    #[arg(long)]
    keep: bool,
}

/// Fuzzes, and prints the result in one line.
pub(crate) fn command(args: &Args) -> Result<()> {
    if !exec::on_path("c++") {
        packages::ensure(&[Purpose::Fuzz])?;
    }
    let fuzzer = build()?;
    let directory = workspace::fuzzing_dir()?;
    let corpus = workspace::root()?.join(CORPUS);
    let found = directory.join("found");
    fs::create_dir_all(&found).with_context(|| format!("cannot make the directory {}", found.display()))?;

    let mut command = Command::new(&fuzzer);
    command
        .arg(format!("-runs={}", args.inputs))
        .arg(format!("-max_total_time={}", args.seconds.unwrap_or(0)))
        // The eBPF programs copy no more of a message.
        .arg(format!("-max_len={}", AnswerDetail::LONG))
        .arg(format!("-timeout={HANG_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", directory.display()))
        .arg("-print_final_stats=1")
        .args([&found, &corpus]);
    let log = directory.join("fuzz.log");
    let started = Instant::now();
    if let Err(failed) = exec::logged(&mut command, &format!("fuzzing with {} inputs", args.inputs), &log)? {
        let Some(failure) = failure(&failed.output) else { return Err(failed.into_error(FUZZER, &log)) };
        bail!("{failure}\nto see it again: {} FILE\nmore is in {}", fuzzer.display(), log.display());
    }
    let seconds = started.elapsed().as_secs_f64();
    let output = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    println!("{}", Tried::read(&output, seconds)?.line());
    if args.keep { keep(&fuzzer, &corpus, &found, &directory) } else { Ok(()) }
}

fn build() -> Result<PathBuf> {
    let mut command = Command::new(workspace::cargo());
    command.args(["rustc", cargo::MESSAGES, "--package", "netcause-fuzz", "--bin", FUZZER]);
    // Only this crate is instrumented: the parser is compiled as a part of it.
    command.args(["--profile", "fuzz", "--features", "engine", "--"]).args(COVERAGE);
    cargo::program(&cargo::run(&mut command, FUZZER)?, FUZZER)
}

/// Adds the smallest of `found` that reach more than `corpus` does.
fn keep(fuzzer: &Path, corpus: &Path, found: &Path, directory: &Path) -> Result<()> {
    let mut command = Command::new(fuzzer);
    command.arg("-set_cover_merge=1").args([corpus, found]);
    exec::quietly(&mut command, "merging what was found into the corpus", &directory.join("merge.log"))
}

/// What libFuzzer prints about an input that failed: the panic if there was one, its error, and the file with the input.
fn failure(output: &str) -> Option<String> {
    let after = |line: &str, mark: &str| line.find(mark).map(|at| line[at..].trim().to_owned());
    let mut lines = output.lines();
    let mut parts = Vec::new();
    while let Some(line) = lines.next() {
        if line.contains("panicked at ") {
            parts.extend([line.trim(), lines.next().unwrap_or_default().trim()].map(str::to_owned));
        }
        parts.extend(after(line, "ERROR: libFuzzer: "));
        if let Some(place) = after(line, "Test unit written to ") {
            parts.push(place);
            return Some(parts.join("\n"));
        }
    }
    None
}

/// The statistics that libFuzzer prints at its end.
#[derive(PartialEq, Debug)]
struct Tried {
    inputs: u64,
    seconds: f64,
    slowest_seconds: u64,
    peak_mib: u64,
}

impl Tried {
    fn read(output: &str, seconds: f64) -> Result<Self> {
        let number = |name: &str| -> Result<u64> {
            let found = output.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            let text = found.with_context(|| format!("{FUZZER} did not print its {name}"))?;
            text.trim_start_matches(':').trim().parse().with_context(|| format!("{name} of {FUZZER}"))
        };
        Ok(Self {
            inputs: number("number_of_executed_units")?,
            seconds,
            slowest_seconds: number("slowest_unit_time_sec")?,
            peak_mib: number("peak_rss_mb")?,
        })
    }

    fn line(&self) -> String {
        let milliseconds = Duration::from_secs_f64(self.seconds).as_millis().max(1);
        let speed = u128::from(self.inputs) * 1000 / milliseconds;
        format!(
            "{FUZZER}: {} inputs in {:.1} s ({speed} a second), no panic, no hang (limit {HANG_SECONDS} s, slowest {} s), \
             {} MiB at most (limit {MEMORY_MIB} MiB)",
            self.inputs, self.seconds, self.slowest_seconds, self.peak_mib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read() {
        let output = "#8 DONE cov: 1\nstat::number_of_executed_units: 3000\nstat::average_exec_per_sec:     0\n\
                      stat::new_units_added:          0\nstat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              31\n";
        let tried = Tried::read(output, 1.5).unwrap();
        assert_eq!(tried, Tried { inputs: 3000, seconds: 1.5, slowest_seconds: 0, peak_mib: 31 });
        assert!(tried.line().starts_with("fuzz-dns: 3000 inputs in 1.5 s (2000 a second), no panic"));
        assert!(Tried::read("stat::peak_rss_mb: x\n", 1.0).is_err());
    }

    #[test]
    fn a_failure_is_a_few_lines() {
        let output = "#3 NEW\n\nthread '<unnamed>' (1) panicked at dns.rs:1:2:\nno way\nstack backtrace:\n\
                      ==4== ERROR: libFuzzer: deadly signal\nMS: 1\n\
                      artifact_prefix='/a b/'; Test unit written to /a b/crash-12\nBase64: AA==\n";
        let lines = "thread '<unnamed>' (1) panicked at dns.rs:1:2:\nno way\n\
                    ERROR: libFuzzer: deadly signal\nTest unit written to /a b/crash-12";
        assert_eq!(failure(output).as_deref(), Some(lines));
        assert_eq!(failure("Done 5 runs\n"), None);
    }
}
