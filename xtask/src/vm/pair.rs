//! `cargo xtask one-ended`: two VMs as two nodes, and the lab on this machine between them.
//!
//! Each VM has a network card without offloads, whose frames are datagrams of UNIX sockets. The program of the lab that is the path
//! between the nodes passes them on, or does not. It drives the VMs over a serial port each, so no fault reaches what it says.

use std::{net::TcpListener, path::PathBuf, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Programs, Workshop, image,
    job::{Stdin, VmJob},
    kernel::Kernel,
    qemu::{Clock, Emulator, Wiring},
    select,
};
use crate::{
    cargo::Profile,
    exec, test,
    tools::{self, packages::Purpose},
};

/// The name of the network card in the VMs.
const DEVICE: &str = "eth0";

/// Arguments of `cargo xtask one-ended`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel of the client's node, and that of the server's (6.12 and newest unless they are named)
    #[arg(long, value_name = "KERNEL", num_args = 2)]
    kernels: Vec<String>,
    /// Seconds after which everything is stopped
    #[arg(long, default_value_t = 5400)]
    seconds: u64,
    /// Instead of the cases: a Prometheus scrapes both agents while the path loses packets, and its rules must name the pair of nodes
    #[arg(long)]
    attribution: bool,
    /// Arguments of `netcause-lab one-ended`, or of `netcause-lab attribution`, after `--`
    #[arg(last = true)]
    lab: Vec<String>,
}

/// Runs `cargo xtask one-ended`.
pub(crate) fn command(args: &Args) -> Result<()> {
    let purposes = [Purpose::Vm, Purpose::Lab];
    tools::packages::ensure(&purposes)?;
    tools::unpacked::ensure(&purposes)?;
    tools::toolchain()?;
    let programs = Programs::build(Profile::Dev)?;
    let names = match &args.kernels[..] {
        [] => ["6.12", "newest"].map(str::to_owned),
        [a, b] => [a.clone(), b.clone()],
        _ => bail!("a kernel for each of two VMs"),
    };
    let series = select(&names)?;
    let workshop = Workshop::new(&[programs.agent.as_path(), programs.lab.as_path()])?;
    let mut running = Vec::new();
    let mut lab = Command::new("timeout");
    lab.arg(args.seconds.to_string()).arg(&programs.lab);
    lab.arg(if args.attribution { "attribution" } else { "one-ended" }).arg("--control");
    let mut wirings = [wiring(&workshop, 'a', 1), wiring(&workshop, 'b', 2)];
    if args.attribution {
        for wiring in &mut wirings {
            wiring.scraped = Some(free_port()?);
        }
        lab.env("PATH", test::path()?);
    }
    lab.args(wirings.iter().map(|wiring| &wiring.control)).arg("--wire");
    for (wiring, series) in wirings.iter().zip(series) {
        let kernel = series.fetch()?;
        exec::say(format!("kernel {}: booting {}", kernel.name, kernel.release));
        running.push(boot(&workshop, &kernel, wiring, args.seconds)?);
        lab.arg(format!("socket:{}:{}", wiring.there.display(), wiring.here.display()));
    }
    if args.attribution {
        lab.arg("--scrape");
        lab.args(wirings.iter().filter_map(|wiring| Some(format!("127.0.0.1:{}", wiring.scraped?))));
    }
    lab.args(&args.lab);
    let began = Instant::now();
    let status = lab.status().context("cannot start the lab")?;
    exec::say(format!("ended after {}", exec::seconds(began)));
    ensure!(status.code() != Some(124), "the lab was stopped: it ran for {} s", args.seconds);
    if status.success() { Ok(()) } else { bail!("the lab failed; its output is above") }
}

fn wiring(workshop: &Workshop, name: char, number: u8) -> Wiring {
    let socket = |what: &str| -> PathBuf { workshop.directory.join(format!("{name}-{what}")) };
    Wiring { control: socket("control"), here: socket("card"), there: socket("path"), number, scraped: None }
}

/// A port of loopback that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(listener.context("no free port")?.port())
}

fn boot(workshop: &Workshop, kernel: &Kernel, wiring: &Wiring, seconds: u64) -> Result<Emulator> {
    let bin = image::BIN;
    let script = format!(
        "export NETCAUSE_LAB_ENV=vm NETCAUSE_BIN={bin}/netcause\nexec {bin}/netcause-lab node --device {DEVICE}\n"
    );
    let log = format!("node-{}", wiring.number);
    let job =
        VmJob { script: &script, guest_seconds: seconds, log: &log, clock: Clock::Wall, stdin: Stdin::Input };
    workshop.machine(kernel, &job)?.start(wiring)
}
