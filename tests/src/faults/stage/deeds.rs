//! How what goes wrong is done, and undone.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::Stage;
use crate::{
    faults::{
        case::{Act, Deed, End},
        served::address,
    },
    lab::namespace::Namespace,
};

/// A table of rules.
const TABLE: &str = "inet lab_fault";

impl Stage {
    pub(super) fn carry_out(&mut self, number: usize, act: &Act, on: bool) -> Result<()> {
        match &act.deed {
            Deed::Nothing | Deed::Flood => Ok(()),
            Deed::Path(how) if on => self.treat(how, number),
            Deed::Path(_) => self.path.treat(&format!("both delay_ms={}", self.case.delay_ms)),
            Deed::Forget(_) => {
                if !on {
                    self.path.treat(&format!("both delay_ms={}", self.case.delay_ms))?;
                }
                let idle = self.legs[number].idle.as_mut();
                idle.filter(|_| on).map_or(Ok(()), |idle| idle.set("run=1"))
            }
            Deed::Program(end, at_begin, at_end) => {
                let leg = &mut self.legs[number];
                let program = match end {
                    End::Client => &mut leg.caller,
                    End::Server => leg.service()?,
                    End::Node => bail!("no program runs there"),
                };
                program.set(if on { at_begin } else { at_end })
            }
            Deed::Rule(end, hook, rule) => {
                let script = format!(
                    "table {TABLE} {{\n chain faults {{\n  type filter hook {hook} priority 0;\n  {}\n }}\n}}\n",
                    self.text(rule, number)
                );
                let place = self.place(*end, number);
                if on {
                    place.run("nft", &["-f", "-"], &script).map(drop)
                } else {
                    place.run("nft", &["delete table", TABLE], "").map(drop)
                }
            }
            Deed::Commands(end, at_begin, at_end) => {
                let place = self.place(*end, number);
                let commands = if on { at_begin } else { at_end };
                commands.iter().try_for_each(|command| run(place, &self.text(command, number)))
            }
            Deed::Kill => {
                let leg = &mut self.legs[number];
                leg.service = if on { None } else { Some(leg.start(act, &self.case)?) };
                Ok(())
            }
            Deed::Stop => {
                let signal = if on { Signal::STOP } else { Signal::CONT };
                self.legs[number].service()?.signal(signal)
            }
            Deed::Vanish => {
                let how = if on { "both lose=1 only=SERVER" } else { "both" };
                self.legs[number].service()?.signal(if on { Signal::STOP } else { Signal::CONT })?;
                // What it has answered before arrives.
                thread::sleep(Duration::from_millis(100));
                self.treat(how, number)
            }
            Deed::Turns(_) => {
                self.turn = on.then(|| (Instant::now(), usize::MAX));
                self.treat("both", number)
            }
            Deed::Sidecar(blow) => self.strike(number, *blow, on),
            Deed::Track(..) => {
                let tracking = self.legs[number].tracking.as_mut();
                tracking.map_or(Ok(()), |tracking| tracking.is_full(on))
            }
            Deed::Restart(time) => {
                if !on {
                    return Ok(());
                }
                let service = self.legs[number].service()?;
                service.set("listen=0")?;
                thread::sleep(Duration::from_millis(*time));
                service.set("listen=1")
            }
        }
    }

    /// Treats frames as it is their turn.
    pub(super) fn take_turns(&mut self, turns: &[(u64, String)], number: usize) -> Result<()> {
        let all: u64 = turns.iter().map(|(seconds, _)| seconds).sum();
        let Some((began, last)) = self.turn else { return Ok(()) };
        let mut into = began.elapsed().as_secs() % all.max(1);
        for (turn, (seconds, how)) in turns.iter().enumerate() {
            if into < *seconds {
                self.turn = Some((began, turn));
                return if turn == last { Ok(()) } else { self.treat(how, number) };
            }
            into -= seconds;
        }
        Ok(())
    }

    pub(super) fn treat(&mut self, how: &str, number: usize) -> Result<()> {
        let delay = if how.contains("delay_ms") {
            String::new()
        } else {
            format!(" delay_ms={}", self.case.delay_ms)
        };
        let line = self.text(how, number) + &delay;
        self.path.treat(&line)
    }

    fn place(&self, end: End, number: usize) -> &Namespace {
        match end {
            End::Node => self.near.switch(),
            End::Client => &self.client,
            End::Server => &self.legs[number].server,
        }
    }

    /// A text with the addresses and the port.
    fn text(&self, text: &str, number: usize) -> String {
        let leg = &self.legs[number];
        let address = |pod| address(pod, self.case.v6, 0).ip().to_string();
        let server = address(&leg.server);
        let to = format!("{} daddr {server}", if self.case.v6 { "ip6" } else { "ip" });
        text.replace("TO_SERVER", &to)
            .replace("SERVER", &server)
            .replace("CLIENT", &address(&self.client))
            .replace("PORT", &leg.port.to_string())
    }
}

/// Runs a command in a pod's network namespace; `sysctl` writes settings.
fn run(place: &Namespace, command: &str) -> Result<()> {
    if let Some(setting) = command.strip_prefix("sysctl ") {
        return place.sysctl(&[setting]);
    }
    let (program, args) = command.split_once(' ').context("a command without arguments")?;
    place.run(program, &args.split(' ').collect::<Vec<_>>(), "").map(drop)
}
