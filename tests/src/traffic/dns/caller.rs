//! A client that looks names up at intervals, as the C library does: two tries of five seconds (resolv.conf(5)).

use std::{
    net::{SocketAddr, UdpSocket},
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

/// `netcause-lab traffic dns-caller`
#[derive(Args)]
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
        let knobs = Knobs::new(&[("run", 1.0), ("interval_ms", self.interval_ms.into())]);
        let (is_ending, answered, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for number in 0..self.parallel {
                let mut chance = Chance::new(self.seed.wrapping_add(u64::from(number)));
                let (caller, knobs, is_ending) = (&self, &knobs, &is_ending);
                let (answered, failed) = (&answered, &failed);
                scope.spawn(move || {
                    while !is_ending.load(Ordering::SeqCst) {
                        if knobs.is("run") {
                            let counter = if caller.look_up(&mut chance).is_ok() { answered } else { failed };
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

    fn look_up(&self, chance: &mut Chance) -> Result<()> {
        let socket = UdpSocket::bind((any_like(self.connect), 0)).context("binding")?;
        socket.connect(self.connect)?;
        socket.set_read_timeout(Some(TRY))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to below 2^16")]
        let mut number = || (chance.next() * 65_536.0) as u32;
        let (id, name) = (number(), format!("n{}", number()));
        let mut query = vec![id.to_be_bytes()[2], id.to_be_bytes()[3], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in [&name, "lab", "test", ""] {
            query.push(u8::try_from(label.len()).unwrap_or_default());
            query.extend(label.bytes());
        }
        query.extend([0, 1, 0, 1]);
        let ask = || -> std::io::Result<()> {
            socket.send(&query)?;
            let mut answer = [0; 1024];
            let length = socket.recv(&mut answer)?;
            let is_good = length >= 12 && matches!(answer[3] & 15, 0 | 3);
            if is_good { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
        };
        ask().or_else(|_| ask()).context("no answer")
    }
}
