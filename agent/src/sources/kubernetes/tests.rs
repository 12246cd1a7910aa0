//! The client against a server on loopback.

mod lists;
mod lookups;
mod tls;
mod trouble;

pub const PODS: &str = "/api/v1/pods";
