//! The kernel side: what it can do here, loading it, and reading what it counts.
//!
//! Nothing outside this module and [`crate::ingest`] knows that there is eBPF.

pub mod btf;
pub mod layout;
mod load;
mod tables;

pub use load::{LoadError, Options, ProbeState, attach, rehearse};
pub use tables::{Events, Kernel, ProgramCost};
