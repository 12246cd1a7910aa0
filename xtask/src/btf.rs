//! `cargo xtask btf`: makes small BTF fixtures from the kernels of the matrix, for the tests of the agent's BTF reader.
//!
//! A fixture is named by the kernel's version and not by the matrix's series: when the newest kernel moves on, the
//! older file stays as one more layout that is tested.

mod image;
mod oracle;
mod reduce;
mod types;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use netcause_common::layout::KernelLayout;

use crate::{
    exec,
    tools::{self, packages::Purpose},
    vm, workspace,
};
use reduce::Wanted;

/// Where the fixtures are, from the workspace's root.
const FIXTURES: &str = "tests/golden/btf";

/// Tracepoints that the probes attach to. A fixture without one of them fails the agent's tests, so a probe missing
/// here is noticed.
const TRACEPOINTS: &[&str] = &[
    "inet_sk_error_report",
    "inet_sock_set_state",
    "kfree_skb",
    "tcp_destroy_sock",
    "tcp_receive_reset",
    "tcp_retransmit_skb",
    "tcp_retransmit_synack",
    "tcp_send_reset",
    "udp_fail_queue_rcv_skb",
];

/// Functions that the probes attach to, whose arguments they count.
const FUNCTIONS: &[&str] = &["tcp_v4_connect", "tcp_v4_pre_connect", "tcp_v6_connect", "tcp_v6_pre_connect"];

/// Enums whose values the programs use.
const ENUMS: &[&str] = &["bpf_func_id", "skb_drop_reason", "skb_drop_reason_subsys", "sock_flags"];

/// Iterators that the probes run; a kernel with an iterator has a struct of its name.
const ITERATORS: &[&str] = &["bpf_map_elem", "task_file", "tcp"];

/// Makes a fixture of each kernel of the matrix.
pub(crate) fn command() -> Result<()> {
    tools::packages::ensure(&[Purpose::Vm, Purpose::Btf])?;
    let directory = workspace::root()?.join(FIXTURES);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for series in vm::select(&[])? {
        let kernel = match series.fetch() {
            Err(error) if series.optional => {
                exec::say(format!("the kernel {} is not available and was left out: {error:#}", series.name));
                continue;
            }
            fetched => fetched?,
        };
        fixture(&kernel.image, &kernel.release, &directory)
            .with_context(|| format!("no fixture of kernel {}", kernel.release))?;
    }
    Ok(())
}

fn fixture(image: &Path, release: &str, directory: &Path) -> Result<()> {
    let version = version(release).context("its release does not begin with a version")?;
    let scratch = workspace::vm_dir()?.join("btf").join(version);
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let full = image::extract(image, &scratch)?;
    let data = fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;

    let structs = KernelLayout::MEMBERS.iter().map(|member| member.structure.to_owned());
    let structs = structs.chain(ITERATORS.iter().map(|name| format!("bpf_iter__{name}"))).collect();
    let prototypes = TRACEPOINTS.iter().map(|name| format!("btf_trace_{name}"));
    let prototypes: BTreeSet<String> = prototypes.chain(FUNCTIONS.iter().map(|&name| name.into())).collect();
    let enums = ENUMS.iter().map(|name| (*name).to_owned()).collect();
    let wanted = Wanted { structs: &structs, prototypes: &prototypes, enums: &enums };
    let reduced = types::write(&reduce::reduce(&types::parse(&data)?, &wanted)?)?;

    let name = directory.join(version);
    let [btf, offsets] = ["btf", "offsets"].map(|kind| name.with_added_extension(kind));
    fs::write(&btf, &reduced).with_context(|| format!("cannot write {}", btf.display()))?;
    let text = format!("# bpftool on the whole BTF of {release}; in bits\n{}", oracle::offsets(&full)?);
    fs::write(&offsets, text).with_context(|| format!("cannot write {}", offsets.display()))?;
    let kib = |bytes: usize| bytes.div_ceil(1024);
    exec::say(format!(
        "kernel {release}: {} KiB of BTF cut down to {} KiB",
        kib(data.len()),
        kib(reduced.len())
    ));
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))
}

/// `6.12` of `6.12.117+deb12-cloud-amd64`.
fn version(release: &str) -> Option<&str> {
    let end = release.match_indices(|c: char| !c.is_ascii_digit()).nth(1)?.0;
    let (major, minor) = release[..end].split_once('.')?;
    (!major.is_empty() && !minor.is_empty()).then_some(&release[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_two_numbers() {
        assert_eq!(version("6.12.117+deb12-cloud-amd64"), Some("6.12"));
        assert_eq!(version("7.2-amd64"), Some("7.2"));
        assert_eq!(version("sid"), None);
        assert_eq!(version("6-1.2"), None);
    }
}
