//! One cause, one finding: where several drafts have one explanation, the widest remains, and names whom it hurts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use netcause_common::flow::TcpCounters;

use super::cause::{Cause, Confidence, Family, Side};
use super::draft::Draft;
use super::finding::{Finding, MAX_AFFECTED, Signal, Subject, name, server};
use super::node_pairs;
use super::symptoms::{local, peer};
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::windows::Recent;
use crate::aggregate::{Edge, Reporter, Via};
use crate::enrich::Workload;

/// Edges with one fault and one thing in common, before it is said of that.
const SEVERAL: usize = 2;
/// Edges with one fault before it is said of the whole node.
const MANY: usize = 4;
/// The share of the edges in a group that must have the fault.
const NEARLY_ALL: f64 = 0.8;

/// Settles what is said, beside findings that are active.
#[must_use]
pub fn settle<'a>(
    drafts: Vec<Draft>,
    edges: &[Arc<Edge>],
    active: impl Iterator<Item = &'a Arc<Finding>>,
    peer_nodes: &Recent<Row, TcpCounters>,
) -> Vec<Draft> {
    let known = Known::new(active);
    let drafts = both_ends(drafts);
    let drafts = with_one_queue(drafts);
    let drafts = explained(drafts, known);
    let drafts = node_pairs::explained(drafts, peer_nodes);
    let mut by_cause: BTreeMap<u8, Vec<Draft>> = BTreeMap::new();
    for draft in drafts {
        by_cause.entry(draft.finding.cause as u8).or_default().push(draft);
    }
    let mut settled: Vec<Draft> = by_cause.into_values().flat_map(|drafts| grouped(drafts, edges)).collect();
    for draft in &mut settled {
        let finding = &mut draft.finding;
        finding.affected_total = finding.affected.len();
        finding.affected.truncate(MAX_AFFECTED);
    }
    settled
}

/// Both ends of a pair on one node see one fault: the stronger draft remains.
fn both_ends(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut by_id: BTreeMap<(u8, Subject), Draft> = BTreeMap::new();
    for draft in drafts {
        // The client's end alone may know the service.
        let mut subject = draft.finding.subject.clone();
        if let Subject::Edge(pair) = &mut subject {
            pair.service.clear();
        }
        let key = (draft.finding.cause as u8, subject);
        match by_id.get_mut(&key) {
            None => {
                by_id.insert(key, draft);
            }
            Some(other) => *other = merged(other.clone(), draft),
        }
    }
    by_id.into_values().collect()
}

/// Two drafts of one subject: what the stronger says, of the edges of both.
fn merged(one: Draft, other: Draft) -> Draft {
    let rank = |draft: &Draft| (draft.finding.confidence as u8, draft.weight);
    let (mut strong, weak) = if rank(&one) >= rank(&other) { (one, other) } else { (other, one) };
    strong.is_plain |= weak.is_plain;
    for edge in weak.finding.affected {
        if !strong.finding.affected.iter().any(|known| Arc::ptr_eq(known, &edge)) {
            strong.finding.affected.push(edge);
        }
    }
    let (impact, more) = (&mut strong.finding.impact, weak.finding.impact);
    impact.failed_connections_per_second =
        impact.failed_connections_per_second.max(more.failed_connections_per_second);
    impact.stalled_connections = impact.stalled_connections.max(more.stalled_connections);
    impact.retransmitted_share = impact.retransmitted_share.max(more.retransmitted_share);
    impact.failed_queries_per_second = impact.failed_queries_per_second.max(more.failed_queries_per_second);
    strong
}

/// A queue that drops is said of its device where several pairs miss what was dropped, and no other device drops: a single pair may be
/// limited by a queue of its pod. Cables of pods are counted together and have no name; what they drop is said of the pairs.
fn with_one_queue(mut drafts: Vec<Draft>) -> Vec<Draft> {
    let device = |draft: &Draft| match &draft.finding.subject {
        Subject::Interface(device) => Some(device.clone()),
        _ => None,
    };
    let devices: Vec<_> = drafts.iter().filter_map(device).collect();
    let is_known = matches!(&devices[..], [device] if !device.is_empty());
    let missed =
        drafts.iter().filter(|draft| draft.finding.cause == Cause::ShaperDrop && device(draft).is_none());
    let pairs: BTreeSet<Ends> =
        missed.flat_map(|draft| draft.finding.affected.iter().map(|edge| pair(edge))).collect();
    if !is_known || pairs.len() < SEVERAL {
        drafts.retain(|draft| device(draft).is_none());
    }
    drafts
}

