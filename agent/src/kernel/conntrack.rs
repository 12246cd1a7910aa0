//! Looks connections up in the kernel's connection tracking over netlink, in the network namespace of the calling thread.

mod attributes;
mod message;
mod netlink;

use std::net::SocketAddr;
use std::time::Instant;

use netcause_core::enrich::conntrack::{Index, Outcome, Pass, Service};

use netlink::Socket;

/// Carries out a pass of lookups. Blocks the thread for up to some seconds.
#[must_use]
pub fn carry_out(pass: Pass) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::of(pass);
    match Socket::open() {
        Ok(socket) => ask(&mut outcome, socket),
        Err(failure) => outcome.failure = Some(failure),
    }
    outcome.took = began.elapsed();
    outcome
}

fn ask(outcome: &mut Outcome, mut socket: Socket) {
    match &outcome.pass {
        Pass::Connections(connections) => {
            for (place, (question, client)) in connections.clone().into_iter().enumerate() {
                let Service { address, port, protocol } = question.service;
                match socket.one(protocol, client, SocketAddr::new(address, port)) {
                    Ok(tracked) => tracked.iter().for_each(|tracked| outcome.see(place, tracked)),
                    Err(failure) => {
                        outcome.failure = Some(failure);
                        return;
                    }
                }
            }
        }
        Pass::Table(questions) => {
            let index = Index::of(questions);
            let found = &mut outcome.found;
            let (read, failure) = socket.all(|tracked| index.add(tracked, found));
            (outcome.entries, outcome.malformed, outcome.is_cut) =
                (read.entries, read.malformed, read.is_cut);
            outcome.failure = failure;
        }
    }
}
