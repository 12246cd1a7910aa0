//! DNS traffic that no existing client makes: the C library's resolver as programs use it, resolvers that do not wait for
//! every answer, odd servers, and malformed messages.

pub(super) mod answer;
pub(super) mod ask;
pub(super) mod caller;
pub(super) mod garbage;
pub(super) mod resolve;
pub(super) mod service;
