//! What is kept of the node.

use std::time::Duration;

use super::growth::{Counts, Growth, Width};
use super::{Failure, Found, Reader, Reading, softnet};

/// What the readers have found so far.
#[derive(Debug)]
pub struct Node {
    /// By [`Reader`]; `None` before the first reading.
    readers: Option<[Option<Failure>; Reader::COUNT]>,
    softnet: Growth<u64, (), { softnet::Counter::COUNT }>,
    backlog: Option<u64>,
    cpu_waiting: Growth<(), (), 1>,
}

/// What is shown of the node. Counters begin with zero at the first reading; what a reader that is down has counted stays,
/// and what is now is absent meanwhile.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The readers, and why one does not work.
    pub readers: Vec<(Reader, Option<Failure>)>,
    /// What CPUs have done with packets, by [`softnet::Counter`].
    pub softnet: Option<Counts<{ softnet::Counter::COUNT }>>,
    /// Packets that wait for a CPU now.
    pub softnet_backlog: Option<u64>,
    /// Nanoseconds that some task has waited for a CPU.
    pub cpu_waiting_nanoseconds: Option<Counts<1>>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            readers: None,
            softnet: Growth::new(Width::Bits32),
            backlog: None,
            cpu_waiting: Growth::new(Width::Bits64),
        }
    }
}

impl Node {
    /// Takes a reading.
    pub fn update(&mut self, reading: Reading) {
        let mut failures = [const { None }; Reader::COUNT];
        for (reader, failure) in reading.failures() {
            failures[reader as usize] = Some(failure.clone());
        }
        self.readers = Some(failures);
        self.take_softnet(reading.softnet);
        if let Ok(waiting) = reading.cpu_waiting {
            self.cpu_waiting.read([((), (), [nanoseconds(waiting)])], true);
        }
    }

    fn take_softnet(&mut self, softnet: Found<Vec<softnet::Cpu>>) {
        self.backlog = None;
        let Ok(cpus) = softnet else { return };
        self.backlog = cpus.iter().map(|cpu| cpu.backlog).sum();
        self.softnet.read(cpus.into_iter().map(|cpu| (cpu.cpu, (), cpu.counters)), true);
    }

    /// What is shown now.
    #[must_use]
    pub fn view(&self) -> View {
        let readers = self.readers.iter().flat_map(|failures| Reader::ALL.into_iter().zip(failures.clone()));
        View {
            readers: readers.collect(),
            softnet: only(&self.softnet),
            softnet_backlog: self.backlog,
            cpu_waiting_nanoseconds: only(&self.cpu_waiting),
        }
    }
}

/// The one row, if it was read.
fn only<Part: Eq + std::hash::Hash, const N: usize>(rows: &Growth<Part, (), N>) -> Option<Counts<N>> {
    rows.rows().next().map(|((), counts)| *counts)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Reason;

    fn reading(softnet: Found<Vec<softnet::Cpu>>, waited: u64) -> Reading {
        Reading { took: Duration::ZERO, softnet, cpu_waiting: Ok(Duration::from_secs(waited)) }
    }

    fn cpu(cpu: u64, dropped: u64) -> softnet::Cpu {
        softnet::Cpu { cpu, counters: [100, dropped, 0, 0], backlog: Some(cpu) }
    }

    #[test]
    fn a_reader_fails_alone_and_its_counters_stay() {
        let mut node = Node::default();
        assert!(node.view().readers.is_empty() && node.view().softnet.is_none());
        node.update(reading(Ok(vec![cpu(0, 5), cpu(1, 6)]), 10));
        node.update(reading(Ok(vec![cpu(0, 7), cpu(1, 9)]), 12));
        let view = node.view();
        assert_eq!((view.softnet.unwrap().total, view.softnet_backlog), ([0, 5, 0, 0], Some(1)));
        assert_eq!(view.cpu_waiting_nanoseconds.unwrap().total, [2_000_000_000]);
        node.update(reading(Err(Failure::new(Reason::Malformed, "odd")), 13));
        let view = node.view();
        assert_eq!((view.softnet.unwrap().total, view.softnet_backlog), ([0, 5, 0, 0], None));
        assert_eq!(view.cpu_waiting_nanoseconds.unwrap().total, [3_000_000_000]);
        let failure = Failure::new(Reason::Malformed, "odd");
        assert_eq!(view.readers, [(Reader::Softnet, Some(failure)), (Reader::Pressure, None)]);
        // CPU 1 goes offline: nothing goes back.
        node.update(reading(Ok(vec![cpu(0, 8)]), 13));
        assert_eq!(node.view().softnet.unwrap().total, [0, 6, 0, 0]);
    }
}
