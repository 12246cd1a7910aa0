//! The stage of a case: two nodes with a path between them, the pods, their traffic; and what goes wrong there.

mod deeds;
mod sidecar;
mod tracking;

use std::{
    sync::RwLockReadGuard,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    case::{Act, Bystander, Case, Deed, End, Protocol, Scope, Traffic},
    judge::Pair,
    served::{PORT, SECOND, Served, address, also_at, call, port, serve, small},
};
use crate::lab::{
    path::NodePath,
    topology::{Controlled, Net, Pod},
};
use sidecar::Beside;
use tracking::Tracking;

/// Connections are idle for so long before they are used again: longer than what the agent calls idle.
const IDLE: Duration = Duration::from_secs(33);

/// What a case looks like while it runs.
pub(super) struct Stage {
    case: Case,
    path: NodePath,
    client: Pod,
    near: Net,
    legs: Vec<Leg>,
    /// Pods and programs of bystanders; they end with the stage.
    others: Vec<Other>,
    /// Of the client's pod, where it has one.
    uid: Option<String>,
    /// When what goes by turns began, and the number of the turn.
    turn: Option<(Instant, usize)>,
    _far: Net,
}

/// The server of an act, and the client's traffic with it.
struct Leg {
    server: Pod,
    port: u16,
    service: Option<Served>,
    caller: Controlled,
    idle: Option<Controlled>,
    /// A second port of the server, with traffic.
    second: Option<[Controlled; 2]>,
    tracking: Option<Tracking>,
    sidecar: Option<Beside>,
    /// No case makes tables of connections full while this one's are tracked.
    _room: Option<RwLockReadGuard<'static, ()>>,
}

/// A bystander.
struct Other {
    pods: Vec<Pod>,
    _programs: Vec<Controlled>,
    kind: Bystander,
}

impl Stage {
    /// Makes the pods, and starts the traffic.
    pub(super) fn new(name: &str, network: u8, case: &Case) -> Result<Self> {
        let near = Net::in_network(name, network)?;
        let (far, mut path) = near.beyond()?;
        let uid = case
            .acts
            .iter()
            .any(|act| act.traffic.sidecar.is_some())
            .then(|| sidecar::uid(network, case.seed));
        let client = match &uid {
            Some(uid) => near.pod_of_uid("client", uid)?,
            None => near.pod("client")?,
        };
        path.treat(&format!("both delay_ms={}", case.delay_ms))?;
        let mut legs = Vec::new();
        for (number, act) in case.acts.iter().enumerate() {
            let server = far.pod(&format!("server{number}"))?;
            let sidecar = act.traffic.sidecar.zip(uid.as_deref());
            let to = address(&server, case.v6, port(act.traffic.kind));
            let sidecar =
                sidecar.map(|(proxy, uid)| Beside::start(proxy, name, &client, uid, to)).transpose()?;
            legs.push(Leg::new(&client, server, act, sidecar, case)?);
        }
        let first = legs.first().context("a case without an act")?;
        let mut others = Vec::new();
        for (number, kind) in case.bystanders.iter().enumerate() {
            others.push(Other::new(number, *kind, [&near, &far], &client, first, case)?);
        }
        Ok(Self { case: case.clone(), path, client, legs, others, near, uid, turn: None, _far: far })
    }

    /// What is idle before it is used again becomes so.
    pub(super) fn prepare(&mut self) -> Result<()> {
        for (number, act) in self.case.acts.clone().iter().enumerate() {
            if let Deed::Forget(how) = &act.deed {
                self.treat(how, number)?;
                if let Some(idle) = &mut self.legs[number].idle {
                    idle.set("run=0")?;
                }
                thread::sleep(IDLE);
            }
        }
        Ok(())
    }

