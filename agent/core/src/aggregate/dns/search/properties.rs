//! Simulates resolvers with many threads: the waste that is found is what they wasted.

use netcause_common::dns::ResponseCode;
use proptest::prelude::*;

use super::*;

/// Kubernetes' list, and domains that a node's own resolv.conf adds.
const DOMAINS: [&str; 5] =
    ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example.com", "lan"];
/// Names that users of the resolver ask for, with 0 to 4 dots. None is another one with a domain behind it.
const BASES: [&str; 6] =
    ["db", "www.example.org", "cache.prod", "api.prod.svc.cluster.local", "mail.a.b", "typo"];
const A: u16 = 1;
const AAAA: u16 = 28;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// NODATA and SERVFAIL go on to the next domain; a name with enough dots is tried first, and with domains after that
    /// (res_query.c, `__res_context_search`). Go does the same.
    Glibc,
    /// NODATA and SERVFAIL end it; a name with enough dots is tried as it stands only (lookup_name.c, `name_from_dns_search`).
    Musl,
}

/// What is to be known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Found,
    NoData,
    Missing,
    Failed,
}

impl Outcome {
    fn code(self) -> ResponseCode {
        match self {
            Self::Found | Self::NoData => ResponseCode::NoError,
            Self::Missing => ResponseCode::NxDomain,
            Self::Failed => ResponseCode::ServFail,
        }
    }
}

#[derive(Clone, Debug)]
struct Resolver {
    kind: Kind,
    ndots: usize,
    /// Indices into [`DOMAINS`], in order.
    domains: Vec<usize>,
}

impl Resolver {
    /// The names in the order in which they are queried, up to the end of the lookup, by the outcome of each; `None` is the base.
    fn steps(&self, base: &str, outcome: impl Fn(Option<usize>) -> Outcome) -> Vec<Option<usize>> {
        let has_dots = base.matches('.').count() >= self.ndots;
        let domains = self.domains.iter().copied().map(Some);
        let all: Vec<_> = match (has_dots, self.kind) {
            (true, Kind::Musl) => vec![None],
            (true, Kind::Glibc) => [None].into_iter().chain(domains).collect(),
            (false, _) => domains.chain([None]).collect(),
        };
        let ends = |step: &Option<usize>| match outcome(*step) {
            Outcome::Found => true,
            Outcome::Missing => false,
            Outcome::NoData | Outcome::Failed => self.kind == Kind::Musl,
        };
        let end = all.iter().position(ends).map_or(all.len(), |end| end + 1);
        all[..end].to_vec()
    }
}

fn name(base: usize, step: Option<usize>) -> String {
    step.map_or(BASES[base].to_owned(), |domain| format!("{}.{}", BASES[base], DOMAINS[domain]))
}

/// A resolver, what there is, and threads that look bases up one after the other.
#[derive(Clone, Debug)]
struct Node {
    resolver: Resolver,
    /// By base, then by domain; the last is of the base itself.
    zone: Vec<Vec<Outcome>>,
    threads: Vec<Vec<usize>>,
    /// Which thread's answer comes next, which of its answers, and how much later, in milliseconds.
    order: Vec<(usize, bool, u64)>,
    has_ipv6: bool,
}

fn node(failures: u32) -> impl Strategy<Value = Node> {
    let domains = Just((0..DOMAINS.len()).collect::<Vec<_>>()).prop_shuffle();
    let domains = (domains, 0..=DOMAINS.len()).prop_map(|(domains, count)| domains[..count].to_vec());
    let kubernetes = (3..=DOMAINS.len()).prop_map(|count| (0..count).collect());
    let domains = prop_oneof![domains, kubernetes];
    let kind = prop_oneof![Just(Kind::Glibc), Just(Kind::Musl)];
    let resolver = (kind, prop_oneof![Just(1), Just(5), 0..4_usize], domains);
    let resolver = resolver.prop_map(|(kind, ndots, domains)| Resolver { kind, ndots, domains });
    let outcome = prop_oneof![
        8 => Just(Outcome::Missing),
        2 => Just(Outcome::Found),
        failures => Just(Outcome::NoData),
        failures => Just(Outcome::Failed),
    ];
    let zone = prop::collection::vec(prop::collection::vec(outcome, DOMAINS.len() + 1), BASES.len());
    let threads = prop::collection::vec(prop::collection::vec(0..BASES.len(), 1..6), 1..11);
    let order = prop::collection::vec((0..10_usize, any::<bool>(), 0..15_u64), 600);
    (resolver, zone, threads, order, any::<bool>()).prop_map(|(resolver, zone, threads, order, has_ipv6)| {
        Node { resolver, zone, threads, order, has_ipv6 }
    })
}

impl Node {
    fn outcome(&self, base: usize, step: Option<usize>) -> Outcome {
        self.zone[base][step.unwrap_or(DOMAINS.len())]
    }

    fn steps(&self, base: usize) -> Vec<Option<usize>> {
        self.resolver.steps(BASES[base], |step| self.outcome(base, step))
    }

