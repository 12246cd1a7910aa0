//! `cargo xtask vm`: the lab inside virtual machines, one per kernel of the matrix.

mod cpio;
mod image;
mod kernel;
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
    results::{Outcome, Run},
    setup::{self, packages::Purpose},
    workspace,
};
use image::{Job, quoted};
use kernel::{Kernel, MATRIX, Series};
use qemu::{Clock, Machine};

/// After this a VM is stopped and its run has failed.
pub(crate) const LIMIT_SECONDS: u64 = 1800;

/// Modules that the lab's faults use; loaded at boot, so that parallel scenarios do not wait for them.
const MODULES: &str = "veth bridge dummy nf_tables nft_numgen nft_reject_inet nft_limit nft_ct nft_nat nft_redir nft_chain_nat \
                       nft_quota nft_counter nf_conntrack nf_conntrack_netlink sch_netem sch_tbf";

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

/// VMs at a time: as many as there are processors. The lab waits about half of its time, so that two VMs with two processors
/// each take four fifths of the time of one after the other on two cores; with more, scenarios run into their patience.
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
    setup::packages::ensure(&purposes)?;
    setup::unpacked::ensure(&purposes)?;
    let matrix = Matrix { series: select(&args.kernel)?, jobs: args.jobs.max(1), seconds: args.seconds };
    // A shell or a command may be wanted to look at a kernel when nothing of ours builds.
    let programs = match built() {
        Err(error) if args.shell || args.command.is_some() => {
            exec::say(format!("going on without the agent and the lab: {error:#}"));
            Vec::new()
        }
        built => built?,
    };
    let programs: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
    if args.shell {
        return matrix.shell(&programs);
    }
    let script = args.command.clone().unwrap_or_else(|| lab_script("run", &args.lab));
    let mut all_well = true;
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
        all_well &= run.is_good();
    }
    if all_well { Ok(()) } else { bail!("not every VM was content; see above") }
}

fn built() -> Result<Vec<PathBuf>> {
    setup::toolchain()?;
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
    let (_, said) = Matrix { series: select(&[])?, jobs: 1, seconds: LIMIT_SECONDS }.fetch();
    let problems: Vec<String> = said.runs.into_iter().filter_map(|run| run.problem).collect();
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// The series that the user named, or all.
pub(crate) fn select(wishes: &[String]) -> Result<Vec<&'static Series>> {
    if wishes.is_empty() {
        return Ok(MATRIX.iter().collect());
    }
    let find = |wish: &String| {
        let names: Vec<&str> = MATRIX.iter().map(|series| series.name).collect();
        MATRIX
            .iter()
            .find(|series| series.is(wish))
            .with_context(|| format!("no kernel {wish} in the matrix: it has {}", names.join(", ")))
    };
    wishes.iter().map(find).collect()
}

/// Some kernels, to be booted.
pub(crate) struct Matrix {
    /// Which.
    pub series: Vec<&'static Series>,
    /// How many at a time.
    pub jobs: usize,
    /// How long each may take.
    pub seconds: u64,
}

/// What a matrix said.
pub(crate) struct Said {
    /// One run for each kernel, and for each that should have been there and was not.
    pub runs: Vec<Run>,
    /// What to say about optional kernels that are not to be had.
    pub notes: Vec<String>,
}

impl Matrix {
    /// The kernels that are to be had, and what to say of the others.
    fn fetch(&self) -> (Vec<Kernel>, Said) {
        let mut kernels = Vec::new();
        let mut said = Said { runs: Vec::new(), notes: Vec::new() };
        for series in &self.series {
            match series.fetch() {
                Ok(kernel) => kernels.push(kernel),
                Err(error) if series.optional => {
                    let note = format!(
                        "the kernel {} is not to be had here and was left out: {error:#}",
                        series.name
                    );
                    exec::say(&note);
                    said.notes.push(note);
                }
                Err(error) => said.runs.push(Run::broken(series.name, format!("{error:#}"))),
            }
        }
        (kernels, said)
    }

