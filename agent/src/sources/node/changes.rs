//! Routes and addresses of the agent's network namespace that changed: notifications of rtnetlink, counted by their types.

use netcause_core::node::changes::{Change, Changes};
use netcause_core::node::{Failure, Found, Reason};
use rustix::io::Errno;

use super::rtnetlink::failure;
use crate::kernel::netlink::{Messages, Socket};

/// RTNLGRP_IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR and _IPV6_ROUTE, as bits (include/uapi/linux/rtnetlink.h).
const GROUPS: u32 = 1 << (5 - 1) | 1 << (7 - 1) | 1 << (9 - 1) | 1 << (11 - 1);
/// RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE and RTM_DELROUTE, of the same file.
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;
/// Datagrams read in one pass; more wait for the next.
const MAX_DATAGRAMS: usize = 8192;

/// Listens for changes, and what it has heard so far.
pub(super) struct Listener {
    socket: Found<Socket>,
    counted: Changes,
}

impl Listener {
    pub fn new() -> Self {
        Self { socket: Socket::open(None, GROUPS).map_err(failure), counted: Changes::default() }
    }

    /// All changes since the listener was made.
    pub fn read(&mut self) -> Found<Changes> {
        let socket = self.socket.as_mut().map_err(|failure| failure.clone())?;
        for _ in 0..MAX_DATAGRAMS {
            match socket.receive_waiting() {
                Ok(bytes) => count(bytes, &mut self.counted)?,
                Err(Errno::AGAIN) => break,
                // The kernel says so once for all that did not fit.
                Err(Errno::NOBUFS) => self.counted[Change::Lost as usize] += 1,
                Err(errno) => return Err(failure(errno)),
            }
        }
        Ok(self.counted)
    }
}

fn count(bytes: &[u8], counted: &mut Changes) -> Found<()> {
    for message in Messages(bytes) {
        let message =
            message.map_err(|_| Failure::new(Reason::Malformed, "rtnetlink: cannot parse a notification"))?;
        let change = match message.kind {
            NEW_ADDRESS => Change::AddressAdded,
            DELETED_ADDRESS => Change::AddressRemoved,
            NEW_ROUTE => Change::RouteAdded,
            DELETED_ROUTE => Change::RouteRemoved,
            _ => continue,
        };
        counted[change as usize] += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::request;

    #[test]
    fn notifications_are_counted_by_type() {
        let bytes = [20, 24, 24, 25, 16].map(|kind| request(kind, 0, 0, &[0; 12])).concat();
        let mut counted = Changes::default();
        count(&bytes, &mut counted).unwrap();
        assert_eq!(counted, [2, 1, 1, 0, 0]);
        assert!(count(&bytes[..20], &mut counted).is_err());
        assert!(Listener::new().read().is_ok());
    }
}
