//! Flows → edges: pairs of workloads with the totals of all flows between them.
//!
//! [`delta::Deltas`] turns the kernel's totals into differences, and [`model::Model`] adds each difference to the edge that
//! has the flow's name at that time. The model keeps every edge; which of them are exported as series is not decided here.

pub mod delta;
pub mod dns;
pub mod drops;
mod edge;
pub mod events;
pub mod listeners;
pub mod model;
mod packed;
pub mod peer_nodes;
pub mod places;
pub mod sums;
pub mod totals;
pub mod turn;
pub mod waits;
pub mod windows;

pub use edge::{Edge, Named, Reporter, Via, edge};
pub use packed::{MASKS, Packed};
