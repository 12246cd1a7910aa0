//! Whatever the kernel's tables do, sums are conserved, no series goes backwards, and the budget is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{self, offset_of};
use std::slice;
use std::time::Duration;

use netcause_common::dns::{DnsCounters, PROTOCOL_DNS};
use netcause_common::flow::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};
use proptest::prelude::*;

use super::Fold;
use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, edge};
use crate::enrich::{Names, Workload};
use crate::testing::{IDLE, Node, counters, local, of_cgroup, series, tcp};

/// Local ends: namespaces and cgroups.
const LOCALS: usize = 5;
/// Every protocol and role of each, and of what the full tables refuse.
const FLOWS: usize = (LOCALS + 1) * 6;

/// Something happens to a flow.
#[derive(Clone, Debug)]
enum What {
    /// A counter grows.
    Count { counter: usize, by: u64 },
    /// A connection is opened.
    Open,
    /// A connection is closed, if there is one.
    Close,
}

/// What happens up to a reading and after it.
#[derive(Clone, Debug)]
struct Step {
    /// Flow, table, and what happens to it there.
    events: Vec<(usize, usize, What)>,
    seconds: u64,
    /// Entries that a reading finds which is broken off, before the one that is not.
    broken_off: Option<usize>,
    /// From which tables idle flows are removed, as bits; the first is for the first one, and so on.
    removals: Vec<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        6 => (0..200_usize, prop_oneof![1..4_u64, 50..100_u64]).prop_map(|(counter, by)| What::Count { counter, by }),
        1 => Just(What::Open),
        1 => Just(What::Close),
    ];
    let events = prop::collection::vec((0..FLOWS, 0..2_usize, what), 0..12);
    let broken_off = prop::option::weighted(0.1, 0..8_usize);
    let step = (events, 1..400_u64, broken_off, prop::collection::vec(0..4_usize, 0..8));
    let step = step.prop_map(|(events, seconds, broken_off, removals)| Step {
        events,
        seconds,
        broken_off,
        removals,
    });
    prop::collection::vec(step, 1..30)
}

/// Three cgroups, two of them of one service.
const CGROUPS: [(u64, &str); 3] = [(101, "a.service/x"), (102, "a.service/y"), (103, "b")];

/// Gives every cgroup its name.
fn name_cgroups(names: &mut Names) {
    for (id, path) in CGROUPS {
        names.answer_cgroup(id, Some(path.as_bytes()));
    }
}

fn key(flow: usize) -> FlowKey {
    let protocol = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_DNS][flow % 3];
    let role = [ROLE_CLIENT, ROLE_SERVER][flow / 3 % 2];
    let flow = match flow / 6 {
        0 => return FlowKey::other(protocol, role),
        1 => tcp(1),
        2 => tcp(2),
        3 => of_cgroup(101),
        4 => of_cgroup(102),
        _ => of_cgroup(103),
    };
    FlowKey { protocol, role, ..flow }
}

/// What must hold.
#[derive(Default)]
struct Model {
    /// All that was ever counted.
    counted: Vec<u64>,
    /// What edges showed last whose flows are all gone.
    ended: Vec<u64>,
    shown: BTreeMap<Edge, Totals>,
    /// The flows of the last reading: all their counters together, open connections, and when these last changed.
    flows: BTreeMap<FlowKey, (u64, i64, Duration)>,
}

fn sum<'a>(all: impl IntoIterator<Item = &'a Totals>) -> Totals {
    all.into_iter().fold(Totals::ZERO, |mut sum, totals| {
        sum.add(totals);
        sum
    })
}

