//! What the kernel side and the daemon agree on: map keys, counters, wire types and limits.
//!
//! All types are plain integers in `repr(C)`. What comes out of the kernel is not trusted to be a valid enum: events
//! carry numbers, and the daemon converts them with a check (`from_number` of [`labelled_enum!`]).
#![no_std]

mod labelled;

pub mod dns;
pub mod drops;
pub mod endpoint;
pub mod flow;
pub mod histogram;
pub mod layout;
pub mod limits;
pub mod networks;
#[cfg(feature = "user")]
mod pod;
pub mod probe;
pub mod socket;
pub mod statistics;
pub mod wire;
