//! Connects that fail before a SYN is sent. Their event is [`ConnectFailed`](super::tcp_state::ConnectFailed).

/// Arguments of a call that connects, kept until it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Address of the `struct sock`.
    pub socket: u64,
    /// Where the address is that it connects to: a `struct sockaddr`.
    pub address: u64,
    /// Length of that in bytes.
    pub length: i32,
    /// Always zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Call>() == 24);
