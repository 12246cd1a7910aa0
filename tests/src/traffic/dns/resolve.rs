//! glibc's resolver: `getaddrinfo`, as every program calls it.

use std::net::ToSocketAddrs as _;

use anyhow::Result;
use clap::Args;
use serde_json::json;

/// `netcause-lab traffic dns-resolve`
#[derive(Args)]
pub(crate) struct Resolve {
    /// Names, resolved one after the other
    names: Vec<String>,
}

impl Resolve {
    pub(crate) fn run(self) -> Result<()> {
        let (mut resolved, mut addresses, mut failures) = (0, 0, Vec::new());
        for name in &self.names {
            // The standard library asks for addresses of both families.
            match (name.as_str(), 0).to_socket_addrs() {
                Ok(found) => {
                    resolved += 1;
                    addresses += found.count();
                }
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
        println!("{}", json!({"resolved": resolved, "addresses": addresses, "failed": failures}));
        Ok(())
    }
}
