//! Asks a server that was not written for the lab again and again, over several connections; each line of standard input is the request
//! from then on.

use std::{
    io::BufRead as _,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::{Language, Protocol, begin};
use crate::traffic::path::Chance;

/// `netcause-lab traffic ask-often`
#[derive(Args)]
pub(crate) struct AskOften {
    #[arg(long)]
    connect: SocketAddr,
    #[arg(long, value_enum)]
    language: Language,
    /// The first request
    #[arg(long)]
    request: String,
    /// Connections at a time
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// The time between two requests of a connection, on average
    #[arg(long, default_value_t = 100)]
    interval_ms: u32,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl AskOften {
    pub(crate) fn run(self) -> Result<()> {
        let request = Mutex::new(self.request.clone());
        let (is_ending, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for number in 0..self.connections {
                let chance = Chance::new(self.seed.wrapping_add(u64::from(number)));
                let (asker, request, is_ending, answered) = (&self, &request, &is_ending, &answered);
                scope.spawn(move || asker.work(chance, request, is_ending, answered));
            }
            let result = follow(&request);
            is_ending.store(true, Ordering::SeqCst);
            result
        })?;
        println!("{}", json!({"answered": answered.load(Ordering::SeqCst)}));
        Ok(())
    }

    fn work(
        &self,
        mut chance: Chance,
        request: &Mutex<String>,
        is_ending: &AtomicBool,
        answered: &AtomicU64,
    ) {
        let mut protocol: Option<Box<dyn Protocol>> = None;
        while !is_ending.load(Ordering::SeqCst) {
            let asked = request.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let result = match &mut protocol {
                Some(protocol) => protocol.ask(&asked).and_then(|()| protocol.hear()),
                None => begin(self.language, self.connect).map(|begun| protocol = Some(begun)),
            };
            match result {
                Ok(()) => {
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                // The next turn opens another connection.
                Err(_) => protocol = None,
            }
            let pause = Duration::from_millis(self.interval_ms.into());
            thread::sleep(pause.mul_f64(0.5 + chance.next()));
        }
    }
}

fn follow(request: &Mutex<String>) -> Result<()> {
    println!("{}", json!({"ready": true}));
    for (number, line) in (1_u64..).zip(std::io::stdin().lock().lines()) {
        *request.lock().unwrap_or_else(PoisonError::into_inner) = line.context("reading a request")?;
        println!("{}", json!({"done": number}));
    }
    Ok(())
}
