//! The stage of a case: a client's pod on one node, a server's on the other, and the path between them.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{control::Control, node::Request};
use crate::lab::path::NodePath;

/// The last byte of the address of each node's bridge; its pods follow.
pub(super) const BRIDGES: [u8; 2] = [1, 101];
/// The names of the nodes.
pub(super) const NODES: [&str; 2] = ["node-a", "node-b"];

/// Which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// That of the client.
    A = 0,
    /// That of the server.
    B = 1,
}

/// Both machines and the path between them.
pub(super) struct Stage {
    machines: [Control; 2],
    path: NodePath,
    /// What is usual on the path.
    usual: String,
    /// The address of the server's pod.
    server: String,
    /// Programs started so far.
    started: u32,
}

impl Stage {
    /// Waits for both machines, and starts their agents, which know these names.
    pub(super) fn new(
        mut machines: [Control; 2],
        path: NodePath,
        names: &str,
        is_scraped: bool,
    ) -> Result<Self> {
        for (control, (node, bridge)) in machines.iter_mut().zip(NODES.iter().zip(BRIDGES)) {
            let (node, names) = ((*node).to_owned(), names.to_owned());
            let request = Request::Begin { node, bridge, names, is_scraped };
            control.ask(&request)?;
        }
        machines[0].ask(&Request::Reach { bridge: BRIDGES[1] })?;
        Ok(Self { machines, path, usual: String::new(), server: String::new(), started: 0 })
    }

    pub(super) fn ask(&mut self, end: End, request: &Request) -> Result<Value> {
        self.machines[end as usize].ask(request)
    }

    /// Makes the pods of the `number`-th case. The path is usual again: a delay of so many milliseconds in each direction.
    pub(super) fn set(&mut self, number: u8, delay_ms: u32) -> Result<()> {
        self.usual = format!("both delay_ms={delay_ms}");
        self.path.treat(&self.usual)?;
        for (end, key) in [(End::A, "client"), (End::B, "server")] {
            let request = Request::Pod { key: format!("{key}{number}"), uid: uid(end, number) };
            let address = self.ask(end, &request)?;
            let address = address.as_str().context("no address")?;
            let expected = address_of(end, number);
            if address != expected {
                bail!("the pod {key} of case {number} is at {address}, and not at {expected}");
            }
        }
        self.server = address_of(End::B, number);
        self.started = u32::from(number) * 100;
        Ok(())
    }

    /// Ends everything of the case.
    pub(super) fn clear(&mut self) -> Result<()> {
        for end in [End::A, End::B] {
            self.ask(end, &Request::Clear {})?;
        }
        self.path.treat("both")
    }

    /// Treats frames so from now on, beside the usual delay: `forward lose=0.03`.
    pub(super) fn treat(&mut self, how: &str) -> Result<()> {
        let (direction, rest) = how.split_once(' ').unwrap_or((how, ""));
        let usual = self.usual.split_once(' ').map_or("", |(_, usual)| usual);
        // A delay of its own comes later in the line, and counts.
        self.path.treat(&format!("{direction} {usual} {rest}"))
    }

    /// Starts a program of the server's pod, listening at `port`; returns its key.
    pub(super) fn serve(&mut self, port: u16, args: &str) -> Result<String> {
        let (program, rest) = args.split_once(' ').unwrap_or((args, ""));
        let args = format!("{program} --listen {}:{port} {rest}", self.server);
        self.start(End::B, "server", &args, Some("\"listening\""))
    }

    /// Starts `client` with these arguments in the client's pod; returns its key.
    pub(super) fn connect(&mut self, port: u16, args: &str) -> Result<String> {
        let args = format!("client --connect {}:{port} {args}", self.server);
        self.start(End::A, "client", &args, None)
    }

