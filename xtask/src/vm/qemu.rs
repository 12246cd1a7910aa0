//! Boots one VM and reads its output.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, tools::unpacked};

/// Memory of a VM. Scenarios that run at the same time have an agent each: 900 MiB of them at most on the newest kernel.
const MEMORY_MIB: u32 = 2048;

/// How instructions become time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Clock {
    /// As fast as the host can.
    Wall,
    /// One guest instruction is one nanosecond: run times of programs are instruction counts that repeat.
    Instructions,
}

impl Clock {
    /// Virtual processors: counting instructions needs exactly one.
    const fn cpus(self) -> u32 {
        match self {
            Self::Wall => 2,
            Self::Instructions => 1,
        }
    }
}

/// A VM to boot.
pub(super) struct Machine {
    /// The compressed kernel.
    pub kernel: PathBuf,
    /// The first root file system.
    pub image: PathBuf,
    /// Where the kernel's own messages go.
    pub kernel_log: PathBuf,
    /// How instructions become time.
    pub clock: Clock,
}

/// What a VM of several is connected to.
pub(super) struct Wiring {
    /// The socket of the serial port.
    pub control: PathBuf,
    /// The socket of the network card.
    pub here: PathBuf,
    /// The socket that it sends frames to.
    pub there: PathBuf,
    /// The last byte of its hardware address.
    pub number: u8,
    /// The port of loopback that leads to the agent, over a second network card.
    pub scraped: Option<u16>,
}

/// What a kernel prints that has met a breakpoint where none is any more: it patches its own code while it runs, and an emulator
/// before 8.1 may translate it meanwhile ("accel/tcg: Always lock pages before translation", deba78709ae8). Rare: once in
/// hours. Debian 12 has 7.2.
const TRANSLATORS_FAULT: &str = "int3: 0000 [#";

/// How a VM's job ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The job's exit code; `None` when the VM was stopped before it had one, with the reason in `problem`.
    pub code: Option<i32>,
    /// What went wrong with the VM itself.
    pub problem: Option<String>,
    /// The kernel died of [`TRANSLATORS_FAULT`].
    pub is_translators_fault: bool,
    /// Everything the job printed.
    pub output: String,
    /// From the start of the emulator to the first line of the job.
    pub boot: Duration,
    /// From the start of the emulator to the end.
    pub total: Duration,
}

