//! What changed in the configuration of the node's own network namespace.

use netcause_common::labelled_enum;

labelled_enum! {
    /// A kind of change: an index into [`Changes`].
    pub enum Change: u8 {
        /// A route was added or replaced.
        RouteAdded = 0, "route_added";
        /// A route was removed.
        RouteRemoved = 1, "route_removed";
        /// An address was added, or its lifetime or flags have changed.
        AddressAdded = 2, "address_added";
        /// An address was removed.
        AddressRemoved = 3, "address_removed";
        /// Times that notifications were lost because too many came at once.
        Lost = 4, "lost";
    }
}

/// How often, by [`Change`].
pub type Changes = [u64; Change::COUNT];
