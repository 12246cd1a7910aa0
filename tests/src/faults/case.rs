//! A case: what is drawn from a seed. It is data: who talks to whom, how, and what goes wrong; it is carried out elsewhere.

use super::{
    draw::Draw,
    families::{self, Family},
    healthy,
};

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// What it was drawn from.
    pub(super) seed: u64,
    pub(super) v6: bool,
    /// Seconds without a fault before it.
    pub(super) healthy: u64,
    /// The delay of the path, each way.
    pub(super) delay_ms: u64,
    /// What goes wrong: one thing, or two with different servers of one client.
    pub(super) acts: Vec<Act>,
    pub(super) bystanders: Vec<Bystander>,
}

/// A client's traffic with a server, and what goes wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Act {
    /// The family's name.
    pub(super) name: &'static str,
    pub(super) truth: Truth,
    pub(super) traffic: Traffic,
    /// How bad it is, for the report.
    pub(super) severity: String,
    pub(super) deed: Deed,
    pub(super) scope: Scope,
}

/// Families that can be told only where connects without a SYN are traced (`netcause_probe_up{probe="tcp_connect"}`).
const UNSENT: [&str; 2] = ["no_route", "local_ports_exhausted"];

/// What is right to say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truth {
    /// The cause, and others that are as true; none for healthy traffic.
    pub(super) causes: &'static [&'static str],
    pub(super) sides: &'static [&'static str],
    /// It may be said of the client or the server instead of the pair.
    pub(super) of_workload: bool,
}

/// What a client does.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) kind: Protocol,
    /// Connections at a time.
    pub(super) connections: u64,
    pub(super) send: u64,
    pub(super) receive: u64,
    /// Between two requests of a connection.
    pub(super) interval_ms: u64,
    /// A connection for each request.
    pub(super) fresh: bool,
    /// Of a request and of a connect; 0: none.
    pub(super) timeout_ms: u64,
    /// Of the server, before it answers.
    pub(super) think_ms: u64,
    /// The limit of the server's accept queue.
    pub(super) backlog: u64,
    /// Percent of requests whose connection the client resets, always.
    pub(super) early: u64,
    /// A port of the server beside it, with small requests of the same client.
    pub(super) second_port: bool,
    /// After so many seconds without data the client's kernel asks whether the peer is there, three times; 0: never.
    pub(super) keepalive_s: u64,
    /// The client's kernel gives up what is not acknowledged for so long; 0: as long as tcp_retries2 says.
    pub(super) user_timeout_ms: u64,
    /// Percent of the answers of a DNS server that are too long for UDP.
    pub(super) truncated: u64,
    /// The server ends a connection when it has answered, before the client does.
    pub(super) hangup: bool,
    /// The client connects from two addresses by turns, which a NAT makes one.
    pub(super) two_hosts: bool,
    /// The client's requests go through a sidecar of its pod.
    pub(super) sidecar: Option<Proxy>,
}

/// What a sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    /// A program of the lab.
    Relay,
    Haproxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Dns,
    /// Servers that were not written for the lab, over IPv4.
    Nginx,
    /// Before nginx.
    Haproxy,
    Redis,
    Postgres,
}

/// Whom it hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The client and the server of the act.
    Pair,
    /// Every client of that server.
    Server,
    /// Everything between that server and the client's node.
    PathToServer,
    /// Everything between the two nodes.
    Path,
}

/// An end of the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
    /// The client's node, between its pods and the path.
    Node,
}

/// What is done. `SERVER`, `CLIENT` and `PORT` in texts stand for their addresses and the server's port.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Nothing.
    Nothing,
    /// The path treats frames so (`netcause-lab traffic path`).
    Path(String),
    /// The program of one end gets this line, and that one at the end of the fault.
    Program(End, String, String),
    /// A rule of nftables in one end's network namespace, at `input` or `output`.
    Rule(End, &'static str, String),
    /// Commands in one end's network namespace, and those that undo them.
    Commands(End, Vec<String>, Vec<String>),
    /// SYNs without an end from addresses that do not exist.
    Flood,
    /// The server's program is killed, and started again at the end of the fault.
    Kill,
    /// The server's program is stopped, and continued.
    Stop,
    /// The server's machine is gone: its programs stop, and nothing comes to it or from it any more.
    Vanish,
    /// The path treats frames in these ways by turns, for so many seconds each.
    Turns(Vec<(u64, String)>),
    /// The client's sidecar gets this signal, and goes on, or runs again, at the end of the fault.
    Sidecar(Blow),
    /// Connection tracking of one end has no room, because so many connections fill it.
    Track(End, u64),
    /// The path forgets idle connections, and a part of the client's connections is idle for 33 s before the fault is felt.
    Forget(String),
    /// The server's port is closed for so many milliseconds, with its connections.
    Restart(u64),
}

