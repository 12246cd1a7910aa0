//! What a VM is booted for.

use std::process;

use super::qemu::Clock;

/// Modules that the lab's faults use; loaded at boot, so that parallel scenarios do not wait for them.
const MODULES: &str = "veth bridge dummy tun nf_tables nft_numgen nft_reject_inet nft_limit nft_ct nft_nat nft_redir nft_chain_nat \
                       nft_quota nft_counter nf_conntrack nf_conntrack_netlink sch_netem sch_tbf virtio_pci virtio_net";

/// What a VM is booted for.
pub(super) struct VmJob<'a> {
    /// The shell script that it runs.
    pub script: &'a str,
    /// Seconds of its own clock after which it ends by itself.
    pub guest_seconds: u64,
    /// The name of its image, and of the file with its kernel's messages.
    pub log: &'a str,
    pub clock: Clock,
    pub stdin: Stdin,
}

/// What the second serial port brings.
#[derive(PartialEq, Eq)]
pub(super) enum Stdin {
    Nothing,
    /// The script's input.
    Input,
    /// A shell's, on this terminal, instead of the script.
    Shell,
}

impl VmJob<'_> {
    /// `NAME=value` lines for the init script.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let if_is = |stdin: Stdin, value: &str| {
            if self.stdin == stdin { value.to_owned() } else { String::new() }
        };
        vec![
            ("NETCAUSE_VM_MARK", mark()),
            ("NETCAUSE_VM_MODULES", MODULES.to_owned()),
            ("NETCAUSE_VM_SECONDS", self.guest_seconds.to_string()),
            ("NETCAUSE_VM_SHELL", if_is(Stdin::Shell, "1")),
            ("NETCAUSE_VM_INPUT", if_is(Stdin::Input, "/dev/ttyS1")),
        ]
    }
}

/// The beginning of the two lines that frame a job's output; no test prints it by chance.
pub(super) fn mark() -> String {
    format!("@netcause-vm-{}@", process::id())
}
