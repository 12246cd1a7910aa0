//! `cargo xtask vm`: the lab inside virtual machines, one per kernel of the matrix.

mod cpio;
mod image;
mod job;
mod kernel;
pub(crate) mod pair;
mod qemu;

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo::{self, Profile},
    exec,
    results::{self, Outcome, Run},
    tools::{self, packages::Purpose},
    workspace,
};
use image::{Job, quoted};
use job::{Stdin, VmJob};
use kernel::{Kernel, MATRIX, Series};
use qemu::{Clock, Ended, Machine};

/// After this a VM is stopped and its run has failed.
pub(crate) const LIMIT_SECONDS: u64 = 2400;

/// VMs that are started at most for one kernel, when the emulator is at fault that they end.
const BOOTS: u32 = 4;

/// Arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel: 5.10, 6.1, 6.12, newest (repeat for more)
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
    /// A shell inside instead of the lab (one kernel; 6.12 unless another is named)
    #[arg(long)]
    shell: bool,
    /// A shell command to run inside instead of the lab
    #[arg(long, value_name = "SCRIPT", conflicts_with = "shell")]
    command: Option<String>,
    /// VMs at a time
    #[arg(long, default_value_t = default_jobs())]
    jobs: usize,
    /// Seconds after which a VM is stopped
    #[arg(long, default_value_t = LIMIT_SECONDS)]
    seconds: u64,
    /// Arguments of `netcause-lab run`, after `--`
    #[arg(last = true)]
    lab: Vec<String>,
}

/// VMs at a time: as many as there are processors. The lab waits about half of its time, so on two cores two VMs with two
/// processors each need four fifths of the time of one after the other; with more VMs, scenarios time out.
pub(crate) fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MATRIX.len())
}

/// The programs under test.
pub(crate) struct Programs {
    /// The agent.
    pub agent: PathBuf,
    /// The lab.
    pub lab: PathBuf,
}

impl Programs {
    /// Builds agent and lab.
    pub(crate) fn build(profile: Profile) -> Result<Self> {
        let built = cargo::build(&["netcause", "netcause-lab"], profile)?;
        Ok(Self { agent: cargo::program(&built, "netcause")?, lab: cargo::program(&built, "netcause-lab")? })
    }
}

/// Runs `cargo xtask vm`.
pub(crate) fn command(args: &Args) -> Result<()> {
    let purposes = [Purpose::Vm, Purpose::Lab];
    tools::packages::ensure(&purposes)?;
    tools::unpacked::ensure(&purposes)?;
    let matrix = Matrix {
        series: select(&args.kernel)?,
        jobs: args.jobs.max(1),
        seconds: args.seconds,
        outermost: false,
    };
    // A shell or a command can inspect a kernel without the agent and the lab.
    let programs = match built() {
        Err(error) if args.shell || args.command.is_some() => {
            exec::say(format!("continuing without the agent and the lab: {error:#}"));
            Vec::new()
        }
        built => built?,
    };
    let programs: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
    if args.shell {
        return matrix.shell(&programs);
    }
    let script = args.command.clone().unwrap_or_else(|| lab_script("run", &args.lab));
    let mut all_passed = true;
    for run in matrix.run(&programs, &script)?.runs {
        let problem = run.problem.as_deref().map(|problem| format!("; {problem}")).unwrap_or_default();
        exec::say(format!(
            "kernel {}: {} passed, {} failed, {} skipped in {:.0} s{problem}",
            run.place,
            run.count(Outcome::Passed),
            run.count(Outcome::Failed),
            run.count(Outcome::Skipped),
            run.took.as_secs_f64()
        ));
        all_passed &= run.is_good();
    }
    if all_passed { Ok(()) } else { bail!("tests failed in at least one VM; the lines above name them") }
}

fn built() -> Result<Vec<PathBuf>> {
    tools::toolchain()?;
    let programs = Programs::build(Profile::Dev)?;
    Ok(vec![programs.agent, programs.lab])
}

/// The shell command that runs a command of the lab (`run`, `bench`) with these arguments.
pub(crate) fn lab_script(command: &str, args: &[String]) -> String {
    let args: String = args.iter().map(|arg| format!(" {}", quoted(arg))).collect();
    let bin = image::BIN;
    format!("export NETCAUSE_LAB_ENV=vm NETCAUSE_BIN={bin}/netcause\n{bin}/netcause-lab {command}{args}\n")
}

