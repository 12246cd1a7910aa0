//! Endpoint slices: what is behind a service, and which service an endpoint belongs to.

use super::address::{Octets, octets};
use super::effects::Effects;
use super::few::Index;
use super::table::{Chained, Keyed, NONE, Table};
use super::told::Told;
use crate::enrich::name::Name;
use crate::enrich::objects::{EndpointSlice, Source};
use crate::enrich::uid::PodUid;

/// What is kept of an endpoint slice.
#[derive(Debug)]
pub struct Slice {
    /// Its own name: nothing else is called so.
    name: Name,
    /// Its service.
    pub service: Name,
    /// Where its endpoints listen: port and protocol.
    ports: Box<[(u16, u8)]>,
    told: Told,
    /// The first of its endpoints.
    first: u32,
}

impl Keyed for Slice {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

/// An address of an endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// The address.
    pub address: Octets,
    next: u32,
    slice: u32,
    next_of_slice: u32,
    /// The pod, where it is one.
    pub pod: Option<PodUid>,
}

impl Keyed for Endpoint {
    type Key = Octets;

    fn key(&self) -> &Octets {
        &self.address
    }
}

impl Chained for Endpoint {
    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }

    fn following(&self) -> u32 {
        self.next
    }
}

/// What found no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Slices.
    pub slices: usize,
    /// Endpoints of slices that did.
    pub endpoints: usize,
}

/// Endpoint slices by name and by service, endpoints by address.
#[derive(Debug, Default)]
pub struct Slices {
    table: Table<Slice>,
    of_service: Index<Name>,
    endpoints: Table<Endpoint>,
}

/// How many of what there may be.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Slices.
    pub slices: usize,
    /// Addresses of endpoints.
    pub endpoints: usize,
}

/// What is told of an endpoint.
type Place = (Octets, Option<PodUid>);

impl Slices {
    /// A source tells it.
    pub fn tell(
        &mut self,
        source: Source,
        slice: &EndpointSlice,
        service: Name,
        uid: impl Fn(&str) -> Option<PodUid>,
        room: Room,
        effects: &mut Effects,
    ) -> Refused {
        let mut ports: Vec<_> = slice.ports.iter().map(|port| (port.port, port.protocol)).collect();
        ports.sort_unstable();
        ports.dedup();
        let name = Name::new(&slice.namespace, &slice.name);
        let Some(id) = self.table.find(&name).or_else(|| self.new_slice(name, &service, room.slices)) else {
            return Refused { slices: 1, endpoints: 0 };
        };
        let (had, wanted) = (self.places(id), places(slice, uid));
        let Some(known) = self.table.get_mut(id) else { return Refused::default() };
        known.told.tell(source);
        if known.service == service && *known.ports == *ports {
            let is_new = |place: &&Place| had.binary_search(place).is_err();
            let is_over = |place: &&Place| wanted.binary_search(place).is_err();
            let changed = wanted.iter().filter(is_new).chain(had.iter().filter(is_over));
            changed.for_each(|(address, _)| effects.address(address));
        } else {
            known.ports = ports.into_boxed_slice();
            let before = std::mem::replace(&mut known.service, service.clone());
            self.of_service.remove(&before, id);
            self.of_service.add(service, id);
            had.iter().chain(&wanted).for_each(|(address, _)| effects.address(address));
        }
        if had == wanted {
            return Refused::default();
        }
        self.clear(id);
        let fitting = wanted.len().min(room.endpoints.saturating_sub(self.endpoints.len()));
        for (address, pod) in wanted.iter().take(fitting) {
            self.put(id, *address, *pod);
        }
        Refused { slices: 0, endpoints: wanted.len() - fitting }
    }

    /// A source tells it no more.
    pub fn gone(&mut self, source: Source, id: u32, effects: &mut Effects) {
        if !self.table.get_mut(id).is_some_and(|slice| slice.told.gone(source)) {
            return;
        }
        self.places(id).iter().for_each(|(address, _)| effects.address(address));
        self.clear(id);
        if let Some(slice) = self.table.remove(id) {
            self.of_service.remove(&slice.service, id);
        }
    }

    /// The slice of this name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<u32> {
        self.table.find(&Name::new(namespace, name))
    }

    /// A source begins its list.
    pub fn list_begins(&mut self, source: Source) {
        self.table.values_mut().for_each(|slice| slice.told.list_begins(source));
    }

    /// Those that it has left out.
    pub fn missed(&self, source: Source) -> Vec<u32> {
        self.table.iter().filter(|(_, slice)| slice.told.is_missed(source)).map(|(id, _)| id).collect()
    }

    /// What listens at an address and port, of any service: services may stand here twice.
    pub fn at(&self, address: &Octets, port: u16, protocol: u8) -> impl Iterator<Item = (&Name, &Endpoint)> {
        self.endpoints.chain(address).filter_map(move |(_, endpoint)| {
            let slice = self.table.get(endpoint.slice)?;
            slice.ports.contains(&(port, protocol)).then_some((&slice.service, endpoint))
        })
    }

    /// What is behind a service: endpoints may stand here twice.
    pub fn behind(&self, service: &Name) -> impl Iterator<Item = &Endpoint> {
        let slices = self.of_service.get(service).map_or(&[][..], |few| few.all());
        slices.iter().filter_map(|id| self.table.get(*id)).flat_map(|slice| self.of(slice.first))
    }

    /// Slices, and addresses of endpoints in them.
    pub fn len(&self) -> (usize, usize) {
        (self.table.len(), self.endpoints.len())
    }

    fn new_slice(&mut self, name: Name, service: &Name, max: usize) -> Option<u32> {
        if self.table.len() >= max {
            return None;
        }
        let (service, told, ports) = (service.clone(), Told::default(), Box::default());
        let id = self.table.insert(Slice { name, service: service.clone(), ports, told, first: NONE });
        self.of_service.add(service, id);
        Some(id)
    }

    fn of(&self, mut id: u32) -> impl Iterator<Item = &Endpoint> {
        std::iter::from_fn(move || {
            let endpoint = self.endpoints.get(id)?;
            id = endpoint.next_of_slice;
            Some(endpoint)
        })
    }

    fn places(&self, id: u32) -> Vec<Place> {
        let first = self.table.get(id).map_or(NONE, |slice| slice.first);
        let mut places: Vec<Place> =
            self.of(first).map(|endpoint| (endpoint.address, endpoint.pod)).collect();
        places.sort_unstable();
        places
    }

    fn put(&mut self, id: u32, address: Octets, pod: Option<PodUid>) {
        let Some(next_of_slice) = self.table.get(id).map(|slice| slice.first) else { return };
        let endpoint = self.endpoints.push(Endpoint { address, next: NONE, slice: id, next_of_slice, pod });
        if let Some(slice) = self.table.get_mut(id) {
            slice.first = endpoint;
        }
    }

    fn clear(&mut self, id: u32) {
        let Some(slice) = self.table.get_mut(id) else { return };
        let mut next = std::mem::replace(&mut slice.first, NONE);
        while let Some(endpoint) = self.endpoints.unlink(next) {
            next = endpoint.next_of_slice;
        }
    }
}

/// Each address and pod once, in order.
fn places(slice: &EndpointSlice, uid: impl Fn(&str) -> Option<PodUid>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for endpoint in &slice.endpoints {
        let pod = endpoint.pod.as_deref().and_then(&uid);
        places.extend(endpoint.addresses.iter().map(|address| (octets(*address), pod)));
    }
    places.sort_unstable();
    places.dedup();
    places
}
