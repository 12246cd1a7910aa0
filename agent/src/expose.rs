//! What the agent shows: metrics, JSON, health, and TCP failures as log lines. Nothing here knows a process or a map.

pub mod births;
mod created;
pub mod dns;
pub mod edges;
pub mod event_log;
pub mod events;
pub mod exposed;
pub mod findings;
pub mod http;
pub mod lately;
mod lines;
mod node;
pub mod prometheus;
pub mod protobuf;
mod query;
pub mod scrapers;
pub mod series;
pub mod snapshot;
pub mod status;
pub mod tables;
mod text;
