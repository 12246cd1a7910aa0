//! The core of Netcause: everything the agent knows, and how it follows from what it was given.
//!
//! The modules stand in the order in which data flows: ingest → enrich → aggregate → expose; [`engine`] puts the first three
//! together. Nothing here reads a clock, a file, a socket or a kernel map: what is needed from outside comes in as an input.

pub mod aggregate;
pub mod diagnose;
pub mod engine;
pub mod enrich;
pub mod expose;
pub mod ingest;
pub mod node;
pub mod recording;
pub mod seen;
#[cfg(test)]
mod testing;
pub mod token_bucket;
