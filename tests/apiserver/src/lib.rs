//! A Kubernetes API server for tests: true to the protocol, and made to fail in every way that a real one does.
//!
//! It has lists (paged, consistent), watches (bookmarks, streaming lists, 410), single objects, tokens and rights, as
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/> describes them and as the code of the real one has it,
//! over HTTP/1.1. Events can be created. It has no discovery, admission, other writes or protobuf. What a client must not do it remembers.
//!
//! A test runs it in two ways: by commands as lines of JSON ([`Server::command`]), which change objects, rights and faults;
//! and by a script ([`Server::scripted`]), which answers single requests otherwise than the server would.

mod control;
mod events;
mod faults;
mod http;
mod list;
pub mod objects;
mod query;
mod resources;
mod script;
mod selector;
mod server;
mod state;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod watch;

pub use http::{Accept, Accepted, Connection, Request, plain};
pub use query::Parameters;
pub use script::{Answer, Script, Step};
pub use server::Server;
pub use state::{Asked, Settings};
pub use time::now;
