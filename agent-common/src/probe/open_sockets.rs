//! The passes over all open sockets: they fill tables and emit no event.

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

/// Key of the table of accept queues. Sockets that share a port (`SO_REUSEPORT`) share an entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueueKey {
    /// The listener's end, as [`crate::flow::FlowKey::local`].
    pub local: u64,
    /// Its port, in host order.
    pub port: u16,
    /// Always zero.
    pub reserved: [u16; 3],
}

/// An accept queue, as the last sweep found it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// The sweep that found it.
    pub sweep: u64,
    /// Handshakes dropped since the agent saw the listener first.
    pub drops: u64,
    /// Connections that wait to be accepted: of sockets that share the port, those of the fullest.
    pub length: u32,
    /// The limit of that socket's queue; one more fits (`sk_acceptq_is_full`, include/net/sock.h).
    pub limit: u32,
}

/// What the daemon tells the sweep, and what the sweep tells the other programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// The number of the sweep, from 1.
    pub number: u64,
    /// The socket whose totals are being added at this moment; 0 for none.
    pub socket: u64,
}

const _: () = {
    assert!(size_of::<QueueKey>() == 16);
    assert!(size_of::<AcceptQueue>() == 24);
    assert!(size_of::<Sweep>() == 16);
};
