//! Services: which one an address and a port belong to.

use super::address::{Octets, octets};
use super::effects::Effects;
use super::few::{Few, Index};
use super::table::{Keyed, Table};
use super::told::Told;
use crate::enrich::name::Name;
use crate::enrich::objects::{self, ServicePort, Source};

/// What is kept of a service.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: Name,
    addresses: Box<[Octets]>,
    ports: Box<[ServicePort]>,
    told: Told,
}

impl Keyed for Service {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

/// Services by name, by address and port, and by address.
#[derive(Debug, Default)]
pub struct Services {
    table: Table<Service>,
    by_port: Index<(Octets, u16, u8)>,
    by_address: Index<Octets>,
    /// The ports that every node opens.
    by_node_port: Index<(u16, u8)>,
}

impl Services {
    /// A source tells it. Says whether there was room for it.
    pub fn tell(
        &mut self,
        source: Source,
        name: Name,
        service: &objects::Service,
        max: usize,
        effects: &mut Effects,
    ) -> bool {
        let mut addresses: Vec<Octets> = service.addresses.iter().map(|address| octets(*address)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut ports = service.ports.clone();
        ports.sort_unstable_by_key(|port| (port.port, port.protocol, port.node_port));
        ports.dedup();
        let (addresses, ports) = (addresses.into_boxed_slice(), ports.into_boxed_slice());
        let Some(id) = self.table.find(&name) else {
            if self.table.len() >= max {
                return false;
            }
            let mut told = Told::default();
            told.tell(source);
            addresses.iter().for_each(|address| effects.address(address));
            let id = self.table.insert(Service { name, addresses, ports, told });
            self.index(id, true);
            return true;
        };
        let Some(known) = self.table.get_mut(id) else { return true };
        known.told.tell(source);
        if known.addresses == addresses && known.ports == ports {
            return true;
        }
        known.addresses.iter().chain(&addresses).for_each(|address| effects.address(address));
        self.index(id, false);
        if let Some(known) = self.table.get_mut(id) {
            (known.addresses, known.ports) = (addresses, ports);
        }
        self.index(id, true);
        true
    }

    /// A source tells it no more.
    pub fn gone(&mut self, source: Source, id: u32, effects: &mut Effects) {
        if !self.table.get_mut(id).is_some_and(|service| service.told.gone(source)) {
            return;
        }
        self.index(id, false);
        if let Some(service) = self.table.remove(id) {
            service.addresses.iter().for_each(|address| effects.address(address));
        }
    }

    /// The service of this name.
    pub fn find(&self, name: &Name) -> Option<u32> {
        self.table.find(name)
    }

    /// A source begins its list.
    pub fn list_begins(&mut self, source: Source) {
        self.table.values_mut().for_each(|service| service.told.list_begins(source));
    }

    /// Those that it has left out.
    pub fn missed(&self, source: Source) -> Vec<u32> {
        self.table.iter().filter(|(_, service)| service.told.is_missed(source)).map(|(id, _)| id).collect()
    }

    /// The one service with this address and port.
    pub fn at(&self, address: &Octets, port: u16, protocol: u8) -> Option<&Name> {
        self.only(self.by_port.get(&(*address, port, protocol)))
    }

    /// The one service with this address.
    pub fn on(&self, address: &Octets) -> Option<&Name> {
        self.only(self.by_address.get(address))
    }

    /// The one service with this port on every node.
    pub fn at_node_port(&self, port: u16, protocol: u8) -> Option<&Name> {
        self.only(self.by_node_port.get(&(port, protocol)))
    }

    /// Services, and their addresses.
    pub fn len(&self) -> (usize, usize) {
        (self.table.len(), self.by_address.len())
    }

    fn only(&self, few: Option<&Few>) -> Option<&Name> {
        Some(&self.table.get(few?.only()?)?.name)
    }

    /// Puts it into all indexes, or takes it out.
    fn index(&mut self, id: u32, is_in: bool) {
        let Some(service) = self.table.get(id) else { return };
        for address in &service.addresses {
            put(&mut self.by_address, *address, id, is_in);
            for ServicePort { port, protocol, .. } in &service.ports {
                put(&mut self.by_port, (*address, *port, *protocol), id, is_in);
            }
        }
        for port in &service.ports {
            if let Some(node_port) = port.node_port {
                put(&mut self.by_node_port, (node_port, port.protocol), id, is_in);
            }
        }
    }
}

fn put<K: Eq + std::hash::Hash>(index: &mut Index<K>, key: K, id: u32, is_in: bool) {
    if is_in { index.add(key, id) } else { index.remove(&key, id) }
}