    /// Runs a script on each kernel and reads what tests it reports.
    ///
    /// # Errors
    ///
    /// When no image can be made; what happens on one kernel is in its [`Run`].
    pub(crate) fn run(&self, programs: &[&Path], script: &str) -> Result<Said> {
        let (kernels, mut said) = self.fetch();
        let workshop = Workshop::new(programs)?;
        let next = AtomicUsize::new(0);
        let finished = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(kernels.len()) {
                scope.spawn(|| {
                    while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let run = workshop
                            .lab(kernel, script, self.seconds)
                            .unwrap_or_else(|error| Run::broken(&kernel.release, format!("{error:#}")));
                        finished.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                    }
                });
            }
        });
        said.runs.extend(finished.into_inner().unwrap_or_else(PoisonError::into_inner));
        said.runs.sort_by_key(|run| kernels.iter().position(|kernel| kernel.release == run.place));
        Ok(said)
    }

    fn shell(&self, programs: &[&Path]) -> Result<()> {
        // With every kernel selected nobody was named: the one most people have.
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
        sweep(&workspace::vm_dir()?);
        let directory = workspace::vm_dir()?.join(format!("run-{}", process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let workshop = Self { base: directory.join("base.cpio"), directory };
        image::base(&workshop.base, programs)?;
        exec::say(format!("made the VMs' image in {}", exec::seconds(started)));
        Ok(workshop)
    }

    /// The image for one kernel and job.
    fn image(&self, kernel: &Kernel, script: &str, mark: &str, seconds: u64, shell: bool) -> Result<PathBuf> {
        let path = self.directory.join(format!("{}.cpio", kernel.name));
        let modules = image::modules(kernel)?;
        let shell = if shell { "1" } else { "" };
        let settings = vec![
            ("NETCAUSE_VM_MARK", mark.to_owned()),
            ("NETCAUSE_VM_MODULES", MODULES.to_owned()),
            ("NETCAUSE_VM_SECONDS", seconds.to_string()),
            ("NETCAUSE_VM_SHELL", shell.to_owned()),
        ];
        image::assemble(&path, &[&self.base, &modules], &Job { command: script.to_owned(), settings })?;
        Ok(path)
    }

    fn lab(&self, kernel: &Kernel, script: &str, seconds: u64) -> Result<Run> {
        let mark = mark();
        let image = self.image(kernel, script, &mark, seconds, false)?;
        let kernel_log = qemu::log_file(&workspace::vm_dir()?.join("logs"), kernel.name)?;
        let machine = Machine {
            kernel: &kernel.image,
            image: &image,
            kernel_log: &kernel_log,
            clock: Clock::Wall,
            cpus: 2,
        };
        exec::say(format!("kernel {}: booting {}", kernel.name, kernel.release));
        let name = kernel.name;
        let ended = machine.run(&mark, Duration::from_secs(seconds), |line| {
            if !line.is_empty() {
                eprintln!("[{name}] {line}");
            }
        })?;
        exec::say(format!(
            "kernel {name}: ended after {:.1} s, of which {:.1} s booting",
            ended.total.as_secs_f64(),
            ended.boot.as_secs_f64()
        ));
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
        let mark = mark();
        // Virtual seconds pass at another speed than ours: the guest's own limit must not be the one that ends it.
        let image = self.image(kernel, script, &mark, seconds.saturating_mul(100), false)?;
        let kernel_log = qemu::log_file(&workspace::vm_dir()?.join("logs"), "bench")?;
        let machine = Machine {
            kernel: &kernel.image,
            image: &image,
            kernel_log: &kernel_log,
            clock: Clock::Instructions,
            cpus: 1,
        };
        exec::say(format!("booting {}, one instruction a nanosecond", kernel.release));
        let ended = machine.run(&mark, Duration::from_secs(seconds), |line| println!("{line}"))?;
        exec::say(format!("ended after {:.1} s", ended.total.as_secs_f64()));
        match (ended.problem, ended.code) {
            (Some(problem), _) => bail!("{problem}\n{}", exec::tail(&ended.output, 25)),
            (None, Some(0)) => Ok(()),
            (None, code) => bail!("the benchmark ended with {code:?}; its output is above"),
        }
    }

    fn shell(&self, kernel: &Kernel) -> Result<()> {
        // Nobody stops a shell after some minutes.
        let image = self.image(kernel, &lab_script("run", &[]), &mark(), 7 * 24 * 3600, true)?;
        let kernel_log = qemu::log_file(&workspace::vm_dir()?.join("logs"), "shell")?;
        let machine = Machine {
            kernel: &kernel.image,
            image: &image,
            kernel_log: &kernel_log,
            clock: Clock::Wall,
            cpus: 2,
        };
        machine.shell()
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Removes what killed calls of xtask left: images are large.
fn sweep(directory: &Path) {
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

/// What begins the lines that frame a job's output; no test prints it by chance.
fn mark() -> String {
    format!("@netcause-vm-{}@", process::id())
}
