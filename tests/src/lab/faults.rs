//! Faults made with nftables rules, inside the lab's namespaces.
//!
//! A rule is written as nft writes it, up to its verdict: `tcp dport 80 numgen random mod 100 < 5 drop`. To hit exactly
//! the first packets that match, end with `numgen inc mod 1000000 < N drop`: the generator counts from 0.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{
    namespace::Namespace,
    process::Process,
    topology::{Net, Pod},
};

/// A fault in force until its namespace goes, or until it is cleared.
pub(crate) struct Fault<'a> {
    at: &'a Namespace,
    table: String,
}

impl<'a> Fault<'a> {
    fn make(at: &'a Namespace, family: &str, name: &str, hook: &str, rules: &[&str]) -> Result<Self> {
        let table = format!("{family} {name}");
        let script = format!(
            "table {table} {{\n chain faults {{\n  type filter hook {hook} priority 0;\n  {}\n }}\n}}\n",
            rules.join("\n  ")
        );
        at.run("nft", &["-f", "-"], &script)?;
        Ok(Self { at, table })
    }

    /// On the path: what `from` sends, seen by the bridge. The pods themselves cannot see the rule.
    pub(crate) fn on_path(net: &'a Net, from: &Pod, rules: &[&str]) -> Result<Self> {
        let hook = format!("ingress device \"{}\"", from.port);
        Self::make(net.switch(), "netdev", &format!("path_{}", from.port), &hook, rules)
    }

    /// In a pod, on what it receives.
    pub(crate) fn on_input(pod: &'a Pod, rules: &[&str]) -> Result<Self> {
        Self::make(pod, "inet", "input_faults", "input", rules)
    }

    /// In a pod, on what it sends: the kernel's own transmission fails.
    pub(crate) fn on_output(pod: &'a Pod, rules: &[&str]) -> Result<Self> {
        Self::make(pod, "inet", "output_faults", "output", rules)
    }

    /// In a pod: what it sends is translated by these rules, such as `udp dport 53 dnat ip to 10.0.0.1:5353`, before
    /// (`output`) or after (`postrouting`) it is routed.
    pub(crate) fn translate(pod: &'a Pod, hook: &str, rule: &str) -> Result<Self> {
        let table = format!("inet translate_{hook}");
        let script = format!(
            "table {table} {{\n chain translated {{\n  type nat hook {hook} priority -100;\n  {rule}\n }}\n}}\n"
        );
        pod.run("nft", &["-f", "-"], &script)?;
        Ok(Self { at: pod, table })
    }

    /// In a pod: connections that it makes to one port go to another one of its own. Not a fault, but made the same way.
    pub(crate) fn redirect_output(pod: &'a Pod, from: u16, to: u16) -> Result<Self> {
        Self::redirect(pod, "output", from, to)
    }

    /// In a pod: connections that others make to one of its ports go to another one.
    pub(crate) fn redirect_input(pod: &'a Pod, from: u16, to: u16) -> Result<Self> {
        Self::redirect(pod, "prerouting", from, to)
    }

    fn redirect(pod: &'a Pod, hook: &str, from: u16, to: u16) -> Result<Self> {
        let table = format!("inet redirect_{hook}");
        let script = format!(
            "table {table} {{\n chain redirected {{\n  type nat hook {hook} priority -100;\n  \
             tcp dport {from} redirect to :{to}\n }}\n}}\n"
        );
        pod.run("nft", &["-f", "-"], &script)?;
        Ok(Self { at: pod, table })
    }

    /// How many packets each rule with a `counter` has met, in their order.
    pub(crate) fn counted(&self) -> Result<Vec<u64>> {
        let rules = self.at.run("nft", &["list table", &self.table], "")?;
        let counters = rules.split("counter packets ").skip(1);
        counters
            .map(|rest| {
                let number = rest.split_whitespace().next().unwrap_or_default();
                number.parse().with_context(|| format!("a counter of nft: {rest}"))
            })
            .collect()
    }

    /// Ends the fault.
    pub(crate) fn clear(self) -> Result<()> {
        self.at.run("nft", &["delete table", &self.table], "").map(drop)
    }
}

/// Whether this machine has `netem` (kernel and `tc`), by trying it in a namespace of its own.
pub(crate) fn has_netem() -> bool {
    let try_it = || -> Result<()> {
        let namespace = Namespace::new("netem-probe", None)?;
        namespace.run("ip", &["link", "set", "lo", "up"], "")?;
        namespace.run("tc", &["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], "").map(drop)
    };
    try_it().is_ok()
}

/// Whether a program is installed and runs with the argument `about`, such as `--version`.
pub(crate) fn has_program(program: &str, about: &str) -> bool {
    Process::run(program, Command::new(program).arg(about), "").is_ok_and(|end| end.status.success())
}
