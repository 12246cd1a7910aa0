//! What users install: the image as its archive, and the Debian package under a real systemd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::deploy::{has_rights, of_process, probes};
use crate::lab::{
    booted::{self, Host},
    cgroup::Cgroup,
    eventually, faults,
    manifest::Container,
    metrics::{Metrics, OPENED},
    process::Process,
};

/// Where `cargo xtask test` says that the packages are.
const IMAGE: &str = "NETCAUSE_IMAGE";
const DEB: &str = "NETCAUSE_DEB";
const SERVICE: &str = "netcause.service";
const CONFIG: &str = "/etc/netcause/config.yaml";
/// All of these have to hold for `systemd-analyze security`: of 10 at most this many tenths of exposure. Without the sandbox of the unit
/// it finds 96.
const EXPOSURE: &str = "30";

/// Why the scenarios cannot run here.
pub(super) fn lacking() -> Option<String> {
    let lacks = |(program, about): &&(&str, &str)| !faults::has_program(program, about);
    let set = |variable: &&&str| std::env::var_os(variable).is_none();
    [IMAGE, DEB]
        .iter()
        .find(set)
        .map(|variable| format!("{variable} is not set, as cargo xtask test does"))
        .or_else(|| booted::PROGRAMS.iter().find(lacks).map(|(program, _)| format!("no {program} here")))
}

fn file(variable: &str) -> Result<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable).with_context(|| format!("{variable} is not set"))?);
    ensure!(path.is_file(), "{variable}: there is no file {}", path.display());
    Ok(path)
}

/// The archive of the image leads to one layer, and that is enough to start the program as its configuration says.
pub(super) fn image(name: &str) -> Result<()> {
    let cgroup = Cgroup::new(name, "image")?;
    let directory = std::env::temp_dir().join(cgroup.name());
    fs::create_dir_all(directory.join("root")).context("making a directory")?;
    let checked = unpacked(&directory);
    let _ = fs::remove_dir_all(&directory);
    checked
}

fn unpacked(directory: &Path) -> Result<()> {
    let tar = |args: &[&str], file: &Path| {
        let mut tar = Command::new("tar");
        tar.args(args).arg("--file").arg(file);
        Process::run("tar", &mut tar, "")?.success()
    };
    let at = directory.to_string_lossy();
    tar(&["--extract", "--directory", &at], &file(IMAGE)?)?;
    let json = |path: &str| -> Result<Value> {
        let text = fs::read_to_string(directory.join(path)).with_context(|| format!("reading {path}"))?;
        serde_json::from_str(&text).with_context(|| format!("reading {path}"))
    };
    let blob = |descriptor: &Value| -> Result<String> {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        Ok(format!("blobs/sha256/{}", digest.context("no digest")?))
    };
    let manifest = json(&blob(&json("index.json")?["manifests"][0])?)?;
    let config = json(&blob(&manifest["config"])?)?;
    let root = directory.join("root");
    let layer = directory.join(blob(&manifest["layers"][0])?);
    tar(&["--extract", "--gzip", "--preserve-permissions", "--directory", &root.to_string_lossy()], &layer)?;
    let entry = config["config"]["Entrypoint"][0].as_str().context("no entrypoint")?;
    ensure!(entry == Container::of_agent(false)?.program, "the image starts {entry}");
    let run = |args: &[&str]| {
        let mut command = Command::new("chroot");
        command.arg(&root).arg(entry).args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Process::run("the program", &mut command, "")
    };
    let version = run(&["--version"])?.success()?;
    ensure!(version.starts_with("netcause "), "it says {version}");
    // Without /sys and /proc it can load nothing, and says so in the report that it was asked for.
    let check = run(&["check", "-o", "json"])?;
    ensure!(check.status.code().is_some(), "it died: {}", check.status);
    for document in ["LICENSE", "third-party-licenses.txt", "sbom.cdx.json"] {
        let path = root.join("usr/share/doc/netcause").join(document);
        ensure!(fs::metadata(&path).is_ok_and(|file| file.len() > 1000), "{} is missing", path.display());
    }
    Ok(())
}

