//! The client against the fake API server.

mod faults;
mod lists;
mod lookups;
mod nodes;
mod tls;

pub const PODS: &str = "/api/v1/pods";
