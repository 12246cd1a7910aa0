//! A cache of the names that each client resolved addresses from.
//!
//! An address may have many names (a CDN's, a proxy's). The name for a client is the one that this client queried last, as it
//! was queried and not the last CNAME.
//!
//! Memory: at most `MAX_ADDRESSES` addresses, some 250 bytes each with all indexes: 2 MiB, and the names.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::ingest::dns::{Name, Resolved};

/// The most addresses of all clients together. Beyond that, those learned first are dropped.
const MAX_ADDRESSES: usize = 8192;
/// The most addresses of one client. Beyond that, those learned first are dropped.
const MAX_OF_CLIENT: usize = 256;
/// The least time for which an entry is used. Connections outlive the record's time to live, which is 0 at some load balancers.
const MIN_TTL: Duration = Duration::from_secs(60);
/// The longest time for which an entry is used, because addresses are reassigned.
const MAX_TTL: Duration = Duration::from_secs(3600);

/// Names by client and address.
#[derive(Debug, Default)]
pub struct ResolvedNames {
    /// By [`netcause_common::flow::FlowKey::local`].
    clients: HashMap<u64, Client>,
    /// The client of each entry, in the order in which entries were learned.
    order: BTreeMap<u64, u64>,
    /// The sequence number of the next entry.
    next: u64,
}

#[derive(Debug, Default)]
struct Client {
    by_address: HashMap<IpAddr, Entry>,
    order: BTreeMap<u64, IpAddr>,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    number: u64,
    learned: Duration,
    until: Duration,
}

/// An entry of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAddress<'a> {
    /// The address.
    pub address: IpAddr,
    /// The name that it was resolved from.
    pub name: &'a Name,
    /// The time until the entry expires.
    pub expires_in: Duration,
}

impl ResolvedNames {
    /// Learns that the client `local` resolved a name to these addresses, at this time since a fixed moment.
    pub fn learn(&mut self, local: u64, name: &Name, addresses: &[Resolved], at: Duration) {
        self.expire(at);
        for Resolved { address, ttl } in addresses {
            let ttl = Duration::from_secs((*ttl).into()).clamp(MIN_TTL, MAX_TTL);
            let (number, until) = (self.next, at.saturating_add(ttl));
            self.next += 1;
            let client = self.clients.entry(local).or_default();
            let replaced = client
                .insert(address.to_canonical(), Entry { name: name.clone(), number, learned: at, until });
            self.order.insert(number, local);
            if let Some(replaced) = replaced {
                self.order.remove(&replaced);
            }
            if self.order.len() > MAX_ADDRESSES {
                self.forget_first();
            }
        }
    }

    /// The name that this client resolved the address from.
    #[must_use]
    pub fn name(&self, local: u64, address: IpAddr, at: Duration) -> Option<&Name> {
        let entry = self.clients.get(&local)?.by_address.get(&address.to_canonical())?;
        (at < entry.until).then_some(&entry.name)
    }

    /// All entries of a client, in no order.
    pub fn known(&self, local: u64, at: Duration) -> impl Iterator<Item = ResolvedAddress<'_>> {
        let all = self.clients.get(&local).into_iter().flat_map(|client| &client.by_address);
        all.filter(move |(_, entry)| at < entry.until).map(move |(address, entry)| ResolvedAddress {
            address: *address,
            name: &entry.name,
            expires_in: entry.until.saturating_sub(at),
        })
    }

    /// Removes all clients but these.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.clients.retain(|local, _| is_there(*local));
        self.order.retain(|_, local| is_there(*local));
    }

    /// Removes entries older than `MAX_TTL`.
    fn expire(&mut self, at: Duration) {
        let is_old = |entry: &Entry| at.saturating_sub(entry.learned) >= MAX_TTL;
        while self.first().is_some_and(is_old) {
            self.forget_first();
        }
    }

    /// The entry that was learned first.
    fn first(&self) -> Option<&Entry> {
        let (number, local) = self.order.first_key_value()?;
        let client = self.clients.get(local)?;
        client.by_address.get(client.order.get(number)?)
    }

    fn forget_first(&mut self) {
        let Some((number, local)) = self.order.pop_first() else { return };
        let Some(client) = self.clients.get_mut(&local) else { return };
        client.remove(number);
        if client.by_address.is_empty() {
            self.clients.remove(&local);
        }
    }
}

impl Client {
    /// Adds an entry; returns the number of the one that it replaces, if any.
    fn insert(&mut self, address: IpAddr, entry: Entry) -> Option<u64> {
        self.order.insert(entry.number, address);
        if let Some(before) = self.by_address.insert(address, entry) {
            self.order.remove(&before.number);
            return Some(before.number);
        }
        if self.by_address.len() <= MAX_OF_CLIENT {
            return None;
        }
        let (number, address) = self.order.pop_first()?;
        self.by_address.remove(&address);
        Some(number)
    }

    fn remove(&mut self, number: u64) {
        if let Some(address) = self.order.remove(&number) {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests;