/// Fetches every kernel of the matrix.
pub(crate) fn fetch_kernels() -> Result<()> {
    let (_, results) =
        Matrix { series: select(&[])?, jobs: 1, seconds: LIMIT_SECONDS, outermost: false }.fetch();
    let problems: Vec<String> = results.runs.into_iter().filter_map(|run| run.problem).collect();
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// The series that the user named, or all.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Series>> {
    if names.is_empty() {
        return Ok(MATRIX.iter().collect());
    }
    let find = |name: &String| {
        let known: Vec<&str> = MATRIX.iter().map(|series| series.name).collect();
        MATRIX
            .iter()
            .find(|series| series.is(name))
            .with_context(|| format!("no kernel {name} in the matrix: it has {}", known.join(", ")))
    };
    names.iter().map(find).collect()
}

/// Kernels to boot.
pub(crate) struct Matrix {
    /// The series of the matrix.
    pub series: Vec<&'static Series>,
    /// VMs at a time.
    pub jobs: usize,
    /// Seconds after which a VM is stopped.
    pub seconds: u64,
    /// Whether scenarios that are the same on every kernel run on the oldest and the newest alone.
    pub outermost: bool,
}

/// The results of a matrix.
pub(crate) struct Results {
    /// One run for each kernel, also for a required one that could not be fetched.
    pub runs: Vec<Run>,
    /// One line for each optional kernel that could not be fetched.
    pub notes: Vec<String>,
}

impl Matrix {
    /// The kernels that could be fetched, and results for the others.
    fn fetch(&self) -> (Vec<Kernel>, Results) {
        let mut kernels = Vec::new();
        let mut results = Results { runs: Vec::new(), notes: Vec::new() };
        for series in &self.series {
            match series.fetch() {
                Ok(kernel) => kernels.push(kernel),
                Err(error) if series.optional => {
                    let note =
                        format!("the kernel {} is not available and was left out: {error:#}", series.name);
                    exec::say(&note);
                    results.notes.push(note);
                }
                Err(error) => results.runs.push(Run::not_run(series.name, format!("{error:#}"))),
            }
        }
        (kernels, results)
    }

    /// Runs a script on each kernel and reads the tests in its output.
    ///
    /// # Errors
    ///
    /// When no image can be made; what fails on one kernel is in its [`Run`].
    pub(crate) fn run(&self, programs: &[&Path], script: &str) -> Result<Results> {
        let (kernels, mut results) = self.fetch();
        let workshop = Workshop::new(programs)?;
        // Those that run most come first: last, one of them would run alone for minutes.
        let mut order: Vec<&Kernel> = kernels.iter().collect();
        order.sort_by_key(|kernel| self.is_between(kernel, &kernels));
        let next = AtomicUsize::new(0);
        let finished = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(kernels.len()) {
                scope.spawn(|| {
                    while let Some(kernel) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let run = workshop
                            .lab(kernel, &self.script(script, kernel, &kernels), self.seconds)
                            .unwrap_or_else(|error| Run::not_run(&kernel.release, format!("{error:#}")));
                        finished.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                    }
                });
            }
        });
        results.runs.extend(finished.into_inner().unwrap_or_else(PoisonError::into_inner));
        results.runs.sort_by_key(|run| kernels.iter().position(|kernel| kernel.release == run.place));
        Ok(results)
    }

    /// The script, with what it has to know about its kernel's place among those that run.
    fn script(&self, script: &str, kernel: &Kernel, all: &[Kernel]) -> String {
        let place = if self.is_between(kernel, all) { "between" } else { "outermost" };
        format!("export NETCAUSE_LAB_KERNEL={place}\n{script}")
    }

    /// Whether scenarios that are the same on every kernel are left out on this one.
    fn is_between(&self, kernel: &Kernel, all: &[Kernel]) -> bool {
        let is = |other: Option<&Kernel>| other.is_some_and(|other| other.release == kernel.release);
        self.outermost && !is(all.first()) && !is(all.last())
    }

    fn shell(&self, programs: &[&Path]) -> Result<()> {
        // With every kernel selected none was named: Debian's stable one.
        let series = if let [one] = self.series[..] { one } else { select(&["6.12".to_owned()])?[0] };
        let kernel = series.fetch()?;
        let workshop = Workshop::new(programs)?;
        workshop.shell(&kernel)
    }

    /// Runs a script on the first kernel under [`Clock::Instructions`] and prints what it prints.
    pub(crate) fn count(&self, programs: &[&Path], script: &str) -> Result<()> {
        let [series, ..] = self.series[..] else { bail!("no kernel to count on") };
        let kernel = series.fetch()?;
        Workshop::new(programs)?.count(&kernel, script, self.seconds)
    }
}

/// A directory for one call of xtask, with the image's common part; removed at the end.
struct Workshop {
    directory: PathBuf,
    base: PathBuf,
}

