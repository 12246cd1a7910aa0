//! Listening sockets, and UDP sockets that receive from anybody, that another workload serves than the one that made them (socket
//! activation).
//!
//! Sockets have the cgroup of the process that made them, accepted ones that of their listener (`sk_clone_lock`,
//! net/core/sock.c). Where a service manager makes the socket and hands it to a service, the server is who holds it: the only
//! cgroup, beside that of a manager, whose processes have a descriptor of it. A maker that still has one is the server itself,
//! because descriptors are inherited by accident as well.

use std::collections::HashMap;

use netcause_common::flow::{FlowKey, LOCAL_IS_NAMESPACE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_SERVER};
use netcause_common::probe::open_sockets::{Holders as Found, QueueKey};

use super::Names;
use crate::enrich::Workload;

/// The cgroups that hold a socket of another one, by its protocol, maker and port.
pub(super) type Holders = HashMap<(u8, u64, u16), Held>;

/// Who holds a socket, beside the maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    by_maker: bool,
    by_more: bool,
    by: [u64; 2],
}

impl Names {
    /// Takes who holds the listeners (`PROTOCOL_TCP`) or the UDP sockets that the last sweep found.
    pub fn held(&mut self, protocol: u8, found: impl Iterator<Item = (QueueKey, Found)>) {
        for (key, found) in found {
            let at = (protocol, key.local, key.port);
            let held = Held {
                by_maker: found.and & Found::MAKER != 0,
                by_more: found.and & Found::MORE != 0,
                by: found.others,
            };
            held.by.iter().for_each(|holder| self.observe_local(*holder));
            let before = self.holders.get(&at).copied();
            // Between two lives of a service its manager holds it alone.
            let is_waiting = (!held.by_maker || self.is_manager(key.local))
                && held.by.iter().all(|holder| *holder == 0 || self.is_manager(*holder));
            if before == Some(held) || is_waiting || before.is_none() && held.by == [0; 2] {
                continue;
            }
            let server_before = self.served_by(protocol, key.local, key.port);
            self.holders.insert(at, held);
            if self.served_by(protocol, key.local, key.port) != server_before {
                // Of both ends.
                self.changes.everything();
            }
        }
    }

    /// The name of the local end of a flow.
    #[must_use]
    pub fn local_of(&self, flow: &FlowKey) -> Workload {
        if flow.role == ROLE_SERVER {
            self.server_of(flow.protocol, flow.local, flow.service_port)
        } else {
            self.local(flow.local)
        }
    }

    /// The name of the server at a TCP port of a local end.
    #[must_use]
    pub fn server(&self, local: u64, port: u16) -> Workload {
        self.server_of(PROTOCOL_TCP, local, port)
    }

    /// The same of a protocol. A server of DNS has a UDP socket, and over TCP the same name.
    pub(super) fn server_of(&self, protocol: u8, local: u64, port: u16) -> Workload {
        let transport = if protocol == PROTOCOL_TCP { PROTOCOL_TCP } else { PROTOCOL_UDP };
        self.local(self.served_by(transport, local, port))
    }

    /// A cgroup has a place now: whether it is a manager's is known.
    pub(super) fn place_holder(&mut self, id: u64) {
        if self.holders.values().any(|held| held.by.contains(&id)) {
            self.changes.everything();
        }
    }

    /// True for a cgroup that holds a socket of another one.
    pub(super) fn holds(&self, id: u64) -> bool {
        self.holders.values().any(|held| held.by.contains(&id))
    }

    /// Forgets sockets of other local ends than these.
    pub(super) fn retain_holders(&mut self, is_in_use: impl Fn(u64) -> bool) {
        self.holders.retain(|(_, local, _), _| is_in_use(*local));
    }

    fn served_by(&self, protocol: u8, local: u64, port: u16) -> u64 {
        let Some(held) = self.holders.get(&(protocol, local, port)) else { return local };
        if held.by_more || held.by_maker && !self.is_manager(local) {
            return local;
        }
        let mut holders = held.by.into_iter().filter(|holder| *holder != 0 && !self.is_manager(*holder));
        match (holders.next(), holders.next()) {
            (Some(holder), None) => holder,
            _ => local,
        }
    }

