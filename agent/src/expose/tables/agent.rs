//! The agent itself: probes, losses, limits and cost.

use std::borrow::Cow;
use std::time::Duration;

use netcause_common::histogram::{bucket, powers};
use netcause_common::statistics::Statistic;
use netcause_core::aggregate::windows::Statistics;

use super::labels;
use crate::expose::series::{
    Family, Rows, Samples, Scale, Table, counter, gauge, histogram, info, last, sum,
};
use crate::expose::snapshot::{AgentView, MapRow, ProgramRow};
use crate::web::Refused;

/// Counters of the daemon about itself. Whoever counts has one of these; a new number is a field here and an entry below.
#[derive(Clone, Debug, Default)]
pub struct AgentCounts {
    /// DNS events received from the kernel side.
    pub dns_events: u64,
    /// Durations of sweeps over all open sockets.
    pub sweeps: Durations,
    /// Open connections at the last sweep: found by a descriptor, and only in the socket map.
    pub swept: [u64; 2],
    /// Durations of scrapes.
    pub scrapes: Durations,
    /// Durations of passes of the node's readers.
    pub node_reads: Durations,
    /// Log lines that could not be written.
    pub lost_log_lines: u64,
    /// What the recording has.
    pub recorded: Recorded,
    /// Connections and requests to the agent's port that were refused, by [`Refused`].
    pub refused: [u64; Refused::COUNT],
    /// Whether files with TLS, passwords and tokens say something that cannot be used.
    pub is_web_outdated: bool,
    /// Network namespaces with a listening socket whose counters the last sweep could not read.
    pub unread_namespaces: u64,
}

/// What was recorded since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes.
    pub bytes: u64,
    /// Windows.
    pub windows: u64,
    /// Windows that could not be written.
    pub lost: u64,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    bins: [u64; Self::BOUNDS_NS.len() + 1],
    sum: Duration,
}

impl Durations {
    /// 2^-10 s.
    const FIRST: i32 = -10;
    /// About 1 ms to 1 s.
    const BOUNDS_NS: [u64; 11] = powers(Self::FIRST, 1_000_000_000);
    const SCALE: &Scale =
        &Scale::new(Self::FIRST, Self::BOUNDS_NS.len(), &[-10, -9, -8, -7, -6, -5, -4, -2, 0]);

    /// Adds one observation.
    pub fn observe(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.bins[bucket(&Self::BOUNDS_NS, nanoseconds)] += 1;
        self.sum += duration;
    }

    fn show(&self, to: &mut Samples<'_>) {
        to.distribution(Self::SCALE, &self.bins, self.sum.as_secs_f64());
    }
}

/// What is kept of the last minutes, for `/api/v1/edges` (edges) and `/api/v1/node` (the others).
static WINDOWS: Table<Statistics> = Table {
    labels: &["of"],
    sparse: false,
    metrics: &[
        gauge(
            "netcause_windows_seconds",
            "How far back /api/v1/edges (of: edges) and /api/v1/node (the others) reach: ten minutes and up to two more, less after a \
             start or where netcause_windows_dropped_total grows.",
            |windows, to| to.value(windows.reach.as_secs_f64()),
        ),
        gauge("netcause_windows_bytes", "Memory of what was counted in the last minutes.", |windows, to| {
            to.value(windows.bytes as u64);
        }),
        gauge(
            "netcause_windows_limit_bytes",
            "Limit of netcause_windows_bytes, above which the oldest windows are dropped.",
            |windows, to| to.value(windows.max_bytes as u64),
        ),
        counter(
            "netcause_windows_dropped",
            "Windows dropped before their time, because all together took too much memory. No metric depends on them.",
            |windows: &Statistics, to| to.value(windows.dropped),
        ).lost("windows of /api/v1/edges or node, dropped for their memory"),
        counter(
            "netcause_windows_folded",
            "Pairs, nodes, listening ports and parts of the node that have ended and are counted under the name other in windows, \
             because more than 4096 ended within the time that they reach back.",
            |windows: &Statistics, to| to.value(windows.folded),
        ).lost("ended pairs and places under other in windows"),
    ],
};

static PROBES: Table<bool> = Table {
    labels: &["probe"],
    sparse: false,
    metrics: &[gauge(
        "netcause_probe_up",
        "1 while the probe runs, 0 while it does not; netcause_probe_unavailable_info has the reason.",
        |is_up, to| to.value(*is_up),
    )],
};

