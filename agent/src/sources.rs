//! Where names come from beside this node's cgroups: the Kubernetes API, the kubelet, and a file. Each source is a task that
//! sends updates into one bounded channel and records its [`Health`]. While a source is down, its objects stay cached.
//!
//! And what the kernel counts of the node beside flows ([`node`]).

mod backoff;
pub mod file;
mod health;
pub mod kubelet;
pub mod kubernetes;
pub mod node;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tls;

use tokio::sync::mpsc;

use netcause_core::enrich::objects::Update;

pub use backoff::{Backoff, Jitter};
pub use health::Health;
#[cfg(test)]
pub use health::State;

/// Capacity of the channel of updates; a source that is ahead of the agent waits.
pub const CAPACITY: usize = 1024;

/// The sending side of the channel of updates.
pub type Updates = mpsc::Sender<Update>;
