//! DNS that no ready-made client makes: the C library's resolver as programs use it, and what is no DNS.

pub(super) mod garbage;
pub(super) mod resolve;