    /// What is wrong begins.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.each(true)
    }

    /// It ends.
    pub(super) fn end(&mut self) -> Result<()> {
        self.each(false)
    }

    /// What has to be done again and again while it lasts.
    pub(super) fn go_on(&mut self) -> Result<()> {
        for (number, act) in self.case.acts.clone().iter().enumerate() {
            match &act.deed {
                Deed::Flood => {
                    let leg = &self.legs[number];
                    self.client.flood(leg.server.at(leg.port), &["--kind", "syn", "--count", "1500"])?;
                }
                Deed::Turns(turns) => self.take_turns(turns, number)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn each(&mut self, on: bool) -> Result<()> {
        for (number, act) in self.case.acts.clone().iter().enumerate() {
            self.carry_out(number, act, on).with_context(|| format!("{}: {}", act.name, act.severity))?;
        }
        Ok(())
    }

    /// The names of its pods, which no other run has: addresses were those of others before.
    pub(super) fn workloads(&self) -> Vec<String> {
        let servers = self.legs.iter().map(|leg| &leg.server);
        let pods = servers.chain(self.others.iter().flat_map(|other| &other.pods)).chain([&self.client]);
        pods.map(|pod| pod.workload().to_owned()).chain(self.named_by_uid()).collect()
    }

    /// What the agent calls the client's pod where that has a uid.
    fn named_by_uid(&self) -> Option<String> {
        self.uid.as_ref().map(|uid| format!("pod:{uid}"))
    }

    /// The pairs of the case, with the acts that hurt them.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (number, leg) in self.legs.iter().enumerate() {
            let ports = [Some(leg.port), leg.second.as_ref().map(|_| SECOND)];
            for port in ports.into_iter().flatten() {
                pairs.push(self.pair((&self.client, &leg.server, port), (true, number, true)));
            }
            if leg.sidecar.is_some() {
                let to_itself = self.pair((&self.client, &leg.server, leg.port), (true, number, true));
                pairs.push(Pair { server: to_itself.client.clone(), ..to_itself });
            }
        }
        for other in &self.others {
            let first = &self.legs[0];
            let pair = match other.kind {
                Bystander::FarServer => {
                    self.pair((&self.client, &other.pods[0], PORT), (true, usize::MAX, true))
                }
                Bystander::NearServer => {
                    self.pair((&self.client, &other.pods[0], PORT), (false, usize::MAX, true))
                }
                Bystander::NearClient => {
                    self.pair((&other.pods[0], &first.server, first.port), (false, 0, false))
                }
                Bystander::FarClient => {
                    self.pair((&other.pods[0], &first.server, first.port), (true, 0, false))
                }
                Bystander::Apart => {
                    self.pair((&other.pods[0], &other.pods[1], PORT), (false, usize::MAX, false))
                }
            };
            pairs.push(pair);
        }
        pairs
    }

    /// A pair: whether it goes over the path, the number of the server's act, and whether it is of the case's client.
    fn pair(
        &self,
        (client, server, port): (&Pod, &Pod, u16),
        (is_across, number, is_ours): (bool, usize, bool),
    ) -> Pair {
        let hurt_by = self.case.acts.iter().enumerate().filter(|(index, act)| {
            let is_port = self.legs[*index].port == port;
            match act.scope {
                Scope::Pair => *index == number && is_ours && is_port,
                Scope::Server => *index == number && is_port,
                Scope::PathToServer => *index == number && is_across && (is_port || !act.is_of_port()),
                Scope::Path => is_across,
            }
        });
        let names = |pod: &Pod| {
            let by_uid = self.named_by_uid().filter(|_| pod.workload() == self.client.workload());
            pod.names().into_iter().chain(by_uid).collect()
        };
        Pair {
            client: names(client),
            server: names(server),
            port,
            hurt_by: hurt_by.map(|(index, _)| index).collect(),
        }
    }
}

impl Act {
    /// True if it is about one port of the server.
    fn is_of_port(&self) -> bool {
        matches!(&self.deed, Deed::Path(how) if how.contains("PORT"))
    }
}