static PROBES_DOWN: Table<()> = Table {
    labels: &["probe", "reason"],
    sparse: false,
    metrics: &[info(
        "netcause_probe_unavailable",
        "Why a probe does not run; absent while it does. reason: kernel_feature_missing, cgroup2_not_mounted, \
         not_permitted, not_in_host_pid_namespace, disabled, verifier_rejected, attach_failed, needs_other_probe or \
         other. The whole reason is in the log and in /api/v1/status.",
    )],
};

static LOSSES: Table<u64> = Table {
    labels: &["probe", "where"],
    sparse: false,
    metrics: &[counter(
        "netcause_events_lost",
        "Data lost on the kernel side. ring: events dropped because the ring buffer was full, which affects no counter \
         of edges (of flows: a workload that ends before the next scrape may stay without a name); map: sockets dropped \
         because the socket table was full, whose connect duration and role are lost; skipped: client connections whose \
         start or failure no program has seen, which are counted without duration, or not as failed.",
        |count: &u64, to| to.value(*count),
    ).lost("events (ring), details of sockets (map), starts (skipped)")],
};

static AGENT: Table<AgentView> = Table {
    labels: &[],
    sparse: false,
    metrics: &[
        counter(
            "netcause_dns_malformed_messages",
            "Packets at a DNS port that are no DNS messages, by reason. malformed: too short, or in the wrong direction; \
             not_dns: another protocol, by opcode, counts of records or form of the name. Their datagrams are counted as \
             those of other UDP traffic.",
            |agent: &AgentView, to| {
                let counts = [Statistic::DnsMalformed, Statistic::DnsForeign].map(|number| agent.kernel.get(number));
                to.by(&["malformed", "not_dns"], &counts);
            },
        )
        .by("reason"),
        counter(
            "netcause_dns_reassembly_failures",
            "DNS messages skipped because the TCP stream had a gap or a header was split across segments. Their queries and \
             responses are not counted.",
            |agent: &AgentView, to| to.value(agent.kernel.get(Statistic::DnsUnfollowed)),
        ).lost("DNS messages over TCP that could not be put together"),
        counter(
            "netcause_dns_unread_segments",
            "TCP segments with more DNS messages than the kernel side reads of one (33), and UDP buffers with several \
             datagrams (UDP_SEGMENT), of which it reads the first. Further queries and responses in them are not counted.",
            |agent: &AgentView, to| to.value(agent.kernel.get(Statistic::DnsUnread)),
        ).lost("segments with more DNS messages than are read"),
        counter(
            "netcause_ipv6_unread_packets",
            "IPv6 packets of sockets on this node with more extension headers than the kernel side parses (4), or longer ones \
             (471 bytes). UDP datagrams and DNS messages in them are not counted.",
            |agent: &AgentView, to| to.value(agent.kernel.get(Statistic::ExtensionsUnread)),
        ).lost("IPv6 packets with longer headers than are read"),
        counter(
            "netcause_dns_events",
            "DNS events, each with one response, which provide names: received by the daemon, or rate_limited by \
             dns_event_rate_limit and dropped. Of the other metrics only those of search domains depend on them.",
            |agent: &AgentView, to| {
                let limited = agent.kernel.get(Statistic::DnsDetailsLeftOut);
                to.by(&["received", "rate_limited"], &[agent.counts.dns_events, limited]);
            },
        )
        .by("outcome").lost_as("rate_limited", "names of DNS answers beyond dns_event_rate_limit"),
        counter(
            "netcause_flow_table_overflows",
            "Updates of flows that did not fit into the flow table (map full) and were counted under the workload other: \
             sums stay exact, names are lost.",
            |agent: &AgentView, to| to.value(agent.kernel.get(Statistic::FlowsFolded)),
        ).lost("updates of flows under other, their table full; sums are exact"),
        counter(
            "netcause_packet_drop_table_overflows",
            "Dropped packets that did not fit into their table and were counted under the workload other.",
            |agent: &AgentView, to| to.value(agent.kernel.get(Statistic::DropsFolded)),
        ).lost("dropped packets under other, with their table full"),
        counter(
            "netcause_packet_drops_forgotten",
            "Ranges of TCP data that were dropped, and forgotten before their retransmission because later drops took their \
             place: such retransmissions are missing in netcause_tcp_retransmitted_after_drop_segments_total. Also counts \
             ranges that were never to be retransmitted, because their connection ended within 150 s.",
            |agent: &AgentView, to| to.value(agent.kernel.get(Statistic::DropsForgotten)),
        ).lost("dropped data that may have been sent again unnoticed"),
        gauge("netcause_series", "Time series of edges in this exposition.", |agent, to| {
            to.value(agent.series.shown);
        }),
        gauge(
            "netcause_series_limit",
            "Limit of the time series of edges (max_series). Above it the smallest edges are folded into the workload \
             other: first their histograms, then everything.",
            |agent, to| to.value(agent.series.limit),
        ),
        counter(
            "netcause_series_folded",
            "Times that an edge was folded into the workload other with all its series.",
            |agent: &AgentView, to| to.value(agent.series.folded),
        ).lost("pairs under other, beyond max_series; sums are exact"),
        counter(
            "netcause_peer_nodes_folded",
            "Times that a node at the other end of connections was folded into the peer_node other, because another one \
             counted more and there are more than max_peer_nodes. What it had counted ends with its series, and is not in \
             other.",
            |agent: &AgentView, to| to.value(agent.folded_peer_nodes),
        ).lost("nodes at the other end, beyond max_peer_nodes"),
        counter(
            "netcause_series_cut_short",
            "Rows of edges that were folded or renamed and made room for others before every scraper had their last value: what \
             they grew by since its last scrape but one is missing in its rates.",
            |agent: &AgentView, to| to.value(agent.series.cut_short),
        ).lost("rows that ended before every scraper had them"),
        counter(
            "netcause_record_bytes",
            "Bytes written to the recording (record).",
            |agent: &AgentView, to| to.value(agent.counts.recorded.bytes),
        ),
        counter(
            "netcause_record_windows",
            "Windows written to the recording, one for each judgement.",
            |agent: &AgentView, to| to.value(agent.counts.recorded.windows),
        ),
        counter(
            "netcause_record_windows_lost",
            "Windows that are missing in the recording: the disk is full, fails, or is too slow. The log says why. Nothing else \
             depends on it.",
            |agent: &AgentView, to| to.value(agent.counts.recorded.lost),
        ).lost("windows of the recording, which could not be written"),
        counter(
            "netcause_log_lines_lost",
            "Lines of the agent's log that could not be written: its reader is gone, or the disk is full.",
            |agent: &AgentView, to| to.value(agent.counts.lost_log_lines),
        ).lost("log lines that could not be written"),
        counter(
            "netcause_http_refused",
            "Connections and requests to the agent's port that were refused. tls: the handshake failed, for lack of a client \
             certificate for example; unauthorized: no password or token, or a wrong one; busy: too many passwords were being \
             checked.",
            |agent: &AgentView, to| to.by(Refused::LABELS, &agent.counts.refused),
        )
        .by("reason"),
        gauge(
            "netcause_web_config_outdated",
            "1 while what web_config_file and api_token_file say, or the certificates that they name, cannot be used: then \
             what they said before is in force. The log says why.",
            |agent: &AgentView, to| to.value(u64::from(agent.counts.is_web_outdated)),
        ).lost("changes of TLS, passwords or tokens of the port, not in force"),
        gauge(
            "netcause_listener_namespaces_unread",
            "Network namespaces with a listening TCP socket whose counters could not be read at the last sweep, because no \
             process that holds one is in the namespace: netcause_tcp_listen_drops_total and \
             netcause_tcp_syn_cookies_sent_total lack what happened there.",
            |agent: &AgentView, to| to.value(agent.counts.unread_namespaces),
        ).lost("network namespaces with listeners that are not read"),
        histogram(
            "netcause_sweep_duration_seconds",
            "Time to read all open sockets.",
            |agent: &AgentView, to| agent.counts.sweeps.show(to),
        ),
        gauge(
            "netcause_sweep_connections",
            "Open TCP connections at the last sweep, by how it found them. descriptor: a process has a file descriptor; \
             socket_table: none has: descriptors of io_uring alone, on their way through a Unix socket or of the kernel, \
             connections that wait to be accepted or are closed and still send, further subflows of MPTCP. Connections without \
             a descriptor that are older than the agent are found in the agent's own network namespace, which is to be the \
             node's; elsewhere they are not, nor are those that did not fit into the socket table: they count at their close.",
            |agent: &AgentView, to| to.by(&["descriptor", "socket_table"], &agent.counts.swept),
        )
        .by("found_by"),
        histogram(
            "netcause_node_read_duration_seconds",
            "Time of one pass of all readers of the node (netcause_node_reader_up), on a thread of their own.",
            |agent: &AgentView, to| agent.counts.node_reads.show(to),
        ),
        histogram(
            "netcause_scrape_duration_seconds",
            "Time to collect and encode an exposition, of the scrapes before this one.",
            |agent: &AgentView, to| agent.counts.scrapes.show(to),
        ),
    ],
};