/// What is done to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    Stop,
    Kill,
}

/// Healthy traffic beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bystander {
    /// The first act's client with another server beyond the path.
    FarServer,
    /// The first act's client with a server on its node.
    NearServer,
    /// A client on the server's node with the first act's server.
    NearClient,
    /// Another client beyond the path with the first act's server.
    FarClient,
    /// Two that have nothing to do with it.
    Apart,
}

/// Which cases are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kinds<'a> {
    All,
    Healthy,
    /// Of these, by turns.
    Named(&'a [String]),
}

impl Case {
    /// Draws a case.
    pub(super) fn draw(seed: u64, kinds: Kinds<'_>) -> Self {
        let mut draw = Draw::new(seed);
        let family = family(seed, &mut draw, kinds);
        let mut acts = vec![(family.draw)(&mut draw)];
        // Two at once: the second at another server, and no matter of the path.
        if family.may_have_second && matches!(kinds, Kinds::All) && draw.percent(15) {
            let second = draw.one_of(families::SECOND);
            acts.push((families::find(second).draw)(&mut draw));
            if acts[0].scope == Scope::Path {
                acts[0].scope = Scope::PathToServer;
                if let Deed::Path(how) = &mut acts[0].deed {
                    how.push_str(" only=SERVER");
                }
            }
        }
        let count = draw.one_of(&[0, 0, 1, 1, 2, 2, 3, 4, 6]);
        let kinds = [
            Bystander::FarServer,
            Bystander::NearServer,
            Bystander::NearClient,
            Bystander::FarClient,
            Bystander::Apart,
        ];
        // One agent sees both nodes here: that the server answers a client on its own node must not speak for the path.
        let is_path = matches!(acts[0].scope, Scope::Path | Scope::PathToServer);
        let beyond =
            |kind| if is_path && kind == Bystander::NearClient { Bystander::FarClient } else { kind };
        let bystanders = (0..count).map(|_| beyond(draw.one_of(&kinds))).collect();
        Self {
            seed,
            v6: family.v6 && draw.percent(40),
            healthy: draw.number(32, 40),
            delay_ms: draw.one_of(&[0, 0, 1, 2, 5, 10]),
            acts,
            bystanders,
        }
    }

    /// True if it is about connects that send no SYN.
    pub(super) fn is_unsent(&self) -> bool {
        self.acts.iter().any(|act| UNSENT.contains(&act.name))
    }

    /// True where nothing is wrong.
    pub(super) fn is_healthy(&self) -> bool {
        self.acts.iter().all(|act| act.truth.causes.is_empty())
    }
}

fn family(seed: u64, draw: &mut Draw, kinds: Kinds<'_>) -> &'static Family {
    let from = match kinds {
        Kinds::Named(names) => {
            let turn = usize::try_from(seed).unwrap_or(0).checked_rem(names.len()).unwrap_or(0);
            return families::find(names.get(turn).map_or("", String::as_str));
        }
        Kinds::Healthy => healthy::FAMILIES,
        // A quarter of the cases is healthy.
        Kinds::All if draw.percent(25) => healthy::FAMILIES,
        Kinds::All => families::FAMILIES,
    };
    let last = from.len().saturating_sub(1) as u64;
    &from[usize::try_from(draw.number(0, last)).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_case_and_others_differ() {
        let of = |seed| format!("{:?}", Case::draw(seed, Kinds::All));
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn all_families_come_up() {
        let names: std::collections::BTreeSet<_> =
            (0..600).map(|seed| Case::draw(seed, Kinds::All).acts[0].name).collect();
        assert_eq!(names.len(), families::FAMILIES.len() + healthy::FAMILIES.len(), "{names:?}");
        assert!((0..50).all(|seed| Case::draw(seed, Kinds::Healthy).is_healthy()));
    }
}
