//! The iterators over all open sockets: they fill maps and emit no event.

/// Key of the map of listening ports.
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

/// Key of the map of accept queues. Sockets that share a port (`SO_REUSEPORT`) share an entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueueKey {
    /// The listener's local end, as [`crate::flow::FlowKey::local`].
    pub local: u64,
    /// The listening port, in host order.
    pub port: u16,
    /// Always zero.
    pub reserved: [u16; 3],
}

/// An accept queue at the time of the last sweep.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Number of that sweep; 0 when nothing listens at the port any more.
    pub sweep: u64,
    /// Segments discarded by the listening sockets of the port, for any reason, since the agent first saw each.
    pub discards: u64,
    /// Connections waiting to be accepted; of sockets that share the port, those of the fullest.
    pub length: u32,
    /// Limit of that socket's queue; one more fits (`sk_acceptq_is_full`, include/net/sock.h).
    pub limit: u32,
    /// Inode number of the network namespace in which the port first listened.
    pub namespace: u32,
    /// Always zero.
    pub reserved: u32,
}

/// A network namespace with a listening socket; the key in its map is its inode number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListeningNamespace {
    /// Number of the sweep that found it.
    pub sweep: u64,
    /// A thread in it.
    pub thread: u32,
    /// Tells it from others that had its inode number before: `net.hash_mix`; 0 if the kernel has none.
    pub mark: u32,
}

/// State of the sweep, shared by the daemon (number) and the programs (socket).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Number of the sweep, from 1.
    pub number: u64,
    /// The socket whose totals the sweep is adding now; 0 for none.
    pub socket: u64,
}

const _: () = {
    assert!(size_of::<QueueKey>() == 16);
    assert!(size_of::<AcceptQueue>() == 32);
    assert!(size_of::<ListeningNamespace>() == 16);
    assert!(size_of::<Sweep>() == 16);
};