/// The package is installed by dpkg on a host with systemd, which starts the agent with the rights of the manifest: every probe comes up
/// that can in a PID namespace, connections are counted, and removing it leaves nothing but what the administrator owns.
pub(super) fn debian(name: &str) -> Result<()> {
    let deb = file(DEB)?;
    let host = Host::boot(name, &[&deb])?;
    let package = format!("/srv/{}", deb.file_name().context("a package without a name")?.display());
    // Its script starts the service.
    host.run(&["dpkg", "--install", &package])?;
    for (question, answer) in [("is-enabled", "enabled"), ("is-active", "active")] {
        let said = host.run(&["systemctl", question, SERVICE])?;
        ensure!(said.trim() == answer, "{question}: {said}");
    }
    host.run(&["systemd-analyze", "verify", SERVICE])?;
    host.run(&["systemd-analyze", "security", "--offline=true", "--threshold", EXPOSURE, SERVICE])
        .context("the unit leaves too much open")?;
    let scrape = || {
        let log = || host.run(&["journalctl", "--no-pager", "--unit", SERVICE]).unwrap_or_default();
        let text =
            host.run(&["curl", "--silent", "--fail", "http://127.0.0.1:9779/metrics"]).with_context(log)?;
        Metrics::parse(&text)
    };
    let up = eventually("the agent is ready", || {
        host.run(&["curl", "--silent", "--fail", "http://127.0.0.1:9779/readyz"])?;
        Ok(probes(&scrape()?))
    })?;
    let mut down = up.clone();
    down.retain(|_, reason| reason.as_deref().is_some_and(|reason| reason != "kernel_feature_missing"));
    let reason = down.remove("open_sockets").flatten();
    ensure!(reason.as_deref() == Some("not_in_host_pid_namespace"), "open_sockets: {reason:?}");
    ensure!(down.is_empty() && up.len() > 8, "these do not run: {down:?} of {up:?}");
    is_confined(&host)?;
    // The agent's own server is a workload as well, and what asks it a client.
    eventually("connections to the service are counted", || {
        let metrics = scrape()?;
        let of_service = metrics.total(OPENED, |sample| {
            sample
                .labels
                .get("destination_workload")
                .is_some_and(|workload| workload.ends_with("netcause.service"))
                && sample.labels.get("destination_port") == Some("9779")
        });
        ensure!(of_service >= 2.0, "{of_service} connections");
        Ok(())
    })?;
    host.run(&["netcause", "edges"])?;
    host.run(&["kubectl-netcause", "--version"])?;

    host.run(&["dpkg", "--remove", "netcause"])?;
    ensure!(host.run(&["systemctl", "is-active", SERVICE]).is_err(), "it still runs");
    host.run(&["test", "-f", CONFIG]).context("the configuration went with the package")?;
    host.run(&["dpkg", "--purge", "netcause"])?;
    host.run(&["test", "!", "-e", CONFIG]).context("the configuration is still there")?;
    host.run(&["test", "!", "-e", "/var/lib/netcause"]).map(drop).context("its directory is still there")
}

/// Fails unless the service has the rights of the manifest's container, filters system calls, and can write to its own directories only.
fn is_confined(host: &Host) -> Result<()> {
    let processes = host.processes_of(SERVICE)?;
    let [pid] = processes[..] else { anyhow::bail!("not one process: {processes:?}") };
    has_rights(pid, &Container::of_agent(false)?)?;
    let status = of_process(pid, "status")?;
    ensure!(status.contains("\nSeccomp:\t2\n"), "system calls are not filtered:\n{status}");
    let mounts = of_process(pid, "mountinfo")?;
    let mut writable = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(4);
        let (Some(at), Some(options)) = (words.next(), words.next()) else { continue };
        if options.split(',').any(|option| option == "rw") {
            writable.push(at);
        }
    }
    let own = ["/var/lib/netcause", "/tmp", "/var/tmp", "/proc"];
    writable.retain(|at| !own.contains(at) && !at.starts_with("/dev"));
    ensure!(writable.is_empty(), "it can write to {writable:?}:\n{mounts}");
    Ok(())
}
