//! Counts the queries that search domains waste: a resolver that appends them to a name queries names that do not exist before
//! it queries the one that does (resolv.conf(5): `search`, `ndots`).
//!
//! Only answers are seen. So a failed name N (NXDOMAIN) counts as waste when another answer R of the same client shows that N
//! was a step of a lookup: R is NOERROR or NXDOMAIN for the same record type (A and AAAA are one), and one of these holds:
//!
//! - N is R with a domain appended, in either order: `db.svc.lan` and `db`. The resolver tries the plain name last, or first
//!   when it has `ndots` dots.
//! - R is N with a parent of the appended domain, soon after: `db.prod.svc.lan`, then `db.svc.lan`. Kubernetes' own search
//!   list has this form.
//! - N and R are the same name with two domains that another lookup on this node showed to be in one search list.
//! - N and R are the same name with two domains, soon after each other, and so was another lookup of the same client: of
//!   another name, or of this one again. Then both lookups count. (`search corp.example prod.internal`: unrelated domains.)
//!
//! A search list without any of these signs is not detected: one of unrelated domains, of a client that makes one lookup.
//! False positives: an application that falls back from `api.eu.example.com` to `api.example.com` within `SOON`, one that
//! falls back from `www.a.com` to `www.b.com` more than once, and a mail server that looks up a domain and queries a block
//! list for `<domain>.<list>` within `WINDOW`.
//!
//! Memory: at most `MAX_CLIENTS` × `MAX_PENDING` names; some 6 KiB and the names themselves for a client with the most
//! names, and nothing for one without a failed name in the last `WINDOW`.

mod evidence;
mod failed;
mod learned;
mod sightings;

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::dns::ResponseCode;

use crate::ingest::dns::{Name, Question};
use evidence::{Relation, relation, stem};
use failed::{Failed, Family};
use learned::Pairs;
use sightings::Sightings;

/// How long a failed name is remembered: a resolver waits up to 5 s for an answer and tries twice (resolv.conf(5): `timeout`,
/// `attempts`).
const WINDOW: Duration = Duration::from_secs(10);
/// The longest time between two steps of a lookup when only the similarity of their names suggests a search list.
const SOON: Duration = Duration::from_secs(2);
/// The most failed names of a client. Beyond that the oldest are dropped, those that were counted first.
const MAX_PENDING: usize = 64;
/// The most clients with failed names. Further ones are ignored until one has had none for `WINDOW`.
const MAX_CLIENTS: usize = 1024;
/// The shortest time between two searches for idle clients.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The cost of search domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waste {
    /// Lookups of a name that does not exist; A and AAAA together are one.
    pub expansions: u64,
    /// Queries of these lookups.
    pub queries: u64,
}

impl Waste {
    /// Adds another cost.
    pub fn add(&mut self, more: Self) {
        self.expansions = self.expansions.saturating_add(more.expansions);
        self.queries = self.queries.saturating_add(more.queries);
    }
}

/// Finds lookups that search domains wasted in the answers of all clients on this node. At most `MAX_CLIENTS` clients with
/// `MAX_PENDING` names each are remembered.
#[derive(Debug, Default)]
pub struct Search {
    /// By [`netcause_common::flow::FlowKey::local`]; only those with failed names.
    clients: HashMap<u64, Client>,
    lists: Pairs,
    swept: Duration,
}

/// The failed names of one client.
#[derive(Debug, Default)]
struct Client {
    failed: Vec<Failed>,
    /// Domains that followed each other behind one name.
    seen: Sightings,
}

impl Search {
    /// Examines an answer that reached the client `local` at the time `at` since a fixed moment; returns the waste that it
    /// reveals. Answers that say nothing about the name, such as SERVFAIL, neither end a lookup nor count.
    pub fn answered(&mut self, local: u64, question: &Question, rcode: u16, at: Duration) -> Waste {
        let is_failed = match ResponseCode::of(rcode) {
            ResponseCode::NoError => false,
            ResponseCode::NxDomain => true,
            _ => return Waste::default(),
        };
        if question.name.as_str() == "." {
            return Waste::default();
        }
        if is_failed {
            self.make_room(local, at);
        }
        let Some(client) = self.clients.get_mut(&local) else { return Waste::default() };
        client.answered(question, is_failed, at, &mut self.lists)
    }

    /// Removes all clients but these.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.clients.retain(|local, _| is_there(*local));
    }

    /// Adds the client if there are fewer than `MAX_CLIENTS`. Removes idle clients from time to time.
    fn make_room(&mut self, local: u64, at: Duration) {
        let since_swept = at.saturating_sub(self.swept);
        let is_full = self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&local);
        if since_swept >= WINDOW || is_full && since_swept >= SWEEP_INTERVAL {
            self.swept = at;
            self.clients.retain(|_, client| client.failed.iter().any(|failed| failed.is_recent(at)));
        }
        if self.clients.len() < MAX_CLIENTS {
            self.clients.entry(local).or_default();
        }
    }
}

impl Client {
    fn answered(&mut self, question: &Question, is_failed: bool, at: Duration, lists: &mut Pairs) -> Waste {
        let name = question.name.as_str();
        let (family, stem) = (Family::of(question.kind), stem(name));
        let mut waste = Waste::default();
        // Whether a domain was appended to this name, and the domains that were appended to earlier forms of it.
        let (mut is_expansion, mut domains) = (false, Vec::new());
        // Earlier lookups that turn out to be of the same search list.
        let mut others = Vec::new();
        let Self { failed, seen } = self;
        failed.retain(|failed| failed.is_recent(at));
        for earlier in failed.iter_mut().filter(|failed| failed.stem == stem && failed.family == family) {
            let is_step = match relation(earlier.name.as_str(), name) {
                Relation::Expansion(domain) => {
                    domains.push(lists.number(domain));
                    true
                }
                Relation::Base => {
                    is_expansion = true;
                    false
                }
                Relation::Steps(steps) => {
                    let is_soon = at.saturating_sub(earlier.last) <= SOON;
                    steps.any(|step| {
                        let is_list = is_soon && step.is_nested() || lists.has(step.earlier, step.later);
                        is_list || is_soon && seen.is_again(step, earlier, at, lists, &mut others)
                    })
                }
                Relation::None => false,
            };
            if is_step {
                waste.add(earlier.count_as_waste(at));
            }
        }
        for other in others {
            if let Some(other) =
                self.failed.iter_mut().find(|failed| failed.name == other && failed.family == family)
            {
                waste.add(other.count_as_waste(at));
            }
        }
        if is_failed {
            let failed = self.remember(&question.name, family, stem, at);
            waste.add(failed.ask(question.kind, at));
            if is_expansion {
                waste.add(failed.count_as_waste(at));
            }
        } else {
            lists.learn(&domains);
        }
        waste
    }

    /// The entry of a failed name; adds one if there is none.
    fn remember(&mut self, name: &Name, family: Family, stem: u64, at: Duration) -> &mut Failed {
        let known = |failed: &Failed| failed.stem == stem && failed.family == family && failed.name == *name;
        let index = self.failed.iter().position(known).unwrap_or_else(|| {
            let new = Failed::new(name.clone(), family, stem, at);
            if self.failed.len() < MAX_PENDING {
                self.failed.push(new);
                return self.failed.len() - 1;
            }
            let keys = self.failed.iter().map(Failed::worth).enumerate();
            let least = keys.min_by_key(|(_, worth)| *worth).map_or(0, |(index, _)| index);
            self.failed[least] = new;
            least
        });
        &mut self.failed[index]
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
