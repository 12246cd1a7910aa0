//! The pass over the sockets that are older than the agent: it fills tables and emits no event.

/// Key of the table of listening ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerKey {
    /// Inode number of the network namespace.
    pub namespace: u32,
    /// The port, in host order.
    pub port: u16,
    /// Always zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<ListenerKey>() == 8);