static MAPS: Table<MapRow> = Table {
    labels: &["map"],
    sparse: false,
    metrics: &[
        gauge("netcause_map_entries", "Entries of a kernel table now.", |map: &MapRow, to| {
            to.value(map.entries);
        }),
        gauge("netcause_map_limit", "Maximum number of entries of a kernel table.", |map, to| {
            to.value(map.limit);
        }),
    ],
};

static PROGRAMS: Table<ProgramRow> = Table {
    labels: &["program"],
    sparse: false,
    metrics: &[
        counter(
            "netcause_bpf_run_seconds",
            "Time spent in an eBPF program; only counted by the kernel while the sysctl kernel.bpf_stats_enabled is 1.",
            |program: &ProgramRow, to| to.value(program.run_time.as_secs_f64()),
        ),
        counter(
            "netcause_bpf_runs",
            "Runs of an eBPF program; only counted by the kernel while the sysctl kernel.bpf_stats_enabled is 1.",
            |program, to| to.value(program.runs),
        ),
        counter(
            "netcause_bpf_recursion_misses",
            "Runs that the kernel skipped because the eBPF program was already running on the same CPU. Programs that \
             count have a second copy (again) that runs in this case; missed retransmissions are counted with the next \
             one or at the close of the connection.",
            |program, to| to.value(program.recursion_misses),
        ),
    ],
};

