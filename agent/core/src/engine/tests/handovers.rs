//! An address passes from pod to pod as with kubelets: the object first, its address after its first traffic, ends that are
//! reported late or not at all. Who is shown is compared with who held the address when it was sent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::enrich::objects::Pod;

/// The address that all have in turn.
const SHARED: &str = "10.0.0.1";
/// What the first tenant begins at, in milliseconds.
const FIRST: u64 = 30_000;
/// Events are drained so often, in milliseconds.
const DRAIN: u64 = 250;

/// One that holds the address. Times are milliseconds, each after the one before unless said.
#[derive(Clone, Debug)]
struct Tenant {
    /// The address was free for so long.
    free: u64,
    /// Its object was made so long before it got the address.
    waited: u64,
    /// From the address to its first traffic.
    begins: u64,
    /// Between any two sendings.
    pauses: Vec<u64>,
    /// From its first traffic until its status has the address.
    status: u64,
    /// From its last traffic until its end.
    lingers: u64,
    /// From its end until that is reported.
    end_delay: u64,
    /// Its object completes, and is deleted so long after that was reported; else it is deleted at once.
    kept: Option<u64>,
}

fn tenant(max_end_delay: u64) -> impl Strategy<Value = Tenant> {
    let pauses = prop::collection::vec(0_u64..4000, 0..4);
    let times = (300_u64..15_000, 0_u64..8000, 100_u64..2000, 1000_u64..2000, 1_u64..3000, 0..=max_end_delay);
    (times, pauses, prop::option::of(0_u64..20_000)).prop_map(
        |((free, waited, begins, status, lingers, end_delay), pauses, kept)| Tenant {
            free,
            waited,
            begins,
            pauses,
            status,
            lingers,
            end_delay,
            kept,
        },
    )
}

/// What was true, and when it was reported.
#[derive(Debug)]
struct Truth {
    start: u64,
    sent: Vec<u64>,
    address_known: u64,
    end_known: u64,
}

enum Happening {
    Sent(usize),
    Told(Change),
    Drain,
    Read,
}

struct World {
    truths: Vec<Truth>,
    /// In order.
    happenings: Vec<(u64, Happening)>,
}

impl World {
    fn new(tenants: &[Tenant], reads: &[u64]) -> Self {
        let mut truths = Vec::new();
        let mut all: Vec<(u64, Happening)> = Vec::new();
        let mut free = FIRST;
        for (number, tenant) in tenants.iter().enumerate() {
            let start = free + tenant.free;
            let mut sent = vec![start + tenant.begins];
            for pause in &tenant.pauses {
                sent.push(sent[sent.len() - 1] + pause);
            }
            let end = sent[sent.len() - 1] + tenant.lingers;
            free = end;
            let (address_known, end_known) = (sent[0] + tenant.status, end + tenant.end_delay);
            let made = start - tenant.waited;
            let number_8 = u8::try_from(number + 1).unwrap();
            let object = |addresses: &[&str]| Pod {
                since: Some(BEGIN + made / 1000),
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                ..pod(number_8, &format!("pod-{number}"), SHARED)
            };
            let apply = |pod| Happening::Told(Change::ApplyPod(Box::new(pod)));
            let gone = || Happening::Told(Change::Delete(Kind::Pod, uid(number_8)));
            all.push((made, apply(object(&[]))));
            // One status may have both.
            if address_known < end_known {
                all.push((address_known, apply(object(&[SHARED]))));
            }
            match tenant.kept {
                Some(kept) => {
                    let ended = Pod { until: Some(BEGIN + end / 1000), has_ended: true, ..object(&[SHARED]) };
                    all.push((end_known, apply(ended)));
                    all.push((end_known + kept, gone()));
                }
                None if address_known < end_known => all.push((end_known, gone())),
                None => {
                    all.push((end_known, apply(object(&[SHARED]))));
                    all.push((end_known, gone()));
                }
            }
            all.extend(sent.iter().map(|at| (*at, Happening::Sent(number))));
            truths.push(Truth { start, sent, address_known: address_known.min(end_known), end_known });
        }
        let last = all.iter().map(|(at, _)| *at).max().unwrap_or_default() + 20_000;
        let mut at = 0;
        for gap in reads.iter().cycle() {
            at += gap;
            if at > last {
                break;
            }
            all.push((at, Happening::Read));
        }
        all.extend((0..last / DRAIN).map(|number| (number * DRAIN + 1, Happening::Drain)));
        all.push((last, Happening::Read));
        all.sort_by_key(|(at, _)| *at);
        Self { truths, happenings: all }
    }
}

/// A kernel's table of one flow, and the daemon that reads it.
struct Daemon {
    engine: Engine,
    key: FlowKey,
    at: u64,
    is_in_table: bool,
    /// The flow's announcement, while it waits in the ring.
    announced: Option<Duration>,
    /// What it has sent since the last reading, by tenant.
    unread: BTreeMap<usize, u64>,
    /// Every reading: from, until, what was sent by whom.
    readings: Vec<(u64, u64, BTreeMap<usize, u64>)>,
}

impl Daemon {
    fn play(&mut self, input: Input<'_>) {
        let time = Time { wall: BEGIN + self.at / 1000, monotonic: Duration::from_millis(self.at) };
        self.engine.handle(time, input);
    }

