//! DNS messages: queries and responses of clients and servers, and what they mean for the counters.
//!
//! [`stream`] and the probe find messages in packets; `dispatch` hands each to `client` or `server`; those use
//! `question`, `repeat` and `detail`; all of them use `counters` and `message`.
#![expect(
    clippy::cast_possible_truncation,
    reason = "messages are shorter than 2^16, and parts of words are meant"
)]

mod client;
mod closed;
mod counters;
mod detail;
mod dispatch;
mod message;
mod question;
mod repeat;
mod server;
pub mod stream;

pub use closed::{closed, refused};
pub use dispatch::count_message;
pub use message::Message;
