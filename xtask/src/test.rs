//! `cargo xtask test`: runs every test and prints one report.

mod report;

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo::Profile,
    deb, exec, image,
    results::{self, Counts, Run},
    ship,
    tools::{self, packages::Purpose},
    vm::{self, Matrix, Programs},
    workspace,
};
use report::Report;

/// Exit codes of `netcause check` for a machine that cannot run the agent; they are no failures.
const NOT_PERMITTED: i32 = 77;
const NOTHING_CAN_RUN: i32 = 69;

/// How the names of scenarios begin that install packages.
const PACKAGES: &str = "package::";

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the virtual machines
    #[arg(long)]
    no_vm: bool,
    /// Only tests and scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Only this kernel of the matrix: 5.10, 6.1, 6.12, newest (repeat for more)
    #[arg(long, value_name = "KERNEL", conflicts_with = "no_vm")]
    kernel: Vec<String>,
}

/// Runs all tests and prints the report.
pub(crate) fn command(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let series = vm::select(&args.kernel)?;
    tools::everything(!args.no_vm)?;
    let unit = unit_tests(args.filter.as_deref())?;
    let programs = Programs::build(Profile::Dev)?;
    let mut report =
        Report { unit, scenarios: list(&programs.lab, args.filter.as_deref())?, ..Report::default() };
    native(&programs, args.filter.as_deref(), &mut report)?;
    if args.no_vm {
        report.notes.push("no VM was started (--no-vm)".to_owned());
    } else {
        let lab: Vec<String> = args.filter.iter().cloned().collect();
        let outermost = args.kernel.is_empty();
        let matrix = Matrix { series, jobs: vm::default_jobs(), seconds: vm::LIMIT_SECONDS, outermost };
        let results = matrix.run(&[&programs.agent, &programs.lab], &vm::lab_script("run", &lab))?;
        report.notes.extend(results.notes);
        report.runs.extend(results.runs);
    }
    print!("{}", report.text());
    exec::say(format!("all tests took {}", exec::seconds(started)));
    let counts = report.counts();
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The unit tests' sums. Failed tests are counted; a workspace that does not compile is an error.
fn unit_tests(filter: Option<&str>) -> Result<Counts> {
    exec::say("unit tests");
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args([
        "test",
        "--workspace",
        "--exclude",
        "netcause-ebpf",
        "--no-fail-fast",
    ]);
    command.args(filter);
    let (output, code) = tee(&mut command, "the unit tests")?;
    let counts = results::sums(&output);
    if code != Some(0) && counts.failed == 0 {
        bail!("the unit tests could not be run; cargo's messages are above");
    }
    Ok(counts)
}

/// The lab's scenarios.
fn list(lab: &Path, filter: Option<&str>) -> Result<Vec<String>> {
    let output =
        exec::output(Command::new(lab).args(["run", "--list"]).args(filter), "listing the scenarios")?;
    Ok(results::listed(&output))
}

/// The lab on this machine, if it can load the agent's programs.
fn native(programs: &Programs, filter: Option<&str>, report: &mut Report) -> Result<()> {
    const PLACE: &str = "this machine";
    exec::say("the lab on this machine");
    let check = Command::new(&programs.agent)
        .arg("check")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", programs.agent.display()))?;
    let table = String::from_utf8_lossy(&check.stdout);
    eprint!("{table}");
    match check.status.code() {
        Some(0) => {}
        Some(code @ (NOT_PERMITTED | NOTHING_CAN_RUN)) => {
            let why =
                if code == NOT_PERMITTED { "we are not permitted to load" } else { "it can run none of" };
            report.notes.push(format!(
                "no scenario ran on this machine: {why} the agent's programs (netcause check: exit code {code}); \
                 the VMs carry all scenarios"
            ));
            return Ok(());
        }
        _ => {
            let messages = String::from_utf8_lossy(&check.stderr);
            report
                .runs
                .push(Run::not_run(PLACE, format!("`netcause check` failed ({}): {messages}", check.status)));
            return Ok(());
        }
    }
    let started = Instant::now();
    let mut command = Command::new(&programs.lab);
    command.arg("run").args(filter).env("NETCAUSE_BIN", &programs.agent).env("PATH", path()?);
    if report.scenarios.iter().any(|name| name.starts_with(PACKAGES)) {
        command.envs(packages(&programs.agent)?);
    }
    let (output, code) = tee(&mut command, "the lab")?;
    report.runs.push(Run::parse(PLACE, &output, code, started.elapsed()));
    Ok(())
}

/// Makes the packages of this agent, and returns the variables that tell the lab where they are.
fn packages(agent: &Path) -> Result<[(&'static str, PathBuf); 2]> {
    let started = Instant::now();
    let directory = workspace::setup_dir()?.join("packages");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // A program of the tests is mostly line tables, which take long to compress.
    let program = directory.join("netcause");
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&program).arg(agent);
    let program = if exec::succeeds(&mut strip) { &program } else { agent };
    let origin = ship::Origin::of_clone()?;
    let (image, deb) = (directory.join("netcause.tar"), directory.join("netcause.deb"));
    ship::write(&image, &image::archive(program, &origin)?)?;
    ship::write(&deb, &deb::package(program, &origin)?)?;
    exec::say(format!("made the packages in {}", exec::seconds(started)));
    Ok([("NETCAUSE_IMAGE", image), ("NETCAUSE_DEB", deb)])
}

/// The search path with the programs that were unpacked for the lab, and the system directories.
pub(crate) fn path() -> Result<OsString> {
    let mut path = tools::unpacked::ensure(&[Purpose::Lab])?;
    match tools::envoy() {
        Ok(envoy) => path.extend(envoy),
        // It is for a few scenarios only, and from another server than all the rest.
        Err(error) => exec::say(format!("the scenarios with Envoy are skipped: {error:#}")),
    }
    path.extend(tools::resolvers()?);
    path.extend(tools::servers());
    path.extend(tools::telemetry());
    path.extend(tools::unpacked_browser());
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    path.extend(["/usr/sbin", "/sbin"].map(Into::into));
    env::join_paths(path).context("a directory on the search path has a colon in its name")
}

/// Runs a program, shows its output at once and returns it with the exit code.
fn tee(command: &mut Command, what: &str) -> Result<(String, Option<i32>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {what}"))?;
    let Some(stdout) = child.stdout.take() else { bail!("the output of {what} cannot be read") };
    let mut output = String::new();
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).with_context(|| format!("reading the output of {what}"))? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        output.push_str(&text);
        line.clear();
    }
    let status = child.wait().with_context(|| format!("waiting for {what}"))?;
    Ok((output, status.code()))
}
