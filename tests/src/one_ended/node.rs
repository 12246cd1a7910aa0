//! One machine of the two: makes pods, runs programs in them, and asks its agent, as requests on standard input say.

use std::{
    collections::BTreeMap,
    fs,
    io::BufRead as _,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lab::{
    agent::{Agent, Options, SHARED_ENV},
    eventually, machine,
    process::Process,
    topology::{Net, Pod},
};

/// Where the host reaches the agent, over a network card that no fault reaches: the address that QEMU forwards to.
const SCRAPED: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 2, 15), 9779);
const SCRAPED_DEVICE: &str = "eth1";
/// Where the agent finds names.
const NAMES: &str = "/tmp/names.yaml";

/// `netcause-lab node`
#[derive(Args)]
pub(crate) struct Node {
    /// The network card that the path ends at
    #[arg(long)]
    device: String,
}

/// What the host asks for: one a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Makes the bridge with this last byte of its address, and starts the agent of the node of this name, with these names. One
    /// that is scraped listens where the host reaches it.
    Begin { node: String, bridge: u8, names: String, is_scraped: bool },
    /// Waits until the other node's bridge answers.
    Reach { bridge: u8 },
    /// Makes a pod with this uid.
    Pod { key: String, uid: String },
    /// Starts `netcause-lab traffic PROGRAM ARGS` in a pod, and waits for a line of its output with this text.
    Start { key: String, pod: String, args: Vec<String>, until: Option<String> },
    /// Writes a line to a program.
    Write { key: String, line: String },
    /// Ends a program.
    Stop { key: String },
    /// What a program has said.
    Said { key: String },
    /// Gives nft a script, in a pod.
    Nft { pod: String, script: String },
    /// The answer of the agent to `GET PATH`.
    Get { path: String },
    /// Removes all pods and programs.
    Clear {},
}

/// The pods and programs of a case.
#[derive(Default)]
struct Running {
    programs: BTreeMap<String, Process>,
    pods: BTreeMap<String, Pod>,
}

struct State {
    device: String,
    net: Option<Net>,
    agent: Option<Agent>,
    running: Running,
}

impl Node {
    pub(crate) fn run(self) -> Result<()> {
        let mut state = State { device: self.device, net: None, agent: None, running: Running::default() };
        for line in std::io::stdin().lock().lines() {
            let line = line.context("waiting for the host")?;
            // The host sends an empty line to see whether anybody listens.
            let answer = match serde_json::from_str::<Request>(&line) {
                Ok(request) => state.carry_out(request),
                Err(error) => Err(anyhow::anyhow!("{error}: {line}")),
            };
            let said = match answer {
                Ok(value) => json!({ "ok": value }),
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
            println!("{said}");
        }
        Ok(())
    }
}

impl State {
    fn carry_out(&mut self, request: Request) -> Result<Value> {
        match request {
            Request::Begin { node, bridge, names, is_scraped } => {
                self.begin(&node, bridge, &names, is_scraped)?;
            }
            Request::Reach { bridge } => self.net()?.reach_bridge(bridge)?,
            Request::Pod { key, uid } => {
                let pod = self.net()?.pod_of_uid(&key, &uid)?;
                let address = pod.v4.to_string();
                self.running.pods.insert(key, pod);
                return Ok(json!(address));
            }
            Request::Start { key, pod, args, until } => {
                let process = start(self.pod(&pod)?, &args)?;
                if let Some(until) = until {
                    process.wait_stdout(&until, |line| line.contains(&until).then_some(()))?;
                }
                self.running.programs.insert(key, process);
            }
            Request::Write { key, line } => self.program(&key)?.write_line(&line)?,
            Request::Stop { key } => drop(self.running.programs.remove(&key)),
            Request::Said { key } => return Ok(json!(self.program(&key)?.said())),
            Request::Nft { pod, script } => drop(self.pod(&pod)?.run("nft", &["-f", "-"], &script)?),
            Request::Get { path } => {
                let response = self.agent.as_ref().context("no agent yet")?.get(&path, "*/*")?;
                return Ok(json!(response.body));
            }
            Request::Clear {} => self.running = Running::default(),
        }
        Ok(Value::Null)
    }

    fn begin(&mut self, node: &str, bridge: u8, names: &str, is_scraped: bool) -> Result<()> {
        device(&self.device)?;
        let listen = is_scraped.then(scraped).transpose()?;
        self.net = Some(Net::of_machine("one-ended", &self.device, bridge)?);
        fs::write(NAMES, names).with_context(|| format!("writing {NAMES}"))?;
        let config = format!("kubernetes: off\nnames_file: {NAMES}\nnode_name: {node}\n");
        let options = Options { config: Some(&config), env: &SHARED_ENV, listen, ..Options::default() };
        self.agent = Some(Agent::start("one-ended", "agent", &options)?);
        Ok(())
    }

    fn net(&self) -> Result<&Net> {
        self.net.as_ref().context("no bridge yet")
    }

    fn pod(&self, key: &str) -> Result<&Pod> {
        self.running.pods.get(key).with_context(|| format!("no pod {key}"))
    }

    fn program(&mut self, key: &str) -> Result<&mut Process> {
        self.running.programs.get_mut(key).with_context(|| format!("no program {key}"))
    }
}

fn start(pod: &Pod, args: &[String]) -> Result<Process> {
    let mut command = pod.command(&machine()?.exe)?;
    command.arg("traffic").args(args);
    Process::spawn(&args.join(" "), &mut command)
}

/// Gives the second network card its address.
fn scraped() -> Result<SocketAddr> {
    device(SCRAPED_DEVICE)?;
    let address = format!("{}/24", SCRAPED.0);
    for args in
        [["address", "add", &address, "dev", SCRAPED_DEVICE], ["link", "set", SCRAPED_DEVICE, "up", ""]]
    {
        let args = args.into_iter().filter(|arg| !arg.is_empty());
        Process::run("ip", Command::new("ip").args(args), "")?.success()?;
    }
    Ok(SCRAPED.into())
}

/// Waits for a network card: its driver may still be looking at it.
fn device(name: &str) -> Result<()> {
    eventually(&format!("the network card {name}"), || {
        Process::run("ip", Command::new("ip").args(["link", "show", name]), "")?.success().map(drop)
    })
}
