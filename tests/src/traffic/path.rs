//! The path between two nodes, as a program: it passes frames from one end to the other one, and loses, delays, reorders,
//! duplicates, corrupts or swallows them on their way. An end is a TAP device of this machine, or the network card of a VM.
//!
//! No kernel sees what it does, as no node sees what a switch between racks does. What it does to each direction is written as lines
//! on standard input, and chance comes from a seed.

mod end;
mod frame;
mod treatment;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fs::File,
    io::{self, BufRead as _, PipeReader, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use end::End;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use frame::{Flow, Kind};
use treatment::{Treatment, parse};

pub(crate) use end::DEVICE;

/// The largest frame: an Ethernet header and 9000 bytes.
const MAX_FRAME: usize = 9018;
/// An Ethernet header.
const HEADER: usize = 14;
/// Connections that are remembered before those without segments for [`IDLE`] are not.
const MAX_FLOWS: usize = 100_000;
const IDLE: Duration = Duration::from_secs(120);
/// Frames taken from one end before the other has its turn.
const BURST: usize = 64;
/// How long a full end is left alone.
const FULL: Duration = Duration::from_micros(200);

/// `netcause-lab traffic path`
#[derive(Args)]
pub(crate) struct PathBetween {
    /// The first end: `tap:PID`, a device in the network namespace of this process, or `socket:OURS:THEIRS`, datagrams of one
    /// frame each between these two UNIX sockets
    #[arg(long)]
    a: End,
    /// The other end
    #[arg(long)]
    b: End,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Numbers that look random (xorshift64*, Vigna 2016), the same for the same seed.
pub(crate) struct Chance(u64);

impl Chance {
    /// From a seed; seeds beside each other give numbers that have nothing in common (SplitMix64, Steele et al. 2014).
    pub(crate) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)).max(1))
    }

    /// From 0 to below 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in such a share of cases.
    pub(crate) fn is(&mut self, share: f64) -> bool {
        share > 0.0 && self.next() < share
    }
}

/// A frame on its way: when it arrives, its place among those of the same time, and its bytes.
type OnItsWay = Reverse<(Instant, u64, Vec<u8>)>;

struct Path {
    ends: [File; 2],
    treatments: [Treatment; 2],
    /// When the queue of each direction will be empty: of frames that pass as if there were no treatment, and of others.
    busy: [[Instant; 2]; 2],
    /// When the last frame of each direction arrives, of both.
    last: [[Instant; 2]; 2],
    /// What goes to each end.
    waiting: [BinaryHeap<OnItsWay>; 2],
    /// Until when each end is left alone, because it took nothing.
    full: [Instant; 2],
    taken: u64,
    lost: [u64; 2],
    passed: [u64; 2],
    chance: Chance,
    /// When each connection last had a segment, and whether it is forgotten.
    flows: HashMap<Flow, (Instant, bool)>,
}

impl PathBetween {
    pub(crate) fn run(self) -> Result<()> {
        let ends = [self.a.open()?, self.b.open()?];
        println!("{}", json!({"ready": true}));
        let now = Instant::now();
        let mut path = Path {
            ends,
            treatments: [Treatment::default(); 2],
            busy: [[now; 2]; 2],
            last: [[now; 2]; 2],
            waiting: [BinaryHeap::new(), BinaryHeap::new()],
            full: [now; 2],
            taken: 0,
            lost: [0; 2],
            passed: [0; 2],
            chance: Chance::new(self.seed),
            flows: HashMap::new(),
        };
        let (wake, commands) = commands()?;
        let result = path.pass(&wake, &commands);
        println!("{}", json!({"passed": path.passed, "lost": path.lost}));
        result
    }
}

/// Lines of standard input, and what becomes readable with each; closed at its end.
fn commands() -> Result<(PipeReader, Receiver<String>)> {
    let (read, mut write) = io::pipe().context("a pipe")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() || write.write_all(&[0]).is_err() {
                return;
            }
        }
    });
    Ok((read, receiver))
}

