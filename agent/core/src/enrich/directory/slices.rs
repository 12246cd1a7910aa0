//! Endpoint slices: the endpoints of a service, and the services of an endpoint.

use super::address::{AddressBytes, to_bytes};
use super::effects::Effects;
use super::holdings::Moment;
use super::id_set::IdIndex;
use super::provenance::Provenance;
use super::table::{Chained, Keyed, NONE, Table};
use crate::enrich::name::Name;
use crate::enrich::objects::{EndpointSlice, Source};
use crate::enrich::uid::PodUid;

/// An endpoint slice as the directory stores it.
#[derive(Debug)]
pub struct SliceRecord {
    /// Its namespace and name.
    name: Name,
    /// Namespace and name of its service.
    pub service: Name,
    /// The ports of all its endpoints: port and IANA protocol number.
    ports: Box<[(u16, u8)]>,
    provenance: Provenance,
    /// When its endpoints changed last; 0 if they are as when it was first reported.
    changed: Moment,
    /// The first of its endpoints, or [`NONE`].
    first: u32,
}

impl Keyed for SliceRecord {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

/// One address of an endpoint.
#[derive(Debug)]
pub struct EndpointRecord {
    /// The address.
    pub address: AddressBytes,
    next: u32,
    slice: u32,
    next_of_slice: u32,
    /// The pod, if the endpoint is one.
    pub pod: Option<PodUid>,
}

impl Keyed for EndpointRecord {
    type Key = AddressBytes;

    fn key(&self) -> &AddressBytes {
        &self.address
    }
}

impl Chained for EndpointRecord {
    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }

    fn following(&self) -> u32 {
        self.next
    }
}

/// What an update could not store because of [`SliceLimits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Whole slices.
    pub slices: usize,
    /// Addresses of endpoints, of slices that were stored.
    pub endpoints: usize,
}

/// All endpoint slices, found by name and by service, and their endpoints, found by address.
#[derive(Debug, Default)]
pub struct Slices {
    table: Table<SliceRecord>,
    of_service: IdIndex<Name>,
    endpoints: Table<EndpointRecord>,
    /// When [`Self::upsert`] takes place.
    pub now: Moment,
}

/// The most that is stored.
#[derive(Clone, Copy, Debug)]
pub struct SliceLimits {
    /// The number of slices.
    pub slices: usize,
    /// The number of addresses of endpoints.
    pub endpoints: usize,
}

/// An address of an endpoint, and the pod.
type EndpointKey = (AddressBytes, Option<PodUid>);

impl Slices {
    /// Adds a slice or changes it, up to these limits.
    pub fn upsert(
        &mut self,
        source: Source,
        slice: &EndpointSlice,
        service: Name,
        uid: impl Fn(&str) -> Option<PodUid>,
        limits: SliceLimits,
        effects: &mut Effects,
    ) -> Rejected {
        let mut ports: Vec<_> = slice.ports.iter().map(|port| (port.port, port.protocol)).collect();
        ports.sort_unstable();
        ports.dedup();
        let name = Name::new(&slice.namespace, &slice.name);
        let known = self.table.find(&name);
        let is_new = known.is_none();
        let Some(id) = known.or_else(|| self.new_slice(name, &service, limits.slices)) else {
            return Rejected { slices: 1, endpoints: 0 };
        };
        let (old, new) = (self.endpoint_keys(id), endpoint_keys(slice, uid));
        let Some(known) = self.table.get_mut(id) else { return Rejected::default() };
        known.provenance.add(source);
        if known.service == service && *known.ports == *ports {
            let is_added = |key: &&EndpointKey| old.binary_search(key).is_err();
            let is_removed = |key: &&EndpointKey| new.binary_search(key).is_err();
            let changed = new.iter().filter(is_added).chain(old.iter().filter(is_removed));
            changed.for_each(|(address, _)| effects.address(address));
        } else {
            known.ports = ports.into_boxed_slice();
            let before = std::mem::replace(&mut known.service, service.clone());
            self.of_service.remove(&before, id);
            self.of_service.add(service, id);
            old.iter().chain(&new).for_each(|(address, _)| effects.address(address));
        }
        if old == new {
            return Rejected::default();
        }
        if !is_new && let Some(known) = self.table.get_mut(id) {
            known.changed = self.now;
        }
        self.clear(id);
        let fitting = new.len().min(limits.endpoints.saturating_sub(self.endpoints.len()));
        for (address, pod) in new.iter().take(fitting) {
            self.put(id, *address, *pod);
        }
        Rejected { slices: 0, endpoints: new.len() - fitting }
    }

