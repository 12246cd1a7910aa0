//! DNS traffic that no existing client makes: the C library's resolver as programs use it, and malformed messages.

pub(super) mod garbage;
pub(super) mod resolve;