impl Machine {
    fn command(&self) -> Command {
        // setpriv becomes the emulator, and the kernel kills that when xtask is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.arg(unpacked::find(unpacked::EMULATOR).unwrap_or_else(|| unpacked::EMULATOR.into()));
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        // Without the fifth level of page tables, which every emulated memory access that misses the TLB would walk.
        command.args(["-cpu", "max,la57=off"]);
        match self.clock {
            Clock::Wall if kvm() => command.args(["-accel", "kvm"]),
            Clock::Wall => command.args(["-accel", "tcg,thread=multi"]),
            Clock::Instructions => {
                command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"])
            }
        };
        command.arg("-m").arg(MEMORY_MIB.to_string()).arg("-smp").arg(self.clock.cpus().to_string());
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.image);
        // Mitigations cost an emulated processor much and protect nothing here. The emulator's timer needs no check.
        let mut parameters = "console=ttyS0 panic=-1 quiet loglevel=5 mitigations=off no_timer_check \
                              random.trust_cpu=on 8250.nr_uarts=4 printk.time=1"
            .to_owned();
        if self.clock == Clock::Instructions {
            parameters.push_str(" nosmp tsc=reliable");
        }
        command.arg("-append").arg(parameters);
        command.arg("-serial").arg(format!("file:{}", self.kernel_log.display()));
        command
    }

    /// Runs the job, passes each of its lines to `on_line`, and ends the VM after `limit`.
    ///
    /// `mark` begins the two lines that frame the job's output.
    pub(super) fn run(&self, mark: &str, limit: Duration, mut on_line: impl FnMut(&str)) -> Result<Ended> {
        let started = Instant::now();
        let mut command = self.command();
        command.args(["-serial", "stdio"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Emulator(command.spawn().map_err(not_started)?);
        let lines = child.lines()?;
        let mut ended = Ended {
            code: None,
            problem: None,
            is_translators_fault: false,
            output: String::new(),
            boot: Duration::ZERO,
            total: Duration::ZERO,
        };
        loop {
            let line = match lines.recv_timeout(limit.saturating_sub(started.elapsed())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    ended.problem = Some(format!("the VM was stopped: it ran for {} s", limit.as_secs()));
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    ended.problem = Some(format!("the VM ended by itself{}", child.messages()));
                    break;
                }
            };
            match line.strip_prefix(mark).map(|rest| rest.split_whitespace().collect::<Vec<_>>()).as_deref() {
                Some(["begin", ..]) => ended.boot = started.elapsed(),
                Some(["end", code]) => {
                    ended.code = code.parse().ok();
                    break;
                }
                _ => {
                    on_line(&line);
                    ended.output.push_str(&line);
                    ended.output.push('\n');
                }
            }
        }
        ended.total = started.elapsed();
        if ended.problem.is_some() {
            let kernel = fs::read(&self.kernel_log).unwrap_or_default();
            let kernel = String::from_utf8_lossy(&kernel);
            ended.is_translators_fault = !kvm() && kernel.contains(TRANSLATORS_FAULT);
            let kernel = exec::tail(&kernel, 20);
            ended.output.push_str(&format!(
                "--- the kernel's last lines ({}):\n{kernel}\n",
                self.kernel_log.display()
            ));
        }
        Ok(ended)
    }

    /// Boots it with a serial port that is a UNIX socket, which gives the job its input and takes its output, and a network card
    /// whose frames are datagrams between two UNIX sockets.
    pub(super) fn start(&self, wiring: &Wiring) -> Result<Emulator> {
        let Wiring { control, here, there, number, scraped } = wiring;
        let mut command = self.command();
        command.arg("-serial").arg(format!("unix:{},server=on,wait=off", control.display()));
        command.arg("-netdev").arg(format!(
            "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            here.display(),
            there.display()
        ));
        // Every frame is as it is on a cable: no segment of 64 KiB, no checksum left to the card.
        command.arg("-device").arg(format!(
            "virtio-net-pci,netdev=wire,mac=52:54:00:77:00:{number:02x},romfile=,mrg_rxbuf=off,csum=off,gso=off,guest_csum=off,\
             guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"
        ));
        if let Some(port) = scraped {
            // tests/src/one_ended/node.rs has the address. Nothing else of the host is reached.
            command.args([
                "-netdev",
                &format!("user,id=scraped,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:9779"),
            ]);
            command.args(["-device", "virtio-net-pci,netdev=scraped,romfile="]);
        }
        command.stdin(Stdio::null());
        Ok(Emulator(command.spawn().map_err(not_started)?))
    }

    /// Connects the job to this terminal until the VM ends.
    pub(super) fn shell(&self) -> Result<()> {
        let mut command = self.command();
        command.args(["-chardev", "stdio,id=terminal,mux=on,signal=off", "-serial", "chardev:terminal"]);
        command.args(["-mon", "chardev=terminal"]);
        let status = command.status().map_err(not_started)?;
        if status.success() { Ok(()) } else { bail!("the emulator failed ({status})") }
    }
}

/// A running emulator, which does not outlive us.
pub(super) struct Emulator(Child);

impl Emulator {
    /// The lines of the second serial port as they come.
    fn lines(&mut self) -> Result<mpsc::Receiver<String>> {
        let stdout = self.0.stdout.take().context("the emulator's output cannot be read")?;
        // Bounded: a guest that prints faster than we read waits for us, as with any pipe.
        let (sender, lines) = mpsc::sync_channel(1024);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            while stdout.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                if sender.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Ok(lines)
    }

    /// The error messages of the emulator itself.
    fn messages(&mut self) -> String {
        let Some(stderr) = self.0.stderr.take() else { return String::new() };
        let lines: Vec<String> = BufReader::new(stderr).lines().map_while(Result::ok).collect();
        if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether the user selected hardware virtualisation (`NETCAUSE_VM_ACCEL=kvm`).
///
/// Not detected: inside cloud machines `/dev/kvm` can open, accept a VM and fail at its first instructions.
/// Emulation works everywhere.
fn kvm() -> bool {
    std::env::var_os("NETCAUSE_VM_ACCEL").is_some_and(|accel| accel == "kvm")
}

fn not_started(error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot start the emulator (setpriv of package util-linux)")
}

/// A log file of this name; makes the directory.
pub(super) fn log_file(directory: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory.join(format!("{name}.log")))
}
