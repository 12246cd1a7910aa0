//! Looks up connections in the kernel's conntrack table over netlink, in the network namespace of the calling thread.

mod message;
mod netlink;

use std::net::SocketAddr;
use std::time::Instant;

use netcause_core::enrich::conntrack::{Failure, Outcome, Pass, QueryIndex, ServiceAddress};
use netcause_core::node::conntrack::Table;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use netlink::Socket;

/// Carries out passes of lookups, one at a time, until either channel is closed. The engine sends no pass before the outcome
/// of the last one, so neither channel ever holds more than one entry.
pub async fn serve(mut passes: UnboundedReceiver<Pass>, outcomes: UnboundedSender<Outcome>) {
    while let Some(pass) = passes.recv().await {
        // A copy for the outcome in case the thread panics; it is small compared to what the kernel sends.
        let copy = pass.clone();
        let outcome = tokio::task::spawn_blocking(|| carry_out(pass)).await;
        if outcomes.send(outcome.unwrap_or_else(|_| Outcome::lost(copy))).is_err() {
            return;
        }
    }
}

/// How full the table of the calling thread's network namespace is, and what it has counted.
///
/// # Errors
///
/// When it cannot be asked.
pub fn statistics() -> Result<Table, Failure> {
    Socket::open()?.statistics()
}

/// Carries out one pass of lookups. Blocks the thread for up to several seconds.
#[must_use]
pub fn carry_out(pass: Pass) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::of(pass);
    match Socket::open() {
        Ok(socket) => look_up(&mut outcome, socket),
        Err(failure) => outcome.failure = Some(failure),
    }
    outcome.took = began.elapsed();
    outcome
}

fn look_up(outcome: &mut Outcome, mut socket: Socket) {
    match &outcome.pass {
        Pass::Connections(connections) => {
            for (place, (question, client)) in connections.clone().into_iter().enumerate() {
                let ServiceAddress { address, port, protocol } = question.service;
                match socket.one(protocol, client, SocketAddr::new(address, port)) {
                    Ok(tracked) => tracked.iter().for_each(|tracked| outcome.add(place, tracked)),
                    Err(failure) => {
                        outcome.failure = Some(failure);
                        return;
                    }
                }
            }
        }
        Pass::Table(questions) => {
            let index = QueryIndex::new(questions);
            let found = &mut outcome.found;
            let (read, failure) = socket.all(|tracked| index.add(tracked, found));
            (outcome.entries, outcome.malformed, outcome.is_cut) =
                (read.entries, read.malformed, read.is_cut);
            outcome.failure = failure;
        }
    }
}