impl Path {
    fn pass(&mut self, mut wake: &PipeReader, commands: &Receiver<String>) -> Result<()> {
        let mut buffer = vec![0; MAX_FRAME];
        let mut done = 0_u64;
        loop {
            if self.wait(wake, self.due())? {
                if wake.read(&mut [0])? == 0 {
                    return Ok(());
                }
                let line = commands.recv().context("the line")?;
                for (now, new) in self.treatments.iter_mut().zip(parse(&line)?) {
                    *now = new.unwrap_or(*now);
                }
                done += 1;
                println!("{}", json!({"done": done}));
            }
            for from in 0..2 {
                for _ in 0..BURST {
                    match (&self.ends[from]).read(&mut buffer) {
                        Ok(length) => self.take(from, &buffer[..length]),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error).context("reading a frame"),
                    }
                }
                self.deliver(from);
            }
        }
    }

    /// How long there is nothing to deliver.
    fn due(&self) -> Option<Duration> {
        let ends = self.waiting.iter().zip(self.full);
        let next = ends.filter_map(|(waiting, full)| waiting.peek().map(|Reverse((at, ..))| full.max(*at)));
        next.min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for a frame, a command or a time; true when there is a command.
    fn wait(&self, wake: &PipeReader, due: Option<Duration>) -> Result<bool> {
        let fds: [BorrowedFd<'_>; 3] = [self.ends[0].as_fd(), self.ends[1].as_fd(), wake.as_fd()];
        let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let due = due
            .map(|due| Timespec { tv_sec: due.as_secs().cast_signed(), tv_nsec: due.subsec_nanos().into() });
        match poll(&mut polled, due.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting"),
        }
        Ok(!polled[2].revents().is_empty())
    }

    /// Takes a frame from one end.
    fn take(&mut self, from: usize, frame: &[u8]) {
        let now = Instant::now();
        let kind = Kind::of(frame);
        let mut treatment = self.treatments[from];
        let is_meant = match (&kind, treatment.only) {
            // Between nodes is a router, which answers for itself.
            (Kind::Neighbours, _) => false,
            (Kind::Other, only) => only.is_none(),
            (Kind::Packet(packet), only) => only.is_none_or(|only| packet.ends.contains(&only)),
        };
        if !is_meant {
            treatment = Treatment::default();
        }
        if self.is_stopped(&kind, &treatment, now) {
            self.lost[from] += 1;
            return;
        }
        let Treatment { lose, duplicate, corrupt, reorder, delay, jitter, mtu, rate, queue, .. } = treatment;
        let class = usize::from(is_meant);
        let begin = self.busy[class][from].max(now);
        let queued = begin.duration_since(now).as_secs_f64() * rate;
        let is_lost = self.chance.is(lose) || frame.len() > mtu.saturating_add(HEADER) || queued > queue;
        if is_lost {
            self.lost[from] += 1;
            return;
        }
        let mut arrival = begin;
        if rate.is_finite() {
            arrival += Duration::from_secs_f64(frame.len() as f64 / rate);
            self.busy[class][from] = arrival;
        }
        arrival += delay + jitter.mul_f64(self.chance.next());
        // Jitter does not reorder by itself: queues are first in, first out.
        arrival = arrival.max(self.last[class][from]);
        self.last[class][from] = arrival;
        if self.chance.is(reorder) {
            arrival += Duration::from_millis(4);
        }
        let mut frame = frame.to_vec();
        // Behind the headers of IPv4 and TCP, so that a checksum finds it.
        if self.chance.is(corrupt) && frame.len() > HEADER + 52 {
            let last = frame.len() - 1;
            frame[last] ^= 0x55;
        }
        if self.chance.is(duplicate) {
            self.send(from, arrival, frame.clone());
        }
        self.send(from, arrival, frame);
    }

    /// True where a rule or a forgotten connection stops it.
    fn is_stopped(&mut self, kind: &Kind, treatment: &Treatment, now: Instant) -> bool {
        let Kind::Packet(packet) = kind else { return false };
        let is_of_port = |port| packet.ports.is_some_and(|ports| ports.contains(&port));
        if treatment.drop_port.is_some_and(is_of_port) {
            return true;
        }
        let Some(flow) = packet.connection() else { return false };
        if treatment.drop_tcp_port.is_some_and(is_of_port) {
            return true;
        }
        let (last, is_forgotten) = self.flows.entry(flow).or_insert((now, false));
        *is_forgotten |= now.duration_since(*last) > treatment.forget;
        // A new connection may use the ports of an old one.
        *is_forgotten &= !packet.begins;
        *last = now;
        let is_forgotten = *is_forgotten;
        if self.flows.len() > MAX_FLOWS {
            self.flows.retain(|_, (last, _)| now.duration_since(*last) < IDLE);
        }
        is_forgotten
    }

    fn send(&mut self, from: usize, arrival: Instant, frame: Vec<u8>) {
        self.taken += 1;
        self.waiting[1 - from].push(Reverse((arrival, self.taken, frame)));
    }

    /// Delivers what has arrived at one end.
    fn deliver(&mut self, to: usize) {
        let now = Instant::now();
        if self.full[to] > now {
            return;
        }
        while self.waiting[to].peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, place, frame))) = self.waiting[to].pop() else { return };
            match (&self.ends[to]).write(&frame) {
                Ok(written) if written == frame.len() => self.passed[1 - to] += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // It takes frames again when it has dealt with those it has.
                    self.waiting[to].push(Reverse((at, place, frame)));
                    self.full[to] = now + FULL;
                    return;
                }
                // A device that is down or gone takes nothing.
                _ => self.lost[1 - to] += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_as_large_as_it_is_said_to_be() {
        let mut chance = Chance::new(7);
        let hits = (0..10_000).filter(|_| chance.is(0.2)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert!(!chance.is(0.0));
        assert!((0..100).all(|_| chance.is(1.0)));
    }
}
