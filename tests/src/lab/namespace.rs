//! Network namespaces without names: each is held open by a small process (`netcause-lab pause`) and vanishes with it.
//!
//! Commands enter one through a second hidden command, `netcause-lab in-pod`, which joins the cgroup and the namespace
//! and then becomes the command: every socket belongs to the pod from its creation.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::{linux::fs::MetadataExt as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use rustix::{
    fd::AsFd as _,
    mount::{MountPropagationFlags, mount_bind, mount_change},
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::{eventually, machine, process::Process};

/// The first steps of every child: ask to be killed with the lab, and join its cgroup.
#[derive(Args)]
pub(super) struct Tether {
    /// The lab's pid: this process dies with it
    #[arg(long)]
    parent: i32,
    /// The directory of the cgroup to join
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

impl Tether {
    pub(super) fn attach(&self) -> Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL)).context("asking to die with the lab")?;
        // A parent that died before the line above will send no signal.
        ensure!(getppid() == Pid::from_raw(self.parent), "the lab is gone");
        if let Some(cgroup) = &self.cgroup {
            fs::write(cgroup.join("cgroup.procs"), "0")
                .with_context(|| format!("joining cgroup {}", cgroup.display()))?;
        }
        Ok(())
    }
}

/// `netcause-lab pause`
#[derive(Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    tether: Tether,
}

impl Pause {
    #[expect(unsafe_code, reason = "unshare(2) is unsafe in rustix for the sake of CLONE_FILES")]
    pub(crate) fn run(self) -> Result<()> {
        self.tether.attach()?;
        // SAFETY: a new network namespace touches neither file descriptors nor memory, and this process has one thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("making a network namespace (needs root)")?;
        println!("ready");
        std::io::stdin().read_to_end(&mut Vec::new()).context("waiting for the lab")?;
        Ok(())
    }
}

/// `netcause-lab in-pod`
#[derive(Args)]
pub(crate) struct InPod {
    #[command(flatten)]
    tether: Tether,
    /// The pid whose network namespace to enter
    #[arg(long)]
    netns_pid: Option<u32>,
    /// A setting of the namespace to write first: net/ipv4/tcp_syn_retries=1
    #[arg(long)]
    sysctl: Vec<String>,
    /// Mount a directory over another one: /tmp/x:/etc
    #[arg(long)]
    over: Vec<String>,
    /// Wait until this address is reachable, by datagrams to a closed port
    #[arg(long)]
    reach: Option<IpAddr>,
    /// The command to become; without one, only write the settings
    #[arg(last = true)]
    command: Vec<String>,
}

impl InPod {
    pub(crate) fn run(self) -> Result<()> {
        self.tether.attach()?;
        if let Some(pid) = self.netns_pid {
            let path = format!("/proc/{pid}/ns/net");
            let namespace = File::open(&path).with_context(|| format!("opening {path}"))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("entering {path}"))?;
        }
        for setting in &self.sysctl {
            let (key, value) = setting.split_once('=').context("a setting without =")?;
            let (key, optional) = key.strip_prefix('?').map_or((key, false), |key| (key, true));
            let path = Path::new("/proc/sys").join(key);
            if !optional || path.exists() {
                fs::write(path, value).with_context(|| format!("setting {setting}"))?;
            }
        }
        if !self.over.is_empty() {
            mount_over(&self.over)?;
        }
        if let Some(address) = self.reach {
            reach(address).with_context(|| format!("reaching {address}"))?;
        }
        let Some((program, args)) = self.command.split_first() else { return Ok(()) };
        let error = Command::new(program).args(args).exec();
        bail!("starting {program}: {error}");
    }
}

/// Shows this process, and what it becomes, directories in place of others: `DIRECTORY:AT`.
#[expect(unsafe_code, reason = "unshare(2) is unsafe in rustix for the sake of CLONE_FILES")]
fn mount_over(over: &[String]) -> Result<()> {
    // SAFETY: a new mount namespace touches neither file descriptors nor memory, and this process has one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("making a mount namespace (needs root)")?;
    // Otherwise the machine would see the mount too.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("making mounts private")?;
    for wish in over {
        let (directory, at) = wish.split_once(':').context("a mount without a colon")?;
        mount_bind(directory, at).with_context(|| format!("mounting {wish}"))?;
    }
    Ok(())
}

/// Sends datagrams to a closed port until the answer comes (port unreachable), which shows that the address is reachable.
fn reach(address: IpAddr) -> Result<()> {
    let any =
        if address.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((address, 9))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    eventually("an answer", || {
        let answer = socket.send(&[0]).and_then(|_| socket.recv(&mut [0]));
        match answer {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            answer => bail!("{answer:?}"),
        }
    })
}

