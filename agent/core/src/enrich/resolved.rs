//! The names that addresses were resolved from, as each client was told.
//!
//! One address may be many names (a content network's, a proxy's): the name is the one that this client asked for last,
//! and it is what the client asked for, not the end of a chain of CNAMEs.
//!
//! Memory: at most [`MAX_ADDRESSES`] addresses, some 250 octets each with all that finds them: 2 MiB, and the names.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::ingest::dns::{Name, Resolved};

/// Addresses that are known of all clients together. Of more, those that were learned first are forgotten.
const MAX_ADDRESSES: usize = 8192;
/// Addresses that are known of one client: likewise.
const MAX_OF_CLIENT: usize = 256;
/// A connection outlives its name's time to live, which is 0 at some load balancers: a name counts at least for so long,
const MIN_TTL: Duration = Duration::from_secs(60);
/// and at most for so long: addresses are given to others.
const MAX_TTL: Duration = Duration::from_secs(3600);

/// Names by client and address.
#[derive(Debug, Default)]
pub struct ResolvedNames {
    /// By [`netcause_common::flow::FlowKey::local`].
    clients: HashMap<u64, Client>,
    /// Clients by the number of each of their entries: the first has the entry that was learned first.
    order: BTreeMap<u64, u64>,
    /// The next number.
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

/// An address, its name, and for how long it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// The address.
    pub address: IpAddr,
    /// What it was resolved from.
    pub name: &'a Name,
    /// For how long this counts.
    pub expires_in: Duration,
}

impl ResolvedNames {
    /// The client `local` asked for a name and was told these addresses, at this time since a fixed moment.
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

    /// The name of an address, as this client knows it.
    #[must_use]
    pub fn name(&self, local: u64, address: IpAddr, at: Duration) -> Option<&Name> {
        let entry = self.clients.get(&local)?.by_address.get(&address.to_canonical())?;
        (at < entry.until).then_some(&entry.name)
    }

    /// All that a client knows, in no order.
    pub fn known(&self, local: u64, at: Duration) -> impl Iterator<Item = Known<'_>> {
        let all = self.clients.get(&local).into_iter().flat_map(|client| &client.by_address);
        all.filter(move |(_, entry)| at < entry.until).map(move |(address, entry)| Known {
            address: *address,
            name: &entry.name,
            expires_in: entry.until.saturating_sub(at),
        })
    }

    /// Forgets all clients but these.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.clients.retain(|local, _| is_there(*local));
        self.order.retain(|_, local| is_there(*local));
    }

    /// Forgets what counts for nobody any more, whatever its time to live was.
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
    /// Returns the number of the entry that this one replaces, if any.
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