/// What a wider draft explains is no finding of its own.
fn explained(drafts: Vec<Draft>, known: Known) -> Vec<Draft> {
    let (mut wide, narrow): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| is_wide(&draft.finding.subject));
    let mut rest = Vec::new();
    for draft in narrow {
        let Some(explanation) = wide.iter_mut().find(|wide| explains(wide, &draft)) else {
            rest.push(draft);
            continue;
        };
        for edge in draft.finding.affected {
            if !explanation.finding.affected.iter().any(|known| Arc::ptr_eq(known, &edge)) {
                explanation.finding.affected.push(edge);
            }
        }
        let (impact, more) = (&mut explanation.finding.impact, draft.finding.impact);
        impact.failed_connections_per_second += more.failed_connections_per_second;
        impact.stalled_connections += more.stalled_connections;
        impact.failed_queries_per_second += more.failed_queries_per_second;
        impact.retransmitted_share = impact.retransmitted_share.max(more.retransmitted_share);
    }
    let mut rest = without_consequences(rest, known);
    // What a sidecar waits for has a cause of its own.
    let behind: BTreeSet<Workload> = wide
        .iter()
        .chain(&rest)
        .flat_map(|draft| &draft.finding.affected)
        .filter(|edge| edge.via == Via::Sidecar && edge.reporter == Reporter::Source)
        .map(|edge| edge.source.clone())
        .collect();
    rest.retain(|draft| {
        let is_consequence = draft.finding.cause == Cause::UpstreamOfSidecar;
        !(is_consequence && draft.finding.affected.iter().any(|edge| behind.contains(&edge.source)))
    });
    wide.extend(rest);
    wide
}

/// Without what follows from others: connections with a peer that is not there stall and end in many ways, at both ends; a server that
/// does not read does not answer either; and what this node is known to drop at one end is missed at the other.
fn without_consequences(mut drafts: Vec<Draft>, known: Known) -> Vec<Draft> {
    let affected = |cause: Cause| {
        let of_cause = drafts.iter().filter(move |draft| draft.finding.cause == cause);
        of_cause.flat_map(|draft| draft.finding.affected.iter())
    };
    let ends = |edge: &Edge| (local(edge).clone(), peer(edge).clone());
    let dead: BTreeSet<(Workload, Workload)> = affected(Cause::DeadPath).map(|edge| ends(edge)).collect();
    let dead_pairs: Pairs = affected(Cause::DeadPath).map(|edge| pair(edge)).collect();
    // Small segments were among what got nothing back.
    let is_sure = |draft: &&Draft| {
        draft.finding.cause == Cause::DeadPath && draft.finding.confidence == Confidence::High
    };
    let surely_dead = drafts.iter().filter(is_sure).flat_map(|draft| &draft.finding.affected);
    let surely_dead: Pairs = surely_dead.map(|edge| pair(edge)).chain(known.surely_dead).collect();
    let dropping = drafts.iter().filter(|draft| is_known_drop(&draft.finding));
    let dropped = dropping.flat_map(|draft| draft.finding.affected.iter().map(|edge| pair(edge)));
    // Timeouts back off, so that what is dropped does not show in each judgement.
    let dropped: Pairs = dropped.chain(known.dropped).collect();
    let ruled: BTreeSet<_> = affected(Cause::PolicyDrop).map(|edge| pair(edge)).chain(known.ruled).collect();
    // A rule that rejects drops, too, what it answers.
    let rejected: BTreeSet<_> =
        affected(Cause::PolicyReject).map(|edge| pair(edge)).chain(known.rejected).collect();
    // What has come for a sidecar at fault waits in its sockets.
    let own = |edge: &&Arc<Edge>| matches!(edge.via, Via::OwnSidecar(_));
    let sidecars: BTreeSet<Workload> =
        affected(Cause::SidecarFault).filter(own).map(|edge| edge.source.clone()).collect();
    let is_deaf = |finding: &Finding| match finding.cause {
        Cause::ReceiverStalled => finding.side == Side::Server,
        cause => cause == Cause::AcceptQueueOverflow,
    };
    let deaf: BTreeSet<_> = drafts
        .iter()
        .filter(|draft| is_deaf(&draft.finding))
        .flat_map(|draft| draft.finding.affected.iter().map(|edge| (edge.destination.clone(), edge.port)))
        .collect();
    drafts.retain(|draft| {
        let cause = draft.finding.cause;
        let is_stall = matches!(cause, Cause::HalfOpenPeer | Cause::SlowServer | Cause::ReceiverStalled);
        let is_end = matches!(cause, Cause::HalfOpenPeer | Cause::PeerCrash);
        let is_loss =
            cause.family() == Family::Loss && cause != Cause::PolicyDrop && !is_known_drop(&draft.finding);
        let is_untracked = |edge: &Edge| {
            known.untracked.iter().any(|subject| match subject {
                Subject::Workload(workload) => edge.source == *workload || edge.destination == *workload,
                subject => *subject == Subject::Node,
            })
        };
        let is_of_repeated =
            matches!(cause, Cause::PathLoss | Cause::AckLoss | Cause::Reordering | Cause::MtuBlackHole);
        let follows = |edge: &Arc<Edge>| {
            (is_of_handshakes(cause) && is_untracked(edge))
                || (is_of_repeated && surely_dead.has(edge))
                || (cause == Cause::AckLoss && known.late.contains(&pair(edge)))
                || (cause == Cause::DnsServerSlow && known.silent.contains(&edge.destination))
                || (is_stall && (dead.contains(&ends(edge)) || dead_pairs.has(edge)))
                || (cause == Cause::MtuBlackHole && ruled.contains(&pair(edge)))
                || ((is_stall || is_loss) && dropped.has(edge))
                || (cause == Cause::PolicyDrop
                    && (dropped.has_by_name(edge) || rejected.contains(&pair(edge))))
                || ((is_stall || is_loss)
                    && edge.reporter == Reporter::Destination
                    && ruled.contains(&pair(edge)))
                || (cause == Cause::ConnectionRefused && dropped.has(edge))
                || (is_end && known.dead.contains(&pair(edge)))
                || (matches!(cause, Cause::ReceiverStalled | Cause::SlowClient)
                    && edge.via == Via::Sidecar
                    && sidecars.contains(local(edge)))
                || (cause == Cause::SlowServer && deaf.contains(&(edge.destination.clone(), edge.port)))
        };
        !draft.finding.affected.iter().any(follows)
    });
    drafts
}

