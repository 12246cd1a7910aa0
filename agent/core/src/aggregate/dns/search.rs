//! What search domains waste: a resolver that appends them to a name asks for names that do not exist before it asks for
//! the one that does (resolv.conf(5): `search`, `ndots`).
//!
//! Only answers are seen, so a failed name N counts as waste when another answer of the same client shows it to be a
//! step of a lookup. The other answer R is NOERROR or NXDOMAIN for the same kind of question (addresses, or one other
//! type), and
//!
//! - N is R with a domain behind it, in either order: `db.svc.lan` and `db`. The resolver tries the name as it stands
//!   last, or first when it has `ndots` dots;
//! - or R is N with a parent of the appended domain, soon after: `db.prod.svc.lan`, then `db.svc.lan`. Kubernetes' own
//!   list is made so;
//! - or N and R are one name with two domains that another lookup on this node showed to be in one list.
//!
//! A search list without any of these signs is not seen. What is taken for one by mistake: an application that falls
//! back from `api.eu.example.com` to `api.example.com` within [`SOON`], and a mail server that looks a domain up and asks
//! a block list for `<domain>.<list>` within [`WINDOW`].
//!
//! Memory: at most [`MAX_CLIENTS`] × [`MAX_PENDING`] names; some 6 KiB and the names themselves for a client that fills
//! its part, and nothing for one without a failed name in the last [`WINDOW`].

mod evidence;
mod failed;
mod learned;

use std::collections::HashMap;
use std::time::Duration;

use netcause_common::dns::ResponseCode;

use crate::ingest::dns::{Name, Question};
use evidence::{Relation, relation, stem};
use failed::{Failed, Family};
use learned::Pairs;

/// A failed name is remembered for so long: a resolver waits up to 5 s for an answer and asks a second time (resolv.conf(5):
/// `timeout`, `attempts`).
const WINDOW: Duration = Duration::from_secs(10);
/// A step and the next one are not farther apart when nothing but their likeness speaks for a search list.
const SOON: Duration = Duration::from_secs(2);
/// Failed names that are remembered of a client; of more, the oldest are forgotten, and first those that were counted.
const MAX_PENDING: usize = 64;
/// Clients with failed names; further ones are not looked at until one has had none for [`WINDOW`].
const MAX_CLIENTS: usize = 1024;
/// Idle clients are not looked for more often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What search domains cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waste {
    /// Lookups of a name that does not exist; A and AAAA together are one.
    pub expansions: u64,
    /// Queries that these were.
    pub queries: u64,
}

impl Waste {
    /// Adds to it.
    pub fn add(&mut self, more: Self) {
        self.expansions = self.expansions.saturating_add(more.expansions);
        self.queries = self.queries.saturating_add(more.queries);
    }
}

/// Finds waste in the answers of all clients of this node.
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
}

impl Search {
    /// Takes an answer that reached the client `local` at the time `at` since a fixed moment; returns what it shows to
    /// have been waste. Answers that say nothing about the name (SERVFAIL and the like) neither end a lookup nor count.
    pub fn answered(&mut self, local: u64, question: &Question, rcode: u8, at: Duration) -> Waste {
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

    /// Forgets all clients but these.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.clients.retain(|local, _| is_there(*local));
    }

    /// Sees to it that the client is remembered, if there is room.
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
        // Whether the name has itself a domain that was appended, and the domains that were appended to it.
        let (mut is_expansion, mut domains) = (false, Vec::new());
        self.failed.retain(|failed| failed.is_recent(at));
        for earlier in self.failed.iter_mut().filter(|failed| failed.stem == stem && failed.family == family)
        {
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
                    steps.any(|step| is_soon && step.is_nested() || lists.has(step.earlier, step.later))
                }
                Relation::None => false,
            };
            if is_step {
                waste.add(earlier.count_as_waste(at));
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

    /// The place of a failed name, a new one if need be.
    fn remember(&mut self, name: &Name, family: Family, stem: u64, at: Duration) -> &mut Failed {
        let known = |failed: &Failed| failed.stem == stem && failed.family == family && failed.name == *name;
        let place = self.failed.iter().position(known).unwrap_or_else(|| {
            let new = Failed::new(name.clone(), family, stem, at);
            if self.failed.len() < MAX_PENDING {
                self.failed.push(new);
                return self.failed.len() - 1;
            }
            let keys = self.failed.iter().map(Failed::worth).enumerate();
            let least = keys.min_by_key(|(_, worth)| *worth).map_or(0, |(place, _)| place);
            self.failed[least] = new;
            least
        });
        &mut self.failed[place]
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
