//! What each subject counted in a window, or in several that were added up.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::time::Duration;

use bytemuck::Pod;

use super::super::totals;
use super::record::{self, read_number, write_number};
use super::subjects::Subject;
use super::{Move, is_zero, negative, take};

/// A log is added up when it is twice as long as after the last time, and at least so long.
const LEAST_TO_TIDY: usize = 128 << 10;

/// What subjects counted, one after the other, as bytes: how far the subject's number is from the one before, the length of its
/// counters, and those ([`record`]).
#[derive(Debug)]
pub struct Log<C> {
    bytes: Vec<u8>,
    /// The subject of the last entry.
    last: Subject,
    /// The length when it was last added up.
    tidied: usize,
    /// Room to write counters in.
    counters: Vec<u8>,
    of: PhantomData<C>,
}

/// The entries of a log in the order of their subjects, each of which comes once, and the time that they are of.
#[derive(Debug)]
pub struct Step<C> {
    /// When it began.
    pub begin: Duration,
    /// When it ended, not before it began.
    pub end: Duration,
    bytes: Box<[u8]>,
    of: PhantomData<C>,
}

impl<C> Default for Log<C> {
    fn default() -> Self {
        Self { bytes: Vec::new(), last: 0, tidied: 0, counters: Vec::new(), of: PhantomData }
    }
}

impl<C: Pod> Log<C> {
    /// Appends what a subject counted.
    pub fn add(&mut self, subject: Subject, counters: &C) {
        self.counters.clear();
        record::write(&mut self.counters, counters);
        let counters = std::mem::take(&mut self.counters);
        self.append(subject, &counters);
        self.counters = counters;
    }

    /// Adds up what belongs to one subject when that saves much.
    pub fn tidy(&mut self, resolve: impl Fn(Subject) -> Subject) {
        if self.bytes.len() >= LEAST_TO_TIDY.max(2 * self.tidied) {
            *self = Step::sum(Duration::ZERO, Duration::ZERO, self.entries(), resolve).into_log();
        }
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = (Subject, &[u8])> {
        entries(&self.bytes)
    }

    fn append(&mut self, subject: Subject, counters: &[u8]) {
        write_number(&mut self.bytes, zigzag(subject as u64, self.last as u64));
        write_number(&mut self.bytes, counters.len() as u64);
        self.bytes.extend_from_slice(counters);
        self.last = subject;
    }
}

impl<C: Pod> Step<C> {
    /// Adds up entries, each subject as what it is resolved to. Subjects that counted nothing in sum are left out.
    pub fn sum<'a>(
        begin: Duration,
        end: Duration,
        entries: impl Iterator<Item = (Subject, &'a [u8])>,
        resolve: impl Fn(Subject) -> Subject,
    ) -> Self {
        let mut log = Log::<C>::default();
        let entries = in_order(entries.map(|(subject, bytes)| (resolve(subject), bytes)));
        for (subject, of_one) in by_subject(&entries) {
            // Most subjects of most steps.
            if let [(_, bytes)] = of_one {
                log.append(subject, bytes);
                continue;
            }
            let mut sum = C::zeroed();
            of_one.iter().for_each(|(_, bytes)| record::add(bytes, &mut sum));
            if !is_zero(&sum) {
                log.add(subject, &sum);
            }
        }
        Self { begin, end, bytes: log.bytes.into(), of: PhantomData }
    }

    /// Entries that were written before ([`Self::encoded`]).
    pub fn new(begin: Duration, end: Duration, bytes: Box<[u8]>) -> Self {
        Self { begin, end, bytes, of: PhantomData }
    }

    /// All entries, to be written.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, with each subject's counters as `translate` has them.
    pub fn translated(&self, translate: impl Fn(Subject, &[u8]) -> C) -> Self {
        let mut log = Log::default();
        self.entries().for_each(|(subject, bytes)| log.add(subject, &translate(subject, bytes)));
        Self::new(self.begin, self.end, log.bytes.into())
    }

    /// The subjects and their counters, as bytes.
    pub fn entries(&self) -> impl Iterator<Item = (Subject, &[u8])> {
        entries(&self.bytes)
    }

    /// With as much of these pasts at other subjects as there is here; that is taken from the pasts, and those that are complete
    /// are removed. `None` when there is nothing of them. The subjects of the pasts are resolved.
    pub fn moved(
        &self,
        pasts: &mut Vec<Move<C>>,
        resolve: impl Fn(Subject) -> Subject + Copy,
    ) -> Option<Self> {
        let wanted: HashSet<Subject> = pasts.iter().map(|(from, ..)| *from).collect();
        let mut there: HashMap<Subject, C> = HashMap::new();
        for (subject, bytes) in self.entries() {
            let subject = resolve(subject);
            if wanted.contains(&subject) {
                record::add(bytes, there.entry(subject).or_insert_with(C::zeroed));
            }
        }
        let mut moves = Log::default();
        pasts.retain_mut(|(from, to, past)| {
            // What came to a subject by a move before this one may go on.
            if let Some(counted) = there.get_mut(from) {
                let part = take(past, counted);
                if is_zero(&part) {
                    return true;
                }
                totals::add(counted, &negative(&part));
                moves.add(*from, &negative(&part));
                moves.add(*to, &part);
                if let Some(counted) = there.get_mut(to) {
                    totals::add(counted, &part);
                } else if wanted.contains(to) {
                    there.insert(*to, part);
                }
            }
            !is_zero(past)
        });
        let entries = self.entries().chain(moves.entries());
        (!moves.bytes.is_empty()).then(|| Self::sum(self.begin, self.end, entries, resolve))
    }

    /// As a log, to count on.
    pub fn into_log(self) -> Log<C> {
        let last = self.entries().last().map_or(0, |(subject, _)| subject);
        let bytes = self.bytes.into_vec();
        Log { last, tidied: bytes.len(), bytes, ..Log::default() }
    }

    /// What it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// The time that it covers.
    pub fn width(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}

/// Entries in the order of their subjects.
pub fn in_order<E>(entries: impl Iterator<Item = (Subject, E)>) -> Vec<(Subject, E)> {
    let mut entries: Vec<_> = entries.collect();
    // Stable: what is sorted already, as the entries of each step are, is not sorted again.
    entries.sort_by_key(|(subject, _)| *subject);
    entries
}

/// Each subject and its entries, of entries in order.
pub fn by_subject<E>(entries: &[(Subject, E)]) -> impl Iterator<Item = (Subject, &[(Subject, E)])> {
    let of_each = entries.chunk_by(|(a, _), (b, _)| a == b);
    of_each.filter_map(|of_one| Some((of_one.first()?.0, of_one)))
}

fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (Subject, &[u8])> {
    let mut subject = 0_u64;
    std::iter::from_fn(move || {
        subject = from_zigzag(read_number(&mut bytes)?, subject);
        let length = usize::try_from(read_number(&mut bytes)?).ok()?;
        let (counters, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some((usize::try_from(subject).ok()?, counters))
    })
}

/// The difference as a number that is small when it is small in either direction.
fn zigzag(to: u64, from: u64) -> u64 {
    let difference = to.wrapping_sub(from).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

fn from_zigzag(number: u64, from: u64) -> u64 {
    from.wrapping_add((number >> 1) ^ (number & 1).wrapping_neg())
}