    /// Domains whose names were missing; of these, those that later or earlier answers show to be steps when `is_list` says
    /// which two domains are known to be in one list.
    fn wasted(&self, base: usize, is_list: impl Fn(usize, usize) -> bool) -> (u64, u64) {
        let steps = self.steps(base);
        let speaks = |step: &Option<usize>| self.outcome(base, *step) != Outcome::Failed;
        let wasted: Vec<_> = steps
            .iter()
            .enumerate()
            .filter_map(|(place, step)| Some((place, (*step)?)))
            .filter(|(_, domain)| self.outcome(base, Some(*domain)) == Outcome::Missing)
            .collect();
        let shown = wasted.iter().filter(|(place, domain)| {
            // A base that was found or has no data of this type is no reason to go on: only glibc does, after no data.
            let before = steps[..*place]
                .iter()
                .any(|step| step.is_none() && self.outcome(base, None) == Outcome::Missing);
            let after = steps[place + 1..].iter().filter(|step| speaks(step));
            before || after.into_iter().any(|step| step.is_none_or(|later| is_list(*domain, later)))
        });
        (wasted.len().try_into().unwrap(), shown.count().try_into().unwrap())
    }

    /// Lets all threads run, their answers one by one in a random order.
    fn run(&self, search: &mut Search, begin: Duration) -> Waste {
        let mut threads: Vec<Thread> = self.threads.iter().map(|bases| Thread::new(self, bases)).collect();
        let (mut waste, mut at) = (Waste::default(), begin);
        let mut order = self.order.iter().cycle();
        while !threads.is_empty() {
            let (thread, is_first, later) = order.next().unwrap();
            // Everything happens within a window.
            at += Duration::from_millis(*later).min(begin + WINDOW - at);
            let number = thread % threads.len();
            match threads[number].next(self, *is_first) {
                Some((question, code)) => waste.add(search.answered(1, &question, code as u16, at)),
                None => drop(threads.swap_remove(number)),
            }
        }
        waste
    }
}

/// What a thread still waits for.
struct Thread {
    steps: Vec<(usize, Option<usize>)>,
    kinds: Vec<u16>,
}

impl Thread {
    fn new(node: &Node, bases: &[usize]) -> Self {
        let steps = |base: &usize| {
            let base = *base;
            node.steps(base).into_iter().map(move |step| (base, step))
        };
        let mut steps: Vec<_> = bases.iter().flat_map(steps).collect();
        steps.reverse();
        Self { steps, kinds: Self::kinds(node) }
    }

    fn kinds(node: &Node) -> Vec<u16> {
        if node.has_ipv6 { vec![A, AAAA] } else { vec![A] }
    }

    /// The next answer: both types are queried at once, and the next name when both answers are there.
    fn next(&mut self, node: &Node, is_first: bool) -> Option<(Question, ResponseCode)> {
        let (base, step) = *self.steps.last()?;
        let kind = if is_first { self.kinds.remove(0) } else { self.kinds.pop()? };
        if self.kinds.is_empty() {
            self.steps.pop();
            self.kinds = Self::kinds(node);
        }
        let name = name(base, step).parse::<Name>().ok()?;
        Some((Question { name, kind }, node.outcome(base, step).code()))
    }
}

/// Every two domains in one list: a name that only the end of the list knows.
fn teach(search: &mut Search) {
    for domain in DOMAINS {
        for (name, code) in [(format!("lesson.{domain}"), 3), ("lesson".to_owned(), 0)] {
            let name = name.parse::<Name>().unwrap();
            search.answered(2, &Question { name, kind: A }, code, Duration::ZERO);
        }
    }
}

fn is_nested(domain: usize, later: usize) -> bool {
    let child = DOMAINS[domain].strip_suffix(DOMAINS[later]);
    DOMAINS[later].contains('.') && child.is_some_and(|child| child.ends_with('.'))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// When the list is known, a lookup that ends with an answer about the name has all its waste counted, and exactly.
    #[test]
    fn all_waste_of_a_known_list_is_counted(node in node(0)) {
        let mut search = Search::default();
        teach(&mut search);
        let waste = node.run(&mut search, Duration::from_secs(100));
        let expected: u64 = node.threads.iter().flatten().map(|base| node.wasted(*base, |_, _| true)).map(|(all, shown)| {
            assert_eq!(all, shown);
            all
        }).sum();
        let kinds = if node.has_ipv6 { 2 } else { 1 };
        prop_assert_eq!(waste, Waste { expansions: expected, queries: expected * kinds });
    }

    /// Never more than was wasted, and all that there is evidence for, whatever the server does.
    #[test]
    fn no_more_is_counted_than_was_wasted(node in node(2)) {
        // Time stands still: how soon is soon is another test's.
        let node = Node { order: node.order.iter().map(|(thread, first, _)| (*thread, *first, 0)).collect(), ..node };
        let mut search = Search::default();
        let waste = node.run(&mut search, Duration::from_secs(100));
        let sums = node.threads.iter().flatten().map(|base| node.wasted(*base, is_nested));
        let (all, shown) = sums.fold((0, 0), |sums, (all, shown)| (sums.0 + all, sums.1 + shown));
        let kinds = if node.has_ipv6 { 2 } else { 1 };
        prop_assert!((shown..=all).contains(&waste.expansions), "{waste:?}, not {shown} to {all}");
        prop_assert_eq!(waste.queries, waste.expansions * kinds);
    }
}
