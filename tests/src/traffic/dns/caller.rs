//! A client that looks names up at intervals, as the C library does: two tries of five seconds (resolv.conf(5)), search domains that are
//! tried first, and TCP where an answer is too long for UDP.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::super::{any_like, knobs::Knobs, path::Chance};

/// The time of a try.
const TRY: Duration = Duration::from_secs(5);

/// The search domains of a pod in a cluster; a server of the lab has no name in them.
const SEARCH: [&str; 4] =
    ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "rack.cluster.local"];

/// `netcause-lab traffic dns-caller`
///
/// Lines: `run=0` (asks nothing more), `interval_ms=50`, `search=3` (so many domains are appended to each name, one after the other,
/// before it is asked for as it is).
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Caller {
    #[arg(long)]
    connect: SocketAddr,
    /// Lookups at a time
    #[arg(long, default_value_t = 1)]
    parallel: u32,
    /// The time between two lookups of each, on average
    #[arg(long, default_value_t = 200)]
    interval_ms: u32,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Caller {
    pub(crate) fn run(self) -> Result<()> {
        let knobs = Knobs::new(&[("run", 1.0), ("interval_ms", self.interval_ms.into()), ("search", 0.0)]);
        let (is_ending, answered, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for number in 0..self.parallel {
                let mut chance = Chance::new(self.seed.wrapping_add(u64::from(number)));
                let (caller, knobs, is_ending) = (&self, &knobs, &is_ending);
                let (answered, failed) = (&answered, &failed);
                scope.spawn(move || {
                    while !is_ending.load(Ordering::SeqCst) {
                        if knobs.is("run") {
                            let found = caller.look_up(&mut chance, knobs.get("search"));
                            let counter = if found.is_ok() { answered } else { failed };
                            counter.fetch_add(1, Ordering::SeqCst);
                        }
                        thread::sleep(knobs.time("interval_ms").mul_f64(0.5 + chance.next()));
                    }
                });
            }
            let result = knobs.follow(|| {});
            is_ending.store(true, Ordering::SeqCst);
            result
        })?;
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        println!("{}", json!({"answered": count(&answered), "failed": count(&failed)}));
        Ok(())
    }

    /// Looks a name up that exists, after names of so many search domains.
    fn look_up(&self, chance: &mut Chance, domains: f64) -> Result<()> {
        let name = format!("n{}.lab.test", number(chance));
        for (_, domain) in (0_u32..).zip(SEARCH).take_while(|(index, _)| f64::from(*index) < domains) {
            self.ask(chance, &format!("{name}.{domain}"))?;
        }
        self.ask(chance, &name)
    }

    fn ask(&self, chance: &mut Chance, name: &str) -> Result<()> {
        let socket = UdpSocket::bind((any_like(self.connect), 0)).context("binding")?;
        socket.connect(self.connect)?;
        socket.set_read_timeout(Some(TRY))?;
        let [high, low] = number(chance).to_be_bytes();
        let mut query = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').chain([""]) {
            query.push(u8::try_from(label.len()).unwrap_or_default());
            query.extend(label.bytes());
        }
        query.extend([0, 1, 0, 1]);
        let ask = || -> io::Result<()> {
            socket.send(&query)?;
            let mut answer = [0; 1024];
            let length = socket.recv(&mut answer)?;
            // The bit TC (RFC 1035 §4.1.1).
            if answer[2] & 2 != 0 {
                return self.ask_again(&query);
            }
            let is_good = length >= 12 && matches!(answer[3] & 15, 0 | 3);
            if is_good { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
        };
        ask().or_else(|_| ask()).context("no answer")
    }

    /// The same over TCP, where two bytes of length come first (RFC 1035 §4.2.2).
    fn ask_again(&self, query: &[u8]) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.connect, TRY)?;
        stream.set_read_timeout(Some(TRY))?;
        let length = u16::try_from(query.len()).unwrap_or_default().to_be_bytes();
        stream.write_all(&[&length, query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))])
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to below 2^16")]
fn number(chance: &mut Chance) -> u16 {
    (chance.next() * 65_536.0) as u16
}