/// Connects from within another network namespace; the socket stays there.
pub(crate) fn connect_in(namespace: &File, to: SocketAddr) -> Result<TcpStream> {
    within(namespace, || Ok(TcpStream::connect(to)?)).with_context(|| format!("connecting to {to}"))
}

/// Works within another network namespace. Only a thread that ends with the work goes there too.
pub(crate) fn within<T: Send>(namespace: &File, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let there = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    };
    thread::scope(|scope| scope.spawn(there).join()).map_err(|_| anyhow!("panicked in another namespace"))?
}

/// A command line that starts `netcause-lab in-pod`; the caller adds the program and its arguments.
pub(crate) fn tethered(netns_pid: Option<u32>, cgroup: Option<&Path>, sysctls: &[String]) -> Result<Command> {
    let mut command = joining(netns_pid, cgroup)?;
    for setting in sysctls {
        command.arg("--sysctl").arg(setting);
    }
    command.arg("--");
    Ok(command)
}

/// As [`tethered`]; the caller adds further options, `--` and the program.
fn joining(netns_pid: Option<u32>, cgroup: Option<&Path>) -> Result<Command> {
    let mut command = Command::new(&machine()?.exe);
    command.arg("in-pod").arg("--parent").arg(std::process::id().to_string());
    if let Some(pid) = netns_pid {
        command.arg("--netns-pid").arg(pid.to_string());
    }
    if let Some(cgroup) = cgroup {
        command.arg("--cgroup").arg(cgroup);
    }
    Ok(command)
}

/// Every namespace of this lab, kept until its end: the kernel would give the inode number of one that is gone to the
/// next, and the agent uses the inode number as the name of traffic without a socket.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A network namespace of the lab.
pub(crate) struct Namespace {
    name: String,
    pause: Process,
    cgroup: Option<PathBuf>,
}

impl Namespace {
    /// A new, empty namespace; what runs in it belongs to `cgroup`.
    pub(crate) fn new(name: &str, cgroup: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(&machine()?.exe);
        command.arg("pause").arg("--parent").arg(std::process::id().to_string());
        if let Some(cgroup) = cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        let pause = Process::spawn(&format!("the namespace {name}"), &mut command)?;
        pause.wait_stdout("its namespace", |line| (line == "ready").then_some(()))?;
        let namespace = Self { name: name.to_owned(), pause, cgroup: cgroup.map(Path::to_owned) };
        HELD.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.open()?);
        Ok(namespace)
    }

    /// The pid that stands for the namespace in `ip link ... netns PID` and under `/proc`.
    pub(crate) fn pid(&self) -> u32 {
        self.pause.pid()
    }

    /// The namespace itself, for [`connect_in`].
    pub(crate) fn open(&self) -> Result<File> {
        let path = format!("/proc/{}/ns/net", self.pid());
        File::open(&path).with_context(|| format!("opening {path}"))
    }

    /// The inode number that names the namespace to the kernel.
    pub(crate) fn inode(&self) -> Result<u64> {
        let path = format!("/proc/{}/ns/net", self.pid());
        Ok(fs::metadata(&path).with_context(|| format!("reading {path}"))?.st_ino())
    }

    /// A command that will run in the namespace and its cgroup.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = tethered(Some(self.pid()), self.cgroup.as_deref(), &[])?;
        command.arg(program);
        Ok(command)
    }

    /// A command that will run in the namespace and another cgroup.
    pub(crate) fn command_in(&self, cgroup: &Path, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = tethered(Some(self.pid()), Some(cgroup), &[])?;
        command.arg(program);
        Ok(command)
    }

    /// As [`Self::command`], in another cgroup if there is one, with directories in place of others: `(directory, "/etc")`.
    pub(crate) fn command_over(
        &self,
        over: &[(&Path, &str)],
        cgroup: Option<&Path>,
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Result<Command> {
        let mut command = joining(Some(self.pid()), cgroup.or(self.cgroup.as_deref()))?;
        for (directory, at) in over {
            command.arg("--over").arg(format!("{}:{at}", directory.display()));
        }
        command.arg("--").arg(program);
        Ok(command)
    }

    /// Runs a command to its end; fails unless it succeeds.
    pub(crate) fn run(&self, program: &str, args: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(program)?;
        command.args(args);
        Process::run(program, &mut command, input)?
            .success()
            .with_context(|| format!("{program} {} in {}, given\n{input}", args.join(" "), self.name))
    }

    /// Waits until an address is reachable from the namespace.
    pub(crate) fn reach(&self, address: IpAddr) -> Result<()> {
        let mut command = joining(Some(self.pid()), None)?;
        command.arg("--reach").arg(address.to_string());
        Process::run("reach", &mut command, "")?.success().map(drop).with_context(|| self.name.clone())
    }

    /// Writes settings of this namespace, such as `net/ipv4/tcp_syn_retries=1`; with a `?` before it, only where this
    /// kernel has it.
    pub(crate) fn sysctl(&self, settings: &[&str]) -> Result<()> {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut command = tethered(Some(self.pid()), None, &settings)?;
        Process::run("setting", &mut command, "")?.success().map(drop)
    }

    /// A counter of `/proc/net/snmp` or `/proc/net/netstat` in this namespace, e.g. `("Tcp", "RetransSegs")`,
    /// `("TcpExt", "ListenDrops")` or `("Udp6", "RcvbufErrors")`.
    pub(crate) fn counter(&self, protocol: &str, name: &str) -> Result<u64> {
        counter_of(self.pid(), protocol, name)
    }

    /// Segments that the kernel says were retransmitted in this namespace.
    pub(crate) fn retransmitted(&self) -> Result<u64> {
        self.counter("Tcp", "RetransSegs")
    }

    /// Waits until the kernel has sent so many resets in this namespace.
    pub(crate) fn wait_outgoing_resets(&self, least: u64) -> Result<()> {
        eventually(&format!("{least} resets sent by {}", self.name), || {
            let sent = self.counter("Tcp", "OutRsts")?;
            ensure!(sent >= least, "{sent} so far");
            Ok(())
        })
    }

    /// Waits until no TCP connection of the namespace is alive: only listeners and TIME_WAIT are left.
    pub(crate) fn wait_quiet(&self) -> Result<()> {
        eventually(&format!("all connections of {} closed", self.name), || {
            for file in ["tcp", "tcp6"] {
                let path = format!("/proc/{}/net/{file}", self.pid());
                let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
                let alive: Vec<&str> = text.lines().skip(1).filter(|line| is_alive(line)).collect();
                ensure!(alive.is_empty(), "still there:\n{}", alive.join("\n"));
            }
            Ok(())
        })
    }
}