/// Pairs whose fault is known already.
#[derive(Default)]
struct Known {
    /// This node drops of them.
    dropped: BTreeSet<Ends>,
    /// A rule drops, as far as the client's end shows.
    ruled: BTreeSet<Ends>,
    /// A rule rejects.
    rejected: BTreeSet<Ends>,
    /// Nothing came through: when it does again, connections that one end has given up are reset.
    dead: BTreeSet<Ends>,
    /// Those of which that is sure: what was sent in vain is sent again when something comes through.
    surely_dead: BTreeSet<Ends>,
    /// Acknowledgements come too late for TCP.
    late: BTreeSet<Ends>,
    /// DNS servers that were down: they answer what has waited.
    silent: BTreeSet<Workload>,
    /// Whose table of connections is full: SYNs that it dropped are repeated later and later, also when it is not any more.
    untracked: Vec<Subject>,
}

impl Known {
    fn new<'a>(active: impl Iterator<Item = &'a Arc<Finding>>) -> Self {
        let mut known = Self::default();
        for finding in active {
            let pairs = || finding.affected.iter().map(|edge| pair(edge));
            if is_known_drop(finding) {
                known.dropped.extend(pairs());
            }
            if finding.cause == Cause::PolicyDrop {
                known.ruled.extend(pairs());
            }
            if finding.cause == Cause::PolicyReject {
                known.rejected.extend(pairs());
            }
            if matches!(finding.cause, Cause::PolicyDrop | Cause::DeadPath | Cause::MtuBlackHole) {
                known.dead.extend(pairs());
                if finding.confidence == Confidence::High && finding.cause != Cause::MtuBlackHole {
                    known.surely_dead.extend(pairs());
                }
            }
            if finding.cause == Cause::SpuriousTimeout {
                known.late.extend(pairs());
            }
            if finding.cause == Cause::DnsServerDown {
                known.silent.extend(finding.affected.iter().map(|edge| edge.destination.clone()));
            }
            if finding.cause == Cause::ConntrackFull {
                known.untracked.push(finding.subject.clone());
            }
        }
        known
    }
}

/// A pair, whichever end was observed.
type Ends = (Workload, Workload, Option<u16>);

fn pair(edge: &Edge) -> Ends {
    (edge.source.clone(), edge.destination.clone(), edge.port)
}

