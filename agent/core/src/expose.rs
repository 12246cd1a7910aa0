//! What of the model is shown, independent of any format.

pub mod budget;
pub mod dns_servers;
pub mod legs;
pub mod waiting;