fn counter_of(process: u32, protocol: &str, name: &str) -> Result<u64> {
    for file in ["snmp", "netstat", "snmp6"] {
        let path = format!("/proc/{process}/net/{file}");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if let Some(value) = counter_in(&text, protocol, name) {
            return Ok(value);
        }
    }
    bail!("this kernel does not count {protocol} {name} for process {process}")
}

/// Reads the pairs of header and value lines of `/proc/net/snmp` and `/proc/net/netstat`, or the lines of
/// `/proc/net/snmp6`, which have both names in one: `Udp6RcvbufErrors`.
fn counter_in(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let plain = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    for (counter, value) in plain {
        if counter.strip_prefix(protocol) == Some(name) {
            return value.trim().parse().ok();
        }
    }
    let mut lines = text.lines().filter(|line| line.split(':').next() == Some(protocol));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|field| field == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// Whether a line of `/proc/net/tcp` is a connection: neither TIME_WAIT (06) nor CLOSE (07) nor LISTEN (0A).
fn is_alive(line: &str) -> bool {
    !matches!(line.split_whitespace().nth(3), Some("06" | "07" | "0A") | None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_protocol_and_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: ActiveOpens RetransSegs\nTcp: 7 9\n";
        assert_eq!(counter_in(text, "Tcp", "RetransSegs"), Some(9));
        assert_eq!(counter_in(text, "Ip", "B"), Some(2));
        assert_eq!(counter_in(text, "Tcp", "B"), None);
        assert_eq!(counter_in(text, "TcpExt", "B"), None);
        let v6 = "Udp6InDatagrams                 \t5\nUdp6RcvbufErrors                \t3\n";
        assert_eq!(counter_in(v6, "Udp6", "RcvbufErrors"), Some(3));
    }

    #[test]
    fn listeners_and_time_wait_are_not_alive() {
        let line = |state| format!("   0: 0300000A:1F90 00000000:0000 {state} 00000000:00000000 00:00000000");
        assert!(is_alive(&line("01")));
        assert!(is_alive(&line("04")));
        assert!(!is_alive(&line("06")));
        assert!(!is_alive(&line("0A")));
    }
}