static BUILD: Table<()> = Table {
    labels: &["version"],
    sparse: false,
    metrics: &[info("netcause_build", "Version of the agent.")],
};

static KERNEL: Table<()> = Table {
    labels: &["release"],
    sparse: false,
    metrics: &[info("netcause_kernel", "Release of the kernel that the agent runs on.")],
};

pub(super) fn families(agent: &AgentView) -> impl Iterator<Item = Family<'_>> {
    let probes = || agent.probes.iter();
    let up = Rows::new(probes().map(|probe| (labels![probe.name], probe.down.is_none())), last);
    let down = probes().filter_map(|probe| Some((labels![probe.name, probe.down.as_ref()?.reason], ())));
    let losses = Rows::new(losses(agent), sum);
    let windows = Rows::new(agent.windows.iter().map(|(of, kept)| (labels![*of], *kept)), last);
    let maps = Rows::new(agent.maps.iter().map(|row| (labels![row.map], *row)), last);
    let programs = Rows::new(agent.programs.iter().map(|row| (labels![row.program], *row)), last);
    let build = Rows::new([(labels![env!("CARGO_PKG_VERSION")], ())], last);
    let kernel = Rows::new([(labels![agent.kernel_release.as_str()], ())], last);
    PROBES
        .families(&up)
        .chain(PROBES_DOWN.families(&Rows::new(down, last)))
        .chain(LOSSES.families(&losses))
        .chain(AGENT.families(&Rows::single(agent)))
        .chain(WINDOWS.families(&windows))
        .chain(MAPS.families(&maps))
        .chain(PROGRAMS.families(&programs))
        .chain(BUILD.families(&build))
        .chain(KERNEL.families(&kernel))
}

/// Rows of [`LOSSES`].
fn losses(agent: &AgentView) -> impl Iterator<Item = (Vec<Cow<'_, str>>, u64)> {
    let AgentView { probes, kernel, .. } = agent;
    let emitting = probes.iter().filter(|probe| probe.emits);
    let of_probes = emitting.map(|probe| (labels![probe.name, "ring"], kernel.events_lost(probe.id)));
    let others = [
        ("flows", "ring", Statistic::FlowsUnannounced),
        ("tcp_state", "map", Statistic::SocketsRefused),
        ("tcp_state", "skipped", Statistic::ConnectionsMissed),
    ];
    let of = |(probe, place, statistic)| (labels![probe, place], kernel.get(statistic));
    of_probes.chain(others.map(of))
}
