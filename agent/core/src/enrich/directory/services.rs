//! Services, found by address and port, by address, or by node port.

use super::address::{AddressBytes, to_bytes};
use super::effects::Effects;
use super::id_set::{IdIndex, IdSet};
use super::provenance::Provenance;
use super::table::{Keyed, Table};
use crate::enrich::name::Name;
use crate::enrich::objects::{self, ServicePort, Source};

/// A service as the directory stores it.
#[derive(Debug)]
pub struct ServiceRecord {
    /// Its namespace and name.
    pub name: Name,
    addresses: Box<[AddressBytes]>,
    ports: Box<[ServicePort]>,
    provenance: Provenance,
}

impl Keyed for ServiceRecord {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

impl ServiceRecord {
    /// Its addresses.
    pub fn addresses(&self) -> &[AddressBytes] {
        &self.addresses
    }

    /// Whether every node has a port of it.
    pub fn has_node_ports(&self) -> bool {
        self.ports.iter().any(|port| port.node_port.is_some())
    }
}

/// All services with their indexes.
#[derive(Debug, Default)]
pub struct Services {
    table: Table<ServiceRecord>,
    by_port: IdIndex<(AddressBytes, u16, u8)>,
    by_address: IdIndex<AddressBytes>,
    /// Ports that every node opens (`nodePort`).
    by_node_port: IdIndex<(u16, u8)>,
}

impl Services {
    /// Adds a service or changes it. Returns false when it is new and there are `max` services.
    pub fn upsert(
        &mut self,
        source: Source,
        name: Name,
        service: &objects::Service,
        max: usize,
        effects: &mut Effects,
    ) -> bool {
        let mut addresses: Vec<AddressBytes> =
            service.addresses.iter().map(|address| to_bytes(*address)).collect();
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
            let mut provenance = Provenance::default();
            provenance.add(source);
            addresses.iter().for_each(|address| effects.address(address));
            let id = self.table.insert(ServiceRecord { name, addresses, ports, provenance });
            self.index(id, true);
            return true;
        };
        let Some(known) = self.table.get_mut(id) else { return true };
        known.provenance.add(source);
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

    /// A source no longer lists a service; it is removed with the last one.
    pub fn remove_source(&mut self, source: Source, id: u32, effects: &mut Effects) {
        if !self.table.get_mut(id).is_some_and(|service| service.provenance.remove(source)) {
            return;
        }
        self.index(id, false);
        if let Some(service) = self.table.remove(id) {
            service.addresses.iter().for_each(|address| effects.address(address));
        }
    }

    /// The id of the service of this name.
    pub fn find(&self, name: &Name) -> Option<u32> {
        self.table.find(name)
    }

    /// The service with this id.
    pub fn get(&self, id: u32) -> Option<&ServiceRecord> {
        self.table.get(id)
    }

    /// A source begins a new list of services.
    pub fn begin_list(&mut self, source: Source) {
        self.table.values_mut().for_each(|service| service.provenance.begin_list(source));
    }

    /// The services that are missing from the list that this source has completed now.
    pub fn stale(&self, source: Source) -> Vec<u32> {
        self.table
            .iter()
            .filter(|(_, service)| service.provenance.is_stale(source))
            .map(|(id, _)| id)
            .collect()
    }

    /// The service with this address and port; `None` when there is none or more than one.
    pub fn at(&self, address: &AddressBytes, port: u16, protocol: u8) -> Option<&Name> {
        self.only(self.by_port.get(&(*address, port, protocol)))
    }

    /// The service with this address; `None` when there is none or more than one.
    pub fn on(&self, address: &AddressBytes) -> Option<&Name> {
        self.only(self.by_address.get(address))
    }

    /// The service with this node port; `None` when there is none or more than one.
    pub fn at_node_port(&self, port: u16, protocol: u8) -> Option<&Name> {
        self.only(self.by_node_port.get(&(port, protocol)))
    }

    /// The number of services, and of their addresses.
    pub fn len(&self) -> (usize, usize) {
        (self.table.len(), self.by_address.len())
    }

    fn only(&self, ids: Option<&IdSet>) -> Option<&Name> {
        Some(&self.table.get(ids?.only()?)?.name)
    }

    /// Adds a service to all indexes or removes it from them.
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

fn put<K: Eq + std::hash::Hash>(index: &mut IdIndex<K>, key: K, id: u32, is_in: bool) {
    if is_in { index.add(key, id) } else { index.remove(&key, id) }
}