/// Pairs that have something. One end may know the other by its address alone, while that has names for both.
struct Pairs {
    all: BTreeSet<Ends>,
    /// The server's port of those whose client has a name.
    named: BTreeSet<(Workload, Option<u16>)>,
    /// The client of those whose server has none, and the server's port.
    addressed: BTreeSet<(Workload, Option<u16>)>,
}

impl FromIterator<Ends> for Pairs {
    fn from_iter<I: IntoIterator<Item = Ends>>(pairs: I) -> Self {
        let all: BTreeSet<Ends> = pairs.into_iter().collect();
        let named = all.iter().filter(|(client, ..)| !matches!(client, Workload::Address(_)));
        let addressed = all.iter().filter(|(_, server, _)| matches!(server, Workload::Address(_)));
        Self {
            named: named.map(|(_, server, port)| (server.clone(), *port)).collect(),
            addressed: addressed.map(|(client, _, port)| (client.clone(), *port)).collect(),
            all,
        }
    }
}

impl Pairs {
    fn has(&self, edge: &Edge) -> bool {
        self.all.contains(&pair(edge)) || self.has_by_name(edge)
    }

    /// True if the edge is the server's end of a client without a name, and one of the port's clients with a name is here; or that
    /// of a client that is here with a server without a name.
    fn has_by_name(&self, edge: &Edge) -> bool {
        let has_client = match edge.source {
            Workload::Address(_) => self.named.contains(&(edge.destination.clone(), edge.port)),
            _ => self.addressed.contains(&(edge.source.clone(), edge.port)),
        };
        edge.reporter == Reporter::Destination && has_client
    }
}

/// True if this node has seen itself drop what was missed.
fn is_known_drop(finding: &Finding) -> bool {
    let cause = finding.cause;
    let is_drop = matches!(
        cause,
        Cause::PolicyDrop
            | Cause::PolicyReject
            | Cause::ShaperDrop
            | Cause::AsymmetricRoute
            | Cause::NoRoute
            | Cause::PacketCorruption
    );
    let has_seen_it = |signal: &Signal| {
        matches!(signal.signal, "tcp_retransmitted_after_drop_segments" | "packet_drops")
            && signal.value > 0.0
    };
    is_drop && finding.evidence.iter().any(has_seen_it)
}

fn is_wide(subject: &Subject) -> bool {
    matches!(subject, Subject::Node | Subject::Interface(_) | Subject::Listener(..) | Subject::Workload(_))
}

/// Connects get no answer.
fn is_of_handshakes(cause: Cause) -> bool {
    matches!(cause, Cause::DeadPath | Cause::PolicyDrop | Cause::AcceptQueueOverflow)
}

/// True if the wide draft explains the narrow one.
fn explains(wide: &Draft, narrow: &Draft) -> bool {
    let Some(edge) = narrow.finding.affected.first() else { return false };
    let cause = narrow.finding.cause;
    let is_handshake = is_of_handshakes(cause);
    let is_loss = matches!(
        cause,
        Cause::PathLoss | Cause::DeadPath | Cause::ReceiverMemoryPressure | Cause::PacketCorruption
    );
    match (&wide.finding.subject, wide.finding.cause) {
        (
            Subject::Listener(workload, port),
            Cause::AcceptQueueOverflow | Cause::SynFlood | Cause::SlowAccept,
        ) => {
            // Clients take a connection for open whose last handshake segment was dropped, and repeat all that they send.
            edge.destination == *workload
                && (port.is_none() || edge.port == *port)
                && (is_handshake
                    || cause.family() == Family::Loss
                    || matches!(cause, Cause::SlowServer | Cause::ReceiverStalled))
        }
        (Subject::Node, Cause::ConntrackFull) => is_handshake || cause == Cause::ShaperDrop,
        (Subject::Node, Cause::SoftirqOverload) => is_loss || cause == Cause::ShaperDrop,
        (Subject::Interface(_), Cause::ShaperDrop) => cause == Cause::ShaperDrop,
        (Subject::Node, Cause::NeighbourTableFull) => is_handshake || cause == Cause::NoRoute,
        (Subject::Node, Cause::PacketCorruption) => is_loss,
        (Subject::Workload(workload), Cause::PacketCorruption | Cause::ReceiverMemoryPressure) => {
            is_loss && (edge.source == *workload || edge.destination == *workload)
        }
        (Subject::Workload(workload), Cause::ConntrackFull) => {
            is_handshake && (edge.source == *workload || edge.destination == *workload)
        }
        _ => false,
    }
}