    /// True for the cgroup of systemd itself, the system's or a user's.
    fn is_manager(&self, id: u64) -> bool {
        id & LOCAL_IS_NAMESPACE == 0 && self.cgroups.is_named(id, b"init.scope")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::*;
    use super::*;
    use netcause_common::dns::PROTOCOL_DNS;

    const MANAGER: &str = "init.scope";
    const SOCKET: &str = "system.slice/web.socket";
    const WEB: &str = "system.slice/web.service";
    const OTHER: &str = "system.slice/other.service";

    /// Who serves at the maker's port when these hold it.
    fn hold(names: &mut Names, maker: u64, by_maker: bool, others: [u64; 2]) -> u64 {
        let key = QueueKey { local: maker, port: 80, ..QueueKey::default() };
        let and = if by_maker { Found::MAKER } else { 0 };
        names.held(PROTOCOL_TCP, [(key, Found { others, and, reserved: 0 })].into_iter());
        names.served_by(PROTOCOL_TCP, maker, 80)
    }

    #[test]
    fn a_listener_is_served_by_who_holds_it_and_is_no_manager() {
        let tree = Tree::new(&[MANAGER, SOCKET, WEB, OTHER]);
        let [manager, socket, web, other] = [MANAGER, SOCKET, WEB, OTHER].map(|path| tree.local(path));
        let mut names = tree.names(Options::default());
        assert_eq!(hold(&mut names, socket, false, [manager, 0]), socket, "not started yet");
        assert!(names.changes().is_empty());
        assert_eq!(hold(&mut names, socket, false, [manager, web]), web);
        assert!(!names.take_changes().is_empty());
        assert_eq!(hold(&mut names, socket, false, [manager, 0]), web, "stopped");
        assert_eq!(hold(&mut names, socket, false, [web, other]), socket, "one of two");
        assert_eq!(hold(&mut names, manager, true, [web, 0]), web);
        assert_eq!(hold(&mut names, other, true, [web, 0]), other, "inherited");
        assert_eq!(hold(&mut names, web, false, [other, 0]), other);
        assert_eq!(hold(&mut names, web, true, [0; 2]), web, "the maker has it again");

        let flow = client(manager, "10.0.0.9", 80);
        assert_eq!(names.local_of(&flow), names.local(manager), "a client is who it is");
        assert_eq!(names.local_of(&FlowKey { role: ROLE_SERVER, ..flow }), names.local(web));
        assert_eq!(names.served_by(PROTOCOL_TCP, manager, 81), manager);
    }

    #[test]
    fn a_udp_socket_is_served_by_who_holds_it_whatever_listens_at_its_port() {
        let tree = Tree::new(&[SOCKET, WEB]);
        let [socket, web] = [SOCKET, WEB].map(|path| tree.local(path));
        let mut names = tree.names(Options::default());
        let key = QueueKey { local: socket, port: 53, ..QueueKey::default() };
        names.held(PROTOCOL_UDP, [(key, Found { others: [web, 0], ..Found::default() })].into_iter());
        let serves = |protocol| names.local_of(&FlowKey { protocol, ..server(socket, "10.0.0.9", 53) });
        assert_eq!([PROTOCOL_UDP, PROTOCOL_DNS].map(serves), [(); 2].map(|()| names.local(web)));
        assert_eq!(serves(PROTOCOL_TCP), names.local(socket));
        let asks = FlowKey { protocol: PROTOCOL_UDP, ..client(socket, "10.0.0.9", 53) };
        assert_eq!(names.local_of(&asks), names.local(socket));
    }

    #[test]
    fn a_holder_is_remembered_as_long_as_the_maker_is_in_use() {
        let tree = Tree::new(&[SOCKET, WEB]);
        let [socket, web] = [SOCKET, WEB].map(|path| tree.local(path));
        let mut names = tree.names(Options::default());
        hold(&mut names, socket, false, [web, 0]);
        let retain = |names: &mut Names, in_use| names.retain(&[in_use].into(), &[].into());
        retain(&mut names, socket);
        retain(&mut names, socket);
        assert_eq!(names.server(socket, 80), Workload::plain("web.service"));
        retain(&mut names, web);
        assert_eq!(names.served_by(PROTOCOL_TCP, socket, 80), socket);
    }
}