fn plus(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Both parts of each flow.
fn tables(node: &Node) -> BTreeMap<FlowKey, Totals> {
    let keys: BTreeSet<_> = node.tables.iter().flat_map(BTreeMap::keys).collect();
    keys.into_iter().map(|key| (*key, sum(node.tables.iter().filter_map(|table| table.get(key))))).collect()
}

impl Model {
    fn happens(&mut self, node: &mut Node, key: FlowKey, table: usize, what: &What) {
        let open =
            node.tables.iter().filter_map(|table| table.get(&key)).map(|totals| totals.tcp.open).sum::<i64>();
        let is_tcp = key.protocol == PROTOCOL_TCP;
        let totals = node.count(table, key);
        let before = counters(totals);
        match what {
            What::Open if is_tcp => {
                totals.tcp.opened += 1;
                totals.tcp.open += 1;
            }
            What::Close if is_tcp && open > 0 => {
                totals.tcp.closed[0] += 1;
                totals.tcp.open -= 1;
            }
            What::Open | What::Close => {}
            What::Count { counter, by } => {
                let open = mem::take(&mut totals.tcp.open);
                let words: &mut [u64] = match key.protocol {
                    PROTOCOL_TCP => bytemuck::cast_slice_mut(slice::from_mut(&mut totals.tcp)),
                    // Without its datagrams, which are shown among those of UDP: the totals' own tests have them.
                    PROTOCOL_DNS => {
                        let words = bytemuck::cast_slice_mut(slice::from_mut(&mut totals.dns));
                        &mut words[..offset_of!(DnsCounters, udp) / 8]
                    }
                    _ => bytemuck::cast_slice_mut(slice::from_mut(&mut totals.udp)),
                };
                words[counter % words.len()] += by;
                totals.tcp.open = open;
            }
        }
        let after = counters(totals);
        for (all, (before, after)) in self.counted.iter_mut().zip(before.into_iter().zip(after)) {
            *all += after - before;
        }
    }

    /// The tables were read; `names` are those of the reading before.
    fn check(&mut self, node: &Node, names: &Names, idle: &[FlowKey]) {
        let (tables, shown) = (tables(node), node.shown());
        let mut edges: BTreeMap<Edge, Vec<FlowKey>> = BTreeMap::new();
        for key in tables.keys().filter(|key| !key.is_other()) {
            edges.entry(edge(key, &node.names).unwrap().edge).or_default().push(*key);
        }

        // Sums are conserved.
        for (gone, totals) in self.shown.iter().filter(|(gone, _)| gone.source != Workload::Other) {
            let lives = |key: &FlowKey| {
                edge(key, names).is_some_and(|named| named.edge == *gone)
                    && (edges.contains_key(gone) || self.flows.contains_key(key))
            };
            if !tables.keys().any(lives) {
                self.ended = plus(&self.ended, &counters(totals));
            }
        }
        let now = sum(shown.values());
        assert_eq!(plus(&counters(&now), &self.ended), self.counted, "sums");
        assert_eq!(now.tcp.open, sum(tables.values()).tcp.open, "open connections");

        for (edge, totals) in &shown {
            // Nothing goes backwards.
            if let Some(before) = self.shown.get(edge) {
                // Histograms that are gone were folded into `other`.
                let before = if totals.histograms() == Totals::ZERO { before.plain() } else { *before };
                let pairs = counters(&before).into_iter().zip(counters(totals));
                pairs.for_each(|(before, now)| assert!(before <= now, "{edge:?}: {before} to {now}"));
            }
            let Some(flows) = edges.get(edge) else {
                assert_eq!(edge.source, Workload::Other, "shown without a flow");
                continue;
            };
            assert_eq!(totals.tcp.open, sum(flows.iter().map(|key| &tables[key])).tcp.open, "{edge:?}");
        }
        self.shown = shown;
        self.check_budget(node);
        Self::check_memory(node, &edges);
        self.check_idle(node, &tables, idle);
    }

    fn check_budget(&self, node: &Node) {
        let cost = |(edge, totals): (&Edge, &Totals)| series(edge, totals);
        let others: usize =
            self.shown.iter().filter(|(edge, _)| edge.source == Workload::Other).map(cost).sum();
        let statistics = node.budget.statistics();
        assert_eq!(statistics.series, self.shown.iter().map(cost).sum::<usize>());
        assert!(statistics.series <= statistics.max_series.max(others), "{statistics:?}");
        let of = |is_folded: bool| -> Vec<_> {
            let all = node.model.edges().map(|(id, entry)| (&node.budget.edges[&id], entry));
            let all = all.filter(|(share, _)| (share.fold == Some(Fold::All)) == is_folded);
            all.map(|(share, entry)| (entry.totals().unpack().weight(), share.room)).collect()
        };
        let (shown, folded) = (of(false), of(true));
        for (large, _) in &folded {
            for (small, _) in &shown {
                assert!(*large <= small * 2, "{large} is folded, {small} is not");
            }
        }
        if !folded.is_empty() && shown.is_empty() {
            assert!(folded.iter().any(|(_, room)| room + others > statistics.max_series), "{statistics:?}");
        }
    }

    fn check_memory(node: &Node, edges: &BTreeMap<Edge, Vec<FlowKey>>) {
        assert!(node.model.edges().map(|(_, entry)| &**entry.edge()).eq(edges.keys()));
        assert_eq!(node.budget.edges.len(), edges.len());
    }

    /// A flow was removed, from one table at least.
    fn removed(&mut self, node: &Node, key: FlowKey) {
        if !node.tables.iter().any(|table| table.contains_key(&key)) {
            // A flow that comes back is another one, and its edge may have ended.
            self.flows.remove(&key);
        }
        let left = sum(node.tables.iter().filter_map(|table| table.get(&key)));
        if let Some((count, open, _)) = self.flows.get_mut(&key) {
            (*count, *open) = (counters(&left).iter().sum(), left.tcp.open);
        }
    }

    fn check_idle(&mut self, node: &Node, tables: &BTreeMap<FlowKey, Totals>, idle: &[FlowKey]) {
        let glance = |(key, totals): (&FlowKey, &Totals)| {
            let (count, open) = (counters(totals).iter().sum(), totals.tcp.open);
            let unchanged = self.flows.get(key).filter(|flow| (flow.0, flow.1) == (count, open));
            (*key, (count, open, unchanged.map_or(node.now, |flow| flow.2)))
        };
        self.flows = tables.iter().map(glance).collect();
        let is_idle = |(key, flow): &(&FlowKey, &(u64, i64, Duration))| {
            !key.is_other() && flow.1 == 0 && node.now - flow.2 >= IDLE
        };
        let expected: BTreeSet<_> = self.flows.iter().filter(is_idle).map(|(key, _)| *key).collect();
        assert_eq!(idle.iter().copied().collect::<BTreeSet<_>>(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn what_is_shown_is_what_was_counted(
        steps in steps(),
        max_series in 0..80_usize,
        named_at in 0..30_usize,
    ) {
        let mut node = Node::new(max_series);
        let zero = counters(&Totals::ZERO);
        let mut model = Model { counted: zero.clone(), ended: zero, ..Model::default() };
        for (number, step) in steps.iter().enumerate() {
            for (flow, table, what) in &step.events {
                model.happens(&mut node, key(*flow), *table, what);
            }
            node.now += Duration::from_secs(step.seconds);
            let mut names = Names::new(local());
            if number > named_at {
                name_cgroups(&mut names);
            }
            if number == named_at {
                // Every cgroup has a name from now on, and every flow is in use.
                name_cgroups(&mut node.names);
                for key in tables(&node).into_keys() {
                    model.happens(&mut node, key, 0, &What::Count { counter: 0, by: 1 });
                }
            } else if let Some(limit) = step.broken_off {
                node.read_some(limit);
            }
            let idle = node.read_some(usize::MAX).unwrap();
            model.check(&node, &names, &idle);
            for (key, removed_from) in idle.into_iter().zip(&step.removals) {
                // Opened in one table and closed in the other: all or nothing.
                let is_split = node.tables.iter().filter_map(|table| table.get(&key)).any(|part| part.tcp.open != 0);
                for table in 0..2 {
                    if *removed_from == 3 || !is_split && removed_from >> table & 1 == 1 {
                        node.remove(table, key);
                        model.removed(&node, key);
                    }
                }
            }
        }
    }
}