    fn drain(&mut self) {
        if let Some(at) = self.announced.take() {
            self.play(Input::Event(Event::NewFlow { at, flow: self.key, client_port: 4000, own: None }));
        }
    }

    fn read(&mut self) {
        self.drain();
        let sent = std::mem::take(&mut self.unread);
        let tcp = TcpCounters { sent_segments: sent.values().sum(), ..TcpCounters::ZERO };
        if self.is_in_table {
            self.play(Input::Flow { key: self.key, delta: &Totals { tcp, ..Totals::ZERO } });
        }
        for id in self.engine.take_cgroup_questions() {
            self.play(Input::Cgroup { id, path: Some(b"system.slice/shop.service") });
        }
        self.play(Input::ReadingEnded);
        let from = self.readings.last().map_or(0, |(_, until, _)| *until);
        self.readings.push((from, self.at, sent));
    }

    fn step(&mut self, happening: Happening) {
        match happening {
            Happening::Sent(tenant) => {
                *self.unread.entry(tenant).or_default() += 1;
                if !std::mem::replace(&mut self.is_in_table, true) {
                    self.announced = Some(Duration::from_millis(self.at));
                }
            }
            Happening::Told(change) => {
                self.drain();
                self.play(Input::Names(Update { source: Source::Api, change }));
            }
            Happening::Drain => self.drain(),
            Happening::Read => self.read(),
        }
        while let Some(output) = self.engine.poll() {
            if matches!(output, Output::Read) {
                self.read();
            }
        }
    }
}

/// Plays all of it; returns the daemon with its readings, and what each end is shown with.
fn play(world: &mut World, role: u8) -> (Daemon, BTreeMap<String, u64>) {
    let mut daemon = Daemon {
        engine: Player::new().engine,
        key: FlowKey { role, ..flow(CGROUP, 1) },
        at: 0,
        is_in_table: false,
        announced: None,
        unread: BTreeMap::new(),
        readings: Vec::new(),
    };
    for (at, happening) in std::mem::take(&mut world.happenings) {
        daemon.at = at;
        daemon.step(happening);
    }
    let mut shown = BTreeMap::new();
    for (_, entry) in daemon.engine.model().edges() {
        let edge = entry.edge();
        let peer = if role == ROLE_CLIENT { &edge.destination } else { &edge.source };
        *shown.entry(peer.to_string()).or_default() += entry.totals().unpack().tcp.sent_segments;
    }
    (daemon, shown)
}

fn check(tenants: &[Tenant], reads: &[u64], role: u8) -> Result<(), TestCaseError> {
    let mut world = World::new(tenants, reads);
    let (daemon, shown) = play(&mut world, role);
    let of = |number: usize| shown.get(&format!("pod-{number}")).copied().unwrap_or_default();
    let all: u64 = world.truths.iter().map(|truth| truth.sent.len() as u64).sum();
    prop_assert_eq!(shown.values().sum::<u64>(), all, "nothing is lost: {:?}", shown);
    for (number, truth) in world.truths.iter().enumerate() {
        let (mut least, mut most) = (0, truth.sent.len() as u64);
        for (from, until, sent) in &daemon.readings {
            for (sender, count) in sent {
                let other = &world.truths[*sender];
                // Nothing was known of the sender, and nothing of the end of this one, when that was read.
                if *sender != number && other.address_known > *until && truth.end_known > *from {
                    most += count;
                }
            }
            let is_alone = sent.len() == 1 && sent.contains_key(&number);
            // The flow is announced when it is new; what comes later is known to be after the reading before.
            let first = (*from).max(world.truths[0].sent[0]);
            let is_in_order = world.truths[..number].iter().all(|before| before.end_known <= first)
                && world.truths[number + 1..].iter().all(|next| next.address_known > truth.end_known);
            // Clients call an address also while it is free.
            if is_alone && is_in_order && (role == ROLE_SERVER || truth.start <= first) {
                least += sent[&number];
            }
        }
        prop_assert!(
            (least..=most).contains(&of(number)),
            "{number}: {least} to {most}, not {}; {shown:?} {:?} {:?}",
            of(number),
            world.truths,
            daemon.readings
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Ends are reported at once: each has all that it sent, and nothing else.
    #[test]
    fn each_has_its_own_when_ends_are_known_in_time(
        tenants in prop::collection::vec(tenant(250), 1..6),
        reads in prop::collection::vec(1000_u64..20_000, 1..6),
    ) {
        let mut world = World::new(&tenants, &reads);
        let (_, shown) = play(&mut world, ROLE_SERVER);
        for (number, truth) in world.truths.iter().enumerate() {
            let of = shown.get(&format!("pod-{number}")).copied().unwrap_or_default();
            prop_assert_eq!(of, truth.sent.len() as u64, "{}: {:?} {:?}", number, shown, world.truths);
        }
    }

    /// Ends are reported late, also after the next one has the address and has sent.
    #[test]
    fn none_has_what_another_sent_when_ends_are_late(
        tenants in prop::collection::vec(tenant(20_000), 1..6),
        reads in prop::collection::vec(1000_u64..20_000, 1..6),
        is_client in any::<bool>(),
    ) {
        check(&tenants, &reads, if is_client { ROLE_CLIENT } else { ROLE_SERVER })?;
    }
}
