//! What the kernel side and the daemon agree on: map keys, counters, wire types and limits.
//!
//! Everything here is plain integers in `repr(C)`. What comes out of the kernel is never trusted to be a valid
//! enum: numbers travel, and the daemon converts them with a checked conversion.
#![no_std]

pub mod dns;
pub mod endpoint;
pub mod flow;
pub mod histogram;
pub mod layout;
pub mod limits;
#[cfg(feature = "user")]
mod pod;
pub mod probe;
pub mod socket;
pub mod statistics;
pub mod wire;
