//! Views of one end: two nodes are two virtual machines, each with an agent of its own, and between them lies the path, which is
//! a program on the host. No kernel sees both ends, or what happens on the way.
//!
//! `netcause-lab one-ended` runs on the host, needs no rights, and drives both machines over a serial port each, which faults do
//! not reach. In each machine runs `netcause-lab node`: pods, traffic and the agent.

mod attribution;
mod cases;
mod control;
mod faults;
mod node;
mod stage;
mod table;
mod verdict;

pub(crate) use attribution::Attribution;
pub(crate) use cases::OneEnded;
pub(crate) use node::Node;