    /// A source no longer lists a slice; it is removed with the last one.
    pub fn remove_source(&mut self, source: Source, id: u32, effects: &mut Effects) {
        if !self.table.get_mut(id).is_some_and(|slice| slice.provenance.remove(source)) {
            return;
        }
        self.endpoint_keys(id).iter().for_each(|(address, _)| effects.address(address));
        self.clear(id);
        if let Some(slice) = self.table.remove(id) {
            self.of_service.remove(&slice.service, id);
        }
    }

    /// The id of the slice of this name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<u32> {
        self.table.find(&Name::new(namespace, name))
    }

    /// A source begins a new list of slices.
    pub fn begin_list(&mut self, source: Source) {
        self.table.values_mut().for_each(|slice| slice.provenance.begin_list(source));
    }

    /// The slices that are missing from the list that this source has completed now.
    pub fn stale(&self, source: Source) -> Vec<u32> {
        self.table.iter().filter(|(_, slice)| slice.provenance.is_stale(source)).map(|(id, _)| id).collect()
    }

    /// The endpoints with this address and port, each with its service; may contain duplicates.
    pub fn at(
        &self,
        address: &AddressBytes,
        port: u16,
        protocol: u8,
    ) -> impl Iterator<Item = (&Name, &EndpointRecord)> {
        self.endpoints.chain(address).filter_map(move |(_, endpoint)| {
            let slice = self.table.get(endpoint.slice)?;
            slice.ports.contains(&(port, protocol)).then_some((&slice.service, endpoint))
        })
    }

    /// The services with an endpoint at this address, on any port; may contain duplicates.
    pub fn services_of(&self, address: &AddressBytes) -> impl Iterator<Item = &Name> {
        self.endpoints
            .chain(address)
            .filter_map(|(_, endpoint)| self.table.get(endpoint.slice).map(|slice| &slice.service))
    }

    /// The service of a slice.
    pub fn service(&self, id: u32) -> Option<&Name> {
        self.table.get(id).map(|slice| &slice.service)
    }

    /// The endpoints of a service; may contain duplicates.
    pub fn behind(&self, service: &Name) -> impl Iterator<Item = &EndpointRecord> {
        let slices = self.of_service.get(service).map_or(&[][..], |ids| ids.all());
        slices.iter().filter_map(|id| self.table.get(*id)).flat_map(|slice| self.of(slice.first))
    }

    /// When the endpoints of a service changed last; `None` if they are as when they were first reported.
    pub fn changed(&self, service: &Name) -> Option<Moment> {
        let slices = self.of_service.get(service).map_or(&[][..], |ids| ids.all());
        slices.iter().filter_map(|id| Some(self.table.get(*id)?.changed)).max().filter(|changed| *changed > 0)
    }

    /// The number of slices, and of addresses of endpoints in them.
    pub fn len(&self) -> (usize, usize) {
        (self.table.len(), self.endpoints.len())
    }

    fn new_slice(&mut self, name: Name, service: &Name, max: usize) -> Option<u32> {
        if self.table.len() >= max {
            return None;
        }
        let (service, provenance, ports) = (service.clone(), Provenance::default(), Box::default());
        let record =
            SliceRecord { name, service: service.clone(), ports, provenance, changed: 0, first: NONE };
        let id = self.table.insert(record);
        self.of_service.add(service, id);
        Some(id)
    }

    fn of(&self, mut id: u32) -> impl Iterator<Item = &EndpointRecord> {
        std::iter::from_fn(move || {
            let endpoint = self.endpoints.get(id)?;
            id = endpoint.next_of_slice;
            Some(endpoint)
        })
    }

    fn endpoint_keys(&self, id: u32) -> Vec<EndpointKey> {
        let first = self.table.get(id).map_or(NONE, |slice| slice.first);
        let mut endpoint_keys: Vec<EndpointKey> =
            self.of(first).map(|endpoint| (endpoint.address, endpoint.pod)).collect();
        endpoint_keys.sort_unstable();
        endpoint_keys
    }

    fn put(&mut self, id: u32, address: AddressBytes, pod: Option<PodUid>) {
        let Some(next_of_slice) = self.table.get(id).map(|slice| slice.first) else { return };
        let endpoint =
            self.endpoints.push(EndpointRecord { address, next: NONE, slice: id, next_of_slice, pod });
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

/// The different addresses and pods of a slice, sorted.
fn endpoint_keys(slice: &EndpointSlice, uid: impl Fn(&str) -> Option<PodUid>) -> Vec<EndpointKey> {
    let mut endpoint_keys: Vec<EndpointKey> = Vec::new();
    for endpoint in &slice.endpoints {
        let pod = endpoint.pod.as_deref().and_then(&uid);
        endpoint_keys.extend(endpoint.addresses.iter().map(|address| (to_bytes(*address), pod)));
    }
    endpoint_keys.sort_unstable();
    endpoint_keys.dedup();
    endpoint_keys
}
