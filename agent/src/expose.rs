//! What the agent shows: metrics, health, and troubles as they happen. Nothing here knows a process or a map.

pub mod catalogue;
pub mod dns;
pub mod http;
pub mod prometheus;
mod text;
pub mod trouble;