impl Leg {
    fn new(client: &Pod, server: Pod, act: &Act, sidecar: Option<Beside>, case: &Case) -> Result<Self> {
        let traffic = &act.traffic;
        let port = port(traffic.kind);
        let room = traffic.two_hosts.then(tracking::with_room);
        if traffic.two_hosts {
            client.also_at(&format!("{}/24", also_at(client)))?;
            let rule = format!("ip daddr {} tcp dport {port} snat to {}:20000-60000", server.v4, client.v4);
            let nat = "type nat hook postrouting priority 100;";
            let script = format!("table ip lab_nat {{\n chain out {{\n  {nat}\n  {rule}\n }}\n}}\n");
            client.run("nft", &["-f", "-"], &script)?;
        }
        let service = Served::start(&server, port, traffic, case)?;
        if matches!(act.deed, Deed::Flood) {
            // Answers to forged addresses go back where they come from, and are dropped there.
            server.run("ip", &["route", "add", "10.128.0.0/9", "via", &client.v4.to_string()], "")?;
            server.sysctl(&["net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/eth0/rp_filter=0"])?;
            client.sysctl(&["net/ipv4/ip_forward=0"])?;
        }
        let is_forgotten = matches!(act.deed, Deed::Forget(_));
        let connections = if is_forgotten { 2 } else { traffic.connections };
        let to = if sidecar.is_some() { sidecar::OUTBOUND } else { address(&server, case.v6, port) };
        let caller = call(client, to, &Traffic { connections, ..traffic.clone() }, case.seed)?;
        let idle = is_forgotten.then(|| call(client, to, traffic, case.seed + 1)).transpose()?;
        let second = traffic.second_port.then(|| -> Result<_> {
            let service = serve(&server, SECOND, &small(), case)?;
            Ok([service, call(client, address(&server, case.v6, SECOND), &small(), case.seed + 2)?])
        });
        let second = second.transpose()?;
        let tracking = match act.deed {
            Deed::Track(end, count) => {
                let tracked = if end == End::Client { client } else { &server };
                Some(Tracking::fill(tracked, client, address(&server, case.v6, SECOND), count)?)
            }
            _ => None,
        };
        Ok(Self {
            server,
            port,
            service: Some(service),
            caller,
            idle,
            second,
            tracking,
            sidecar,
            _room: room,
        })
    }

    fn start(&self, act: &Act, case: &Case) -> Result<Served> {
        Served::start(&self.server, self.port, &act.traffic, case)
    }

    fn service(&mut self) -> Result<&mut Controlled> {
        self.service.as_mut().context("it does not run")?.own()
    }
}

impl Other {
    fn new(
        number: usize,
        kind: Bystander,
        [near, far]: [&Net; 2],
        client: &Pod,
        first: &Leg,
        case: &Case,
    ) -> Result<Self> {
        let pod = |net: &Net, role: &str| net.pod(&format!("{role}-beside{number}"));
        let seed = case.seed + 10 + number as u64;
        let of_first = Traffic { connections: 2, ..case.acts[0].traffic.clone() };
        let of_first = match of_first.kind {
            Protocol::Tcp => Traffic { fresh: of_first.fresh, ..small() },
            _ => of_first,
        };
        let (pods, programs) = match kind {
            Bystander::FarServer | Bystander::NearServer => {
                let server = pod(if kind == Bystander::FarServer { far } else { near }, "server")?;
                let service = serve(&server, PORT, &small(), case)?;
                let caller = call(client, address(&server, case.v6, PORT), &small(), seed)?;
                (vec![server], vec![service, caller])
            }
            Bystander::NearClient | Bystander::FarClient => {
                // Near to the server, or beyond the path from it.
                let other = pod(if kind == Bystander::NearClient { far } else { near }, "client")?;
                let caller = call(&other, address(&first.server, case.v6, first.port), &of_first, seed)?;
                (vec![other], vec![caller])
            }
            Bystander::Apart => {
                let (one, two) = (pod(near, "client")?, pod(near, "server")?);
                let service = serve(&two, PORT, &small(), case)?;
                let caller = call(&one, address(&two, case.v6, PORT), &small(), seed)?;
                (vec![one, two], vec![service, caller])
            }
        };
        Ok(Self { pods, _programs: programs, kind })
    }
}