    /// Opens connections, and asks for `bytes` over each again and again with `pause` milliseconds between; returns its key.
    pub(super) fn requests(&mut self, port: u16, connections: u32, bytes: u32, pause: u32) -> Result<String> {
        let args = format!("client --connect {}:{port} --hold --count {connections}", self.server);
        let key = self.start(End::A, "client", &args, Some("\"open\""))?;
        let line = format!("repeat 1000000 {pause} echo {bytes}");
        self.ask(End::A, &Request::Write { key: key.clone(), line })?;
        Ok(key)
    }

    /// Asks DNS queries of the server's pod, `parallel` at a time.
    pub(super) fn queries(&mut self, parallel: u32) -> Result<()> {
        for _ in 0..parallel {
            let to = format!("{}:53", self.server);
            let args =
                format!("dns-ask --to {to} --count 60000 --connected --wait-ms 5000 --interval-ms 150");
            self.start(End::A, "client", &args, None)?;
        }
        Ok(())
    }

    fn start(&mut self, end: End, pod: &str, args: &str, until: Option<&str>) -> Result<String> {
        self.started += 1;
        let (key, number) = (format!("program{}", self.started), self.started / 100);
        let args = args.split_whitespace().map(str::to_owned).collect();
        let until = until.map(str::to_owned);
        self.ask(end, &Request::Start { key: key.clone(), pod: format!("{pod}{number}"), args, until })?;
        Ok(key)
    }

    /// Ends a program.
    pub(super) fn stop(&mut self, end: End, key: &str) -> Result<()> {
        self.ask(end, &Request::Stop { key: key.to_owned() }).map(drop)
    }

    /// Makes a rule in the server's pod, for what it receives.
    pub(super) fn rule(&mut self, rule: &str) -> Result<()> {
        let pod = format!("server{}", self.started / 100);
        let script = format!(
            "table inet faults {{\n chain input {{\n  type filter hook input priority 0;\n  {rule}\n }}\n}}\n"
        );
        self.ask(End::B, &Request::Nft { pod, script }).map(drop)
    }

    /// What the agent of a node finds; `None` where it says that it cannot answer now.
    pub(super) fn findings(&mut self, end: End) -> Result<Option<Value>> {
        let answer = self.ask(end, &Request::Get { path: "/api/v1/findings".to_owned() })?;
        let text = answer.as_str().unwrap_or_default();
        let findings = serde_json::from_str(text).ok();
        if findings.is_none() {
            eprintln!("{} says: {}", NODES[end as usize], text.trim());
        }
        Ok(findings)
    }
}

/// The names of so many cases: what the agents of both nodes know.
pub(super) fn names(cases: &[&str]) -> String {
    let mut names = String::from("nodes:\n");
    for (node, bridge) in NODES.iter().zip(BRIDGES) {
        names.push_str(&format!("  - {{name: {node}, addresses: [10.77.0.{bridge}]}}\n"));
    }
    names.push_str("pods:\n");
    for (number, case) in (1..).zip(cases) {
        for (end, workload) in [(End::A, "client"), (End::B, "server")] {
            names.push_str(&format!(
                "  - {{namespace: {case}, workload: {workload}, addresses: [{}], uid: {}, node: {}}}\n",
                address_of(end, number),
                uid(end, number),
                NODES[end as usize]
            ));
        }
    }
    names
}

/// The address of the `number`-th pod of a node: the bridge counts.
pub(super) fn address_of(end: End, number: u8) -> String {
    format!("10.77.0.{}", BRIDGES[end as usize] + number)
}

fn uid(end: End, number: u8) -> String {
    format!("00000000-0000-4000-800{}-0000000000{number:02x}", end as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_client_and_a_server_of_each_case() {
        let names = names(&["loss", "refused"]);
        assert!(names.contains(
            "{namespace: loss, workload: client, addresses: [10.77.0.2], \
             uid: 00000000-0000-4000-8000-000000000001, node: node-a}"
        ));
        assert!(names.contains("namespace: refused, workload: server, addresses: [10.77.0.103]"));
    }
}