impl Workshop {
    fn new(programs: &[&Path]) -> Result<Self> {
        let started = Instant::now();
        remove_leftovers(&workspace::vm_dir()?);
        let directory = workspace::vm_dir()?.join(format!("run-{}", process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let workshop = Self { base: directory.join("base.cpio"), directory };
        image::base(&workshop.base, programs)?;
        exec::say(format!("made the VMs' image in {}", exec::seconds(started)));
        Ok(workshop)
    }

    /// The machine for one job, with its image.
    fn machine(&self, kernel: &Kernel, job: &VmJob<'_>) -> Result<Machine> {
        let image = self.directory.join(format!("{}.cpio", job.log));
        let modules = image::modules(kernel)?;
        let content = Job { command: job.script.to_owned(), settings: job.settings() };
        image::assemble(&image, &[&self.base, &modules], &content)?;
        Ok(Machine {
            kernel: kernel.image.clone(),
            image,
            kernel_log: qemu::log_file(&workspace::vm_dir()?.join("logs"), job.log)?,
            clock: job.clock,
        })
    }

    fn lab(&self, kernel: &Kernel, script: &str, seconds: u64) -> Result<Run> {
        let name = kernel.name;
        let boot = |done: &[String]| {
            let script = format!("export NETCAUSE_LAB_DONE={}\n{script}", done.join(","));
            let (script, clock, stdin) = (&*script, Clock::Wall, Stdin::Nothing);
            let job = VmJob { script, guest_seconds: seconds, log: name, clock, stdin };
            let machine = self.machine(kernel, &job)?;
            exec::say(format!("kernel {name}: booting {}", kernel.release));
            let ended = machine.run(&job::mark(), Duration::from_secs(seconds), |line| {
                if !line.is_empty() {
                    eprintln!("[{name}] {line}");
                }
            })?;
            exec::say(format!(
                "kernel {name}: ended after {:.1} s, of which {:.1} s booting",
                ended.total.as_secs_f64(),
                ended.boot.as_secs_f64()
            ));
            anyhow::Ok(ended)
        };
        let mut ended = boot(&[])?;
        for _ in 1..BOOTS {
            if !ended.is_translators_fault {
                break;
            }
            let done = results::passed(&ended.output);
            exec::say(format!(
                "kernel {name}: the kernel died of a fault of the emulator, at an instruction that was replaced while it ran; {} tests had passed, \
                 and the others run in another VM; the last lines of this one:\n{}",
                done.len(),
                exec::tail(&ended.output, 25)
            ));
            let rest = boot(&done)?;
            let output = format!("{}\n{}", ended.output, rest.output);
            ended = Ended { output, boot: ended.boot, total: ended.total + rest.total, ..rest };
        }
        let mut run = Run::parse(&kernel.release, &ended.output, ended.code, ended.total);
        if let Some(problem) = ended.problem {
            run.problem = Some(problem);
        }
        if run.problem.is_some() && run.failures.is_empty() {
            run.failures = exec::tail(&ended.output, 40);
        }
        Ok(run)
    }

    fn count(&self, kernel: &Kernel, script: &str, seconds: u64) -> Result<()> {
        // Virtual seconds pass at another speed than the host's: the guest's own limit must not end the job.
        let guest_seconds = seconds.saturating_mul(100);
        let job =
            VmJob { script, guest_seconds, log: "bench", clock: Clock::Instructions, stdin: Stdin::Nothing };
        let machine = self.machine(kernel, &job)?;
        exec::say(format!("booting {}, one instruction a nanosecond", kernel.release));
        let ended = machine.run(&job::mark(), Duration::from_secs(seconds), |line| println!("{line}"))?;
        exec::say(format!("ended after {:.1} s", ended.total.as_secs_f64()));
        match (ended.problem, ended.code) {
            (Some(problem), _) => bail!("{problem}\n{}", exec::tail(&ended.output, 25)),
            (None, Some(0)) => Ok(()),
            (None, code) => bail!("the benchmark ended with {code:?}; its output is above"),
        }
    }

    fn shell(&self, kernel: &Kernel) -> Result<()> {
        let script = lab_script("run", &[]);
        // A week: a person ends a shell.
        let guest_seconds = 7 * 24 * 3600;
        let job =
            VmJob { script: &script, guest_seconds, log: "shell", clock: Clock::Wall, stdin: Stdin::Shell };
        self.machine(kernel, &job)?.shell()
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Removes the directories of calls that were killed: images are large.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(pid) = name.strip_prefix("run-")
            && !Path::new("/proc").join(pid).exists()
        {
            drop(fs::remove_dir_all(&path));
        }
    }
}