/// Drafts of one cause: where nearly all edges with something in common have it, and others have not, it is said of that.
fn grouped(mut drafts: Vec<Draft>, edges: &[Arc<Edge>]) -> Vec<Draft> {
    let mut grouped = Vec::new();
    for dimension in [Dimension::Node, Dimension::Server, Dimension::Local] {
        let groups = groups(&drafts, edges, dimension);
        let mut rest: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
        for (key, members) in groups {
            let taken = members.iter().filter_map(|index| rest.get_mut(*index)?.take());
            let of_all = taken.reduce(sum);
            grouped.extend(of_all.map(|draft| named(draft, dimension, &key, members.len())));
        }
        drafts = rest.into_iter().flatten().collect();
    }
    grouped.extend(drafts);
    grouped
}

/// What edges may have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Node,
    Server,
    Local,
}

/// The end that this node runs, so that both ends of one pair are not two; and what they have in common.
type GroupKey = (Reporter, Workload, Option<u16>);

impl Dimension {
    fn key(self, edge: &Edge) -> GroupKey {
        match self {
            Self::Node => (edge.reporter, Workload::Any, None),
            Self::Server => (edge.reporter, edge.destination.clone(), edge.port),
            Self::Local => (edge.reporter, local(edge).clone(), None),
        }
    }
}

/// The groups whose edges have the fault nearly all, as the positions of the drafts in each; no draft is in two.
fn groups(drafts: &[Draft], edges: &[Arc<Edge>], dimension: Dimension) -> BTreeMap<GroupKey, Vec<usize>> {
    let least = if dimension == Dimension::Node { MANY } else { SEVERAL };
    let mut groups: BTreeMap<GroupKey, Vec<usize>> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if let (Subject::Edge(_), Some(edge)) = (&draft.finding.subject, draft.finding.affected.first()) {
            groups.entry(dimension.key(edge)).or_default().push(index);
        }
    }
    groups.retain(|_, members| members.len() >= least);
    if groups.is_empty() {
        return groups;
    }
    let mut all: HashMap<GroupKey, usize> = HashMap::new();
    for edge in edges {
        *all.entry(dimension.key(edge)).or_default() += 1;
    }
    groups.retain(|key, members| {
        let all = all.get(key).copied().unwrap_or_default();
        members.len() as f64 >= NEARLY_ALL * all as f64 && is_wide_enough(drafts, members, dimension)
    });
    groups
}

/// For the node, several servers and several clients have to be concerned; for a server, several clients.
fn is_wide_enough(drafts: &[Draft], members: &[usize], dimension: Dimension) -> bool {
    let different = |part: fn(&Edge) -> &Workload| {
        let members = members.iter().filter_map(|index| drafts.get(*index)?.finding.affected.first());
        members.map(|edge| part(edge)).collect::<BTreeSet<_>>().len()
    };
    match dimension {
        Dimension::Node => different(peer) >= 3 && different(local) >= 2,
        Dimension::Server => different(|edge| &edge.source) >= SEVERAL,
        Dimension::Local => different(peer) >= 3,
    }
}

/// Two drafts of a group.
pub(super) fn sum(one: Draft, other: Draft) -> Draft {
    let impacts = [one.finding.impact, other.finding.impact];
    let weight = one.weight + other.weight;
    let mut sum = merged(one, other);
    sum.weight = weight;
    let total = |part: fn(&super::finding::Impact) -> f64| impacts.iter().map(part).sum();
    sum.finding.impact.failed_connections_per_second = total(|impact| impact.failed_connections_per_second);
    sum.finding.impact.stalled_connections = total(|impact| impact.stalled_connections);
    sum.finding.impact.failed_queries_per_second = total(|impact| impact.failed_queries_per_second);
    sum
}

/// The draft of a whole group.
fn named(mut draft: Draft, dimension: Dimension, (_, workload, port): &GroupKey, edges: usize) -> Draft {
    let finding = &mut draft.finding;
    let (subject, what) = match dimension {
        Dimension::Node => (Subject::Node, "this node".to_owned()),
        Dimension::Server => (Subject::Listener(workload.clone(), *port), server(workload, *port)),
        Dimension::Local => (Subject::Workload(workload.clone()), name(workload)),
    };
    finding.subject = subject;
    finding.summary = format!("All {edges} pairs of {what}, as {}", finding.summary);
    draft
}
