//! The scenarios: each causes a fault, runs real programs against it, and checks the metrics of the agent. The first
//! sentence of a scenario's documentation is what it proves.
//!
//! They run as the tests of a Rust test binary do. A scenario that this environment cannot run is reported as ignored,
//! with the reason, never as passed.

mod activation;
mod budget;
mod bytes;
mod closes;
mod connect;
mod counts;
mod daemon;
mod deploy;
mod dnat;
mod dns;
mod drops;
mod edges;
mod exposition;
mod external;
mod findings;
mod idle;
mod itself;
mod late;
mod limits;
mod listeners;
mod live;
mod loss;
mod mptcp;
mod names;
mod netem;
mod node;
mod otlp;
mod outside;
mod package;
mod peers;
mod preexisting;
mod prometheus;
mod quality;
mod recording;
mod recovery;
mod resets;
mod sidecar;
mod sweep;
mod turn;
mod udp;
mod web;

use std::{
    fs::File,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, ColorSetting, Failed, Trial};

use crate::lab::{self, agent, cgroup, faults, in_vm, is_between, machine};

pub(crate) use itself::Victim;

/// Requirements of a scenario besides root and the agent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The `netem` queueing discipline.
    Netem,
    /// A client that was not written for this lab.
    Curl,
    /// Debian's `prometheus` package.
    Prometheus,
    /// A DNS server and clients that were not written for this lab: `unbound`, `dig` and `dnsperf`.
    Dns,
    /// As [`Needs::Dns`] and [`Needs::Alone`].
    DnsAlone,
    /// [`Needs::Prometheus`] and [`Needs::Dns`].
    Dashboard,
    /// A real sidecar: `envoy`. On this machine only: the memory of the VMs does not hold its 107 MB beside all others.
    Envoy,
    /// These programs, each with an argument that makes it succeed.
    Programs(&'static [(&'static str, &'static str)]),
    /// [`Needs::Envoy`] and [`Needs::Prometheus`].
    EnvoyAndPrometheus,
    /// A kernel with MPTCP.
    Mptcp,
    /// TAP devices: `/dev/net/tun`.
    Tap,
    /// A program that starts others in a new PID namespace.
    Unshare,
    /// The image and the Debian package of the agent, and what boots a host with systemd. Like [`Needs::Envoy`], on this machine only.
    Packages,
    /// No other scenario, of this lab or another one, at the same time: it looks at totals of the whole machine.
    Alone,
    /// A VM, and [`Needs::Alone`]: it changes what all network namespaces of a machine share.
    OwnMachine,
}

impl Needs {
    fn is_alone(self) -> bool {
        matches!(self, Self::Alone | Self::DnsAlone | Self::OwnMachine)
    }
}

/// The kernels of the matrix that a scenario is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernels {
    /// It is about what differs from kernel to kernel.
    Every,
    /// It is about what the eBPF programs do with packets and the daemon with their counts: the oldest and the newest kernel, and
    /// that of this machine, are enough where the whole matrix runs.
    Outermost,
    /// It is about servers, names and files rather than the kernel: that of this machine is enough.
    One,
}

struct Scenario {
    name: &'static str,
    needs: Needs,
    kernels: Kernels,
    run: fn(&str) -> Result<()>,
}

impl Scenario {
    const fn on_one_kernel(self) -> Self {
        Self { kernels: Kernels::One, ..self }
    }

    const fn on_outermost_kernels(self) -> Self {
        Self { kernels: Kernels::Outermost, ..self }
    }

    /// Why it is left out of an emulated VM, where all of these would take as long as all others together.
    fn is_elsewhere(&self) -> Option<&'static str> {
        match self.kernels {
            Kernels::One if in_vm() => Some("not about the kernel: runs on the machine itself"),
            Kernels::Outermost if is_between() => {
                Some("not about differences of kernels: runs on the oldest and the newest")
            }
            _ => None,
        }
    }
}

const fn scenario(name: &'static str, run: fn(&str) -> Result<()>) -> Scenario {
    needing(Needs::Nothing, name, run)
}

const fn needing(needs: Needs, name: &'static str, run: fn(&str) -> Result<()>) -> Scenario {
    Scenario { name, needs, kernels: Kernels::Every, run }
}

/// Every scenario. The name also names the scenario's cgroups.
const SCENARIOS: &[Scenario] = &[
    scenario("lab::traffic", itself::traffic_and_faults_are_exact).on_outermost_kernels(),
    scenario("lab::datagrams", itself::datagrams_are_exact).on_outermost_kernels(),
    scenario("lab::service", itself::a_service_has_backends).on_outermost_kernels(),
    scenario("lab::crash", itself::a_crash_leaves_nothing).on_outermost_kernels(),
    scenario("closes::reasons", closes::reasons),
    scenario("node::pods", node::pods),
    scenario("node::devices", node::devices),
    scenario("node::neighbours", node::neighbours).on_one_kernel(),
    needing(Needs::OwnMachine, "node::conntrack_full", node::conntrack_full).on_outermost_kernels(),
    scenario("connect::refused", connect::refused),
    scenario("connect::unreachable", connect::unreachable).on_outermost_kernels(),
    scenario("connect::rejected", connect::rejected).on_outermost_kernels(),
    scenario("connect::blackhole", connect::blackhole),
    scenario("connect::gave_up", connect::gave_up).on_outermost_kernels(),
    scenario("connect::aborted", connect::aborted).on_outermost_kernels(),
    scenario("connect::no_local_port", connect::no_local_port).on_outermost_kernels(),
    scenario("connect::taken_port", connect::taken_port).on_outermost_kernels(),
    scenario("connect::nonblocking", connect::nonblocking).on_outermost_kernels(),
    scenario("connect::no_route", connect::unsent::routes),
    scenario("connect::policies", connect::unsent::policies),
    scenario("connect::kprobes", connect::unsent::kprobes),
    scenario("counts::many_short", counts::many_short).on_outermost_kernels(),
    scenario("counts::families", counts::families),
    needing(Needs::Curl, "counts::curl", counts::curl).on_outermost_kernels(),
    scenario("counts::loopback", counts::loopback).on_outermost_kernels(),
    scenario("resets::by_client", resets::by_client),
    scenario("resets::by_server", resets::by_server),
    scenario("resets::after_read", resets::after_read).on_outermost_kernels(),
    scenario("resets::never_accepted", resets::never_accepted).on_outermost_kernels(),
    scenario("resets::by_firewall", resets::by_firewall),
    scenario("resets::shut_down", resets::shut_down),
    scenario("resets::too_late", resets::too_late).on_outermost_kernels(),
    scenario("loss::one_path", loss::one_path),
    scenario("loss::bulk", loss::bulk),
    scenario("loss::bulk_v6", loss::bulk_v6).on_outermost_kernels(),
    scenario("loss::synack", loss::synack),
    scenario("recovery::tail_loss_probe", recovery::tail_loss_probe),
    scenario("recovery::timeout", recovery::timeout),
    scenario("recovery::local_drop", recovery::local_drop),
    scenario("recovery::large_segments", recovery::large_segments).on_outermost_kernels(),
    scenario("recovery::forgotten", recovery::forgotten),
    scenario("recovery::one_connection", recovery::one_connection).on_outermost_kernels(),
    scenario("late::idle_connections", late::idle_connections).on_outermost_kernels(),
    scenario("late::gone_workload", late::gone_workload).on_outermost_kernels(),
    scenario("limits::tiny_ring", limits::tiny_ring).on_outermost_kernels(),
    scenario("limits::max_sockets", limits::max_sockets).on_outermost_kernels(),
    needing(Needs::Alone, "limits::max_flows", limits::max_flows).on_outermost_kernels(),
    scenario("limits::one_workload", limits::one_workload).on_one_kernel(),
    scenario("bytes::both_ways", bytes::both_ways),
    scenario("bytes::while_swept", bytes::while_swept),
    scenario("bytes::never_accepted", bytes::never_accepted).on_outermost_kernels(),
    scenario("bytes::unacknowledged", bytes::unacknowledged),
    scenario("live::held", live::held),
    scenario("live::half_closed", live::half_closed).on_outermost_kernels(),
    scenario("live::shared", live::shared).on_outermost_kernels(),
    scenario("live::outlived", live::outlived).on_outermost_kernels(),
    scenario("live::reconnected", live::reconnected).on_outermost_kernels(),
    scenario("preexisting::lifetime_or_since_start", preexisting::lifetime_or_since_start)
        .on_outermost_kernels(),
    scenario("preexisting::during_transfer", preexisting::during_transfer).on_outermost_kernels(),
    scenario("preexisting::closed_listener", preexisting::closed_listener).on_outermost_kernels(),
    scenario("peers::both_ends", peers::both_ends).on_outermost_kernels(),
    scenario("peers::older_pool", peers::older_pool).on_one_kernel(),
    scenario("peers::equal_networks", peers::equal_networks).on_one_kernel(),
    scenario("peers::masqueraded", peers::masqueraded).on_one_kernel(),
    scenario("quality::rtt", quality::rtt),
    needing(Needs::Mptcp, "mptcp::open", mptcp::open),
    needing(Needs::Mptcp, "mptcp::reinjected", mptcp::reinjected),
    needing(Needs::Netem, "quality::delayed_rtt", quality::delayed_rtt),
    scenario("quality::queueing", quality::queueing),
    scenario("quality::limited", quality::limited),
    scenario("quality::out_of_order", quality::out_of_order),
    scenario("quality::spurious", quality::spurious),
    scenario("drops::reasons", drops::reasons),
    scenario("drops::sockets", drops::sockets),
    scenario("drops::healthy", drops::healthy),
    scenario("drops::scanned", drops::scanned).on_one_kernel(),
    scenario("drops::joined", drops::joined::counted).on_outermost_kernels(),
    scenario("drops::elsewhere", drops::joined::elsewhere),
    scenario("drops::in_tunnels", drops::inside::tunnels).on_outermost_kernels(),
    needing(Needs::OwnMachine, "drops::in_backlog", drops::backlog::full).on_outermost_kernels(),
    scenario("listeners::queues", listeners::queues),
    scenario("listeners::ended", listeners::ended),
    scenario("activation::handed_on", activation::handed_on),
    needing(Needs::Programs(activation::SYSTEMD), "activation::by_systemd", activation::by_systemd)
        .on_one_kernel(),
    scenario("listeners::reasons", listeners::reasons),
    scenario("udp::both_ways", udp::both_ways),
    scenario("udp::loopback", udp::loopback).on_outermost_kernels(),
    scenario("udp::any_ports", udp::any_ports).on_outermost_kernels(),
    scenario("udp::extension_headers", udp::extension_headers).on_outermost_kernels(),
    scenario("udp::receive_drops", udp::receive_drops),
    scenario("udp::receive_drops_v6", udp::receive_drops_v6),
    scenario("udp::icmp_errors", udp::icmp_errors),
    needing(Needs::Alone, "udp::full_tables", udp::full_tables).on_outermost_kernels(),
    // First of them, because it waits for half a minute.
    needing(Needs::Dns, "dns::unanswered", dns::server::unanswered).on_outermost_kernels(),
    // Before those with thousands of queries, which displace the questions by which repetitions are recognized.
    needing(Needs::Programs(dns::zoo::MUSL), "dns::zoo_musl", dns::zoo::musl).on_one_kernel(),
    needing(Needs::Programs(dns::zoo::C_ARES), "dns::zoo_c_ares", dns::zoo::c_ares).on_one_kernel(),
    needing(Needs::Programs(dns::zoo::GO), "dns::zoo_go", dns::zoo::go).on_one_kernel(),
    needing(Needs::Programs(dns::zoo::FAILING), "dns::zoo_failing", dns::zoo::failing).on_one_kernel(),
    needing(Needs::Programs(dns::zoo::DNSMASQ), "dns::zoo_dnsmasq", dns::zoo::dnsmasq).on_one_kernel(),
    needing(Needs::Programs(dns::zoo::RESOLVED), "dns::zoo_resolved", dns::zoo::resolved).on_one_kernel(),
    needing(Needs::Dns, "dns::types", dns::answers::types),
    needing(Needs::Dns, "dns::glibc", dns::answers::glibc).on_outermost_kernels(),
    needing(Needs::Dns, "dns::codes", dns::failures::codes).on_outermost_kernels(),
    needing(Needs::Dns, "dns::glibc_failures", dns::failures::glibc).on_outermost_kernels(),
    needing(Needs::Dns, "dns::dead_server", dns::timeouts::dead_server).on_outermost_kernels(),
    needing(Needs::Dns, "dns::no_server", dns::timeouts::no_server).on_outermost_kernels(),
    needing(Needs::Dns, "dns::lost_answers", dns::timeouts::lost_answers).on_outermost_kernels(),
    needing(Needs::Dns, "dns::second_server", dns::timeouts::second_server).on_outermost_kernels(),
    needing(Needs::Dns, "dns::after_failure", dns::timeouts::after_failure).on_outermost_kernels(),
    scenario("dns::first_answer", dns::abandoned::first_answer).on_outermost_kernels(),
    scenario("dns::gives_up", dns::abandoned::gives_up).on_outermost_kernels(),
    scenario("dns::translated", dns::translated::by_its_own_rules),
    scenario("dns::extended_code", dns::odd::extended_code).on_outermost_kernels(),
    scenario("dns::no_question", dns::odd::no_question).on_outermost_kernels(),
    scenario("dns::one_id", dns::odd::one_id).on_outermost_kernels(),
    scenario("dns::extension_headers", dns::odd::extension_headers).on_outermost_kernels(),
    needing(Needs::Dns, "dns::delayed", dns::slow::delayed).on_outermost_kernels(),
    needing(Needs::Dns, "dns::late", dns::slow::late).on_outermost_kernels(),
    needing(Needs::Dns, "dns::truncated", dns::tcp::truncated).on_outermost_kernels(),
    needing(Needs::Dns, "dns::many_messages", dns::tcp::many_messages).on_outermost_kernels(),
    needing(Needs::Dns, "dns::pipelined", dns::tcp::pipelined).on_outermost_kernels(),
    needing(Needs::Dns, "dns::lost_segments", dns::tcp::lost_segments),
    needing(Needs::Dns, "dns::completes_handshake", dns::tcp::completes_handshake).on_outermost_kernels(),
    needing(Needs::Dns, "dns::ndots", dns::search::ndots).on_outermost_kernels(),
    needing(Needs::Dns, "dns::no_search", dns::search::no_search).on_outermost_kernels(),
    needing(Needs::Dns, "dns::several_clients", dns::server::several_clients).on_outermost_kernels(),
    needing(Needs::Dns, "dns::stub", dns::stub::loopback).on_outermost_kernels(),
    needing(Needs::Dns, "dns::ports", dns::ports::configured).on_outermost_kernels(),
    // Beside those with thousands of queries an answer may be left out of the details, and its name missing.
    needing(Needs::DnsAlone, "dns::names_shown", dns::names::shown).on_outermost_kernels(),
    needing(Needs::DnsAlone, "dns::names_hashed", dns::names::hashed).on_one_kernel(),
    needing(Needs::Dns, "dns::names_off", dns::names::off).on_one_kernel(),
    needing(Needs::DnsAlone, "dns::garbage", dns::hostile::garbage).on_outermost_kernels(),
    needing(Needs::DnsAlone, "dns::waiting_queries", dns::limits::waiting_queries).on_outermost_kernels(),
    needing(Needs::DnsAlone, "dns::flows", dns::limits::flows).on_outermost_kernels(),
    needing(Needs::Dns, "dns::dnsperf", dns::load::dnsperf_agrees).on_outermost_kernels(),
    needing(Needs::Tap, "findings::path_loss", findings::path_loss).on_one_kernel(),
    needing(Needs::Tap, "findings::dead_path", findings::dead_path).on_one_kernel(),
    needing(Needs::Tap, "findings::mtu_black_hole", findings::mtu_black_hole).on_one_kernel(),
    needing(Needs::Tap, "findings::refused", findings::refused).on_one_kernel(),
    needing(Needs::Tap, "findings::policy_drop", findings::policy_drop).on_one_kernel(),
    needing(Needs::Tap, "findings::slow_server", findings::slow_server).on_one_kernel(),
    needing(Needs::Tap, "findings::stalled", findings::stalled).on_one_kernel(),
    needing(Needs::Tap, "findings::accept_queue", findings::accept_queue).on_outermost_kernels(),
    needing(Needs::Tap, "findings::healthy", findings::healthy).on_one_kernel(),
    scenario("recording::replayed", recording::replayed).on_one_kernel(),
    needing(Needs::Tap, "findings::drawn", crate::faults::drawn).on_one_kernel(),
    scenario("external::clients", external::clients).on_outermost_kernels(),
    scenario("sidecar::over_loopback", sidecar::over_loopback).on_one_kernel(),
    scenario("sidecar::redirected", sidecar::redirected).on_one_kernel(),
    scenario("sidecar::inbound", sidecar::inbound).on_one_kernel(),
    needing(Needs::EnvoyAndPrometheus, "sidecar::envoy_two_ports", sidecar::envoy::two_ports),
    needing(Needs::Envoy, "sidecar::envoy_excluded", sidecar::envoy::excluded),
    needing(Needs::Envoy, "sidecar::envoy_outside", sidecar::envoy::outside),
    needing(Needs::Envoy, "sidecar::envoy_routes", sidecar::envoy::routes),
    needing(Needs::Envoy, "sidecar::envoy_itself", sidecar::envoy::itself),
    needing(Needs::Envoy, "sidecar::envoy_both_ends", sidecar::envoy::both_ends),
    needing(Needs::Dns, "outside::by_name", outside::by_name).on_one_kernel(),
    scenario("outside::networks", outside::networks).on_one_kernel(),
    scenario("outside::cgroup_rules", outside::cgroup_rules).on_one_kernel(),
    scenario("outside::system_containers", outside::system_containers).on_one_kernel(),
    needing(Needs::Alone, "budget::series", budget::series).on_one_kernel(),
    // After those that lose SYN-ACKs: its forged peers take the place of others that have not completed a handshake.
    needing(Needs::Alone, "resets::hostile", resets::hostile).on_outermost_kernels(),
    scenario("idle::flows", idle::flows).on_outermost_kernels(),
    scenario("turn::whose", turn::whose).on_outermost_kernels(),
    scenario("turn::responses", turn::responses).on_outermost_kernels(),
    needing(Needs::Programs(turn::servers::PROGRAMS), "turn::real_servers", turn::servers::real)
        .on_one_kernel(),
    scenario("sweep::duration", sweep::duration),
    scenario("sweep::without_descriptor", sweep::without_descriptor),
    needing(Needs::Unshare, "sweep::own_pid_namespace", sweep::own_pid_namespace),
    needing(Needs::Packages, "package::image", package::image).on_one_kernel(),
    needing(Needs::Packages, "package::debian", package::debian).on_one_kernel(),
    scenario("daemon::sigterm", daemon::sigterm).on_outermost_kernels(),
    scenario("daemon::sigint", daemon::sigint).on_one_kernel(),
    scenario("daemon::hangup", daemon::hangup).on_one_kernel(),
    scenario("daemon::full_log", daemon::full_log).on_one_kernel(),
    scenario("daemon::two_agents", daemon::two_agents).on_outermost_kernels(),
    scenario("daemon::config_errors", daemon::config_errors).on_one_kernel(),
    scenario("daemon::config_order", daemon::config_order).on_one_kernel(),
    scenario("daemon::check", daemon::check),
    scenario("deploy::manifest", deploy::manifest_suffices).on_outermost_kernels(),
    scenario("deploy::capabilities", deploy::each_capability_is_needed),
    scenario("deploy::mounts", deploy::each_mount_is_needed).on_outermost_kernels(),
    scenario("edges::lately", edges::lately).on_outermost_kernels(),
    scenario("exposition::formats", exposition::formats).on_one_kernel(),
    scenario("exposition::health", exposition::health).on_one_kernel(),
    scenario("exposition::starts", exposition::starts).on_one_kernel(),
    scenario("exposition::about_itself", exposition::about_itself).on_outermost_kernels(),
    needing(Needs::Programs(web::PROGRAMS), "web::guarded", web::guarded).on_one_kernel(),
    needing(Needs::Programs(otlp::PROGRAMS), "otlp::pipeline", otlp::pipeline).on_one_kernel(),
    needing(Needs::Prometheus, "prometheus::query", prometheus::query),
    needing(Needs::Dashboard, "prometheus::dashboard", prometheus::dashboard),
    needing(Needs::Prometheus, "prometheus::promtool", prometheus::promtool),
    needing(Needs::Prometheus, "prometheus::first_burst", prometheus::first_burst),
    needing(Needs::Prometheus, "prometheus::restart", prometheus::restart),
    needing(Needs::Prometheus, "prometheus::late_name", prometheus::late_name).on_one_kernel(),
    needing(
        Needs::Programs(prometheus::remote_write::PROGRAMS),
        "prometheus::influxdb",
        prometheus::remote_write::influxdb,
    )
    .on_one_kernel(),
    needing(Needs::Netem, "netem::delay", netem::delay),
    needing(Needs::Netem, "netem::reordering", netem::reordering),
    scenario("names::owners", names::workloads::owners).on_one_kernel(),
    scenario("names::late_pod", names::workloads::late_pod).on_one_kernel(),
    scenario("names::static_pod", names::workloads::static_pod).on_one_kernel(),
    scenario("names::reused", names::reuse::within_seconds).on_one_kernel(),
    scenario("names::completed_job", names::reuse::completed_job).on_one_kernel(),
    scenario("names::reused_often", names::reuse::many_times).on_one_kernel(),
    scenario("names::as_kubelets_do", names::handover::as_kubelets_do).on_one_kernel(),
    scenario("names::host_network", names::host::network).on_one_kernel(),
    needing(Needs::Alone, "names::peer_nodes", names::peer_nodes::lossy).on_one_kernel(),
    scenario("names::service", names::services::one_backend).on_one_kernel(),
    scenario("names::service_moves", names::services::leads_elsewhere).on_one_kernel(),
    scenario("names::dnat", dnat::rewritten).on_outermost_kernels(),
    scenario("names::dnat_two_workloads", dnat::of_two).on_one_kernel(),
    scenario("names::dnat_known_endpoints", dnat::known).on_one_kernel(),
    scenario("turn::behind_a_service", dnat::waiting).on_one_kernel(),
    scenario("names::unreachable", names::unreachable::for_a_while).on_one_kernel(),
    scenario("names::unreachable_too_long", names::unreachable::too_long).on_one_kernel(),
    scenario("names::watches_end", names::unreachable::watches_end).on_one_kernel(),
    scenario("names::throttled", names::faults::throttled).on_one_kernel(),
    scenario("names::failing", names::faults::failing).on_one_kernel(),
    scenario("names::cut_lists", names::faults::cut_lists).on_one_kernel(),
    scenario("names::slow", names::faults::slow).on_one_kernel(),
    scenario("names::malformed_list", names::malformed::in_a_list).on_one_kernel(),
    scenario("names::malformed_event", names::malformed::in_an_event).on_one_kernel(),
    scenario("names::token", names::rights::token_rotates).on_one_kernel(),
    scenario("names::refused_at_start", names::rights::refused_while_it_starts).on_one_kernel(),
    scenario("names::forbidden", names::rights::forbidden_kind).on_one_kernel(),
    scenario("names::events", names::events::on_pods).on_one_kernel(),
    scenario("names::huge", names::size::huge).on_one_kernel(),
    scenario("names::older_server", names::size::older_server).on_one_kernel(),
    scenario("names::node_only", names::size::node_only).on_one_kernel(),
    scenario("names::kubelet", names::other::kubelet).on_one_kernel(),
    scenario("names::file", names::other::file).on_one_kernel(),
];

/// `netcause-lab run`, with the options of a test binary.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let args = agent::take_record_to(args)?;
    let mut arguments = Arguments::from_iter(std::iter::once("netcause-lab run".to_owned()).chain(args));
    arguments.test_threads.get_or_insert(4);
    if in_vm() {
        // The console looks like a terminal to the lab, but its output is read from a file.
        arguments.color.get_or_insert(ColorSetting::Never);
    }
    let trials = if arguments.list { trials(|_| None) } else { prepare()? };
    let conclusion = libtest_mimic::run(&arguments, trials);
    report_slowest();
    agent::stop_shared()?;
    Ok(conclusion.exit_code())
}

/// How long each scenario took that has run.
static TIMES: Mutex<Vec<(Duration, &str)>> = Mutex::new(Vec::new());

/// Prints which scenarios took longest: four run at a time, and on the machine or in the VM all share the processors.
fn report_slowest() {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable_by(|one, other| other.cmp(one));
    let all: Duration = times.iter().map(|(time, _)| *time).sum();
    let slowest: Vec<_> =
        times.iter().take(20).map(|(time, name)| format!("{name} {:.0} s", time.as_secs_f64())).collect();
    println!("slowest of {:.0} s in all: {}", all.as_secs_f64(), slowest.join(", "));
}

fn prepare() -> Result<Vec<Trial>> {
    machine()?;
    cgroup::sweep_stale()?;
    lab::loopback()?;
    let no_netem = (!faults::has_netem()).then_some("no netem here");
    let no_mptcp =
        (!std::path::Path::new("/proc/sys/net/mptcp/enabled").exists()).then_some("no MPTCP in this kernel");
    let no_prometheus = (!faults::has_program("prometheus", "--version")
        || !faults::has_program("promtool", "--version"))
    .then_some("no prometheus and promtool here");
    let no_tap = File::open("/dev/net/tun").is_err().then_some("no /dev/net/tun here");
    let no_unshare = (!agent::can_have_own_pids()).then_some("no unshare here");
    let dns = [("unbound", "-V"), ("dig", "-v"), ("dnsperf", "-h")];
    let no_dns = (!dns.iter().all(|(program, about)| faults::has_program(program, about)))
        .then_some("no unbound, dig and dnsperf here");
    let no_curl = (!faults::has_program("curl", "--version")).then_some("no curl here");
    let no_envoy = (!faults::has_program("envoy", "--version")).then_some("no envoy here");
    Ok(trials(|needs| {
        match needs {
            Needs::Nothing | Needs::Alone => None,
            Needs::OwnMachine => (!in_vm()).then_some("changes what the whole machine shares: runs in VMs"),
            Needs::Netem => no_netem,
            Needs::Mptcp => no_mptcp,
            Needs::Curl => no_curl,
            Needs::Prometheus => no_prometheus,
            Needs::Dns | Needs::DnsAlone => no_dns,
            Needs::Dashboard => no_prometheus.or(no_dns),
            Needs::Tap => no_tap,
            Needs::Unshare => no_unshare,
            Needs::Packages => return package::lacking(),
            Needs::Envoy => no_envoy,
            Needs::EnvoyAndPrometheus => no_envoy.or(no_prometheus),
            Needs::Programs(programs) => {
                let lacks = |(program, about): &&(&str, &str)| !faults::has_program(program, about);
                return programs.iter().find(lacks).map(|(program, _)| format!("no {program} here"));
            }
        }
        .map(str::to_owned)
    }))
}

fn trials(lacking: impl Fn(Needs) -> Option<String>) -> Vec<Trial> {
    let trial = |scenario: &'static Scenario| {
        let trial = Trial::test(scenario.name, || {
            let began = Instant::now();
            let outcome = attempt(scenario, &scenario.name.replace("::", "-"));
            TIMES.lock().unwrap_or_else(PoisonError::into_inner).push((began.elapsed(), scenario.name));
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        });
        match scenario.is_elsewhere().map(str::to_owned).or_else(|| lacking(scenario.needs)) {
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
            None => trial,
        }
    };
    // Those that run alone come last: one that waits for its turn would keep a place from others.
    let (alone, beside): (Vec<_>, Vec<_>) = SCENARIOS.iter().partition(|scenario| scenario.needs.is_alone());
    beside.into_iter().chain(alone).map(trial).collect()
}

/// Runs a scenario; one that fails beside others runs once more alone, in pods of another name, and the first failure
/// is shown. On a loaded, emulated machine the kernel now and then does what a scenario did not ask for (a timer that
/// fires early, a run that is skipped); a fault of the agent fails alone as well.
fn attempt(scenario: &Scenario, name: &str) -> Result<()> {
    let Err(first) = with_turn(scenario.needs, || (scenario.run)(name)) else { return Ok(()) };
    println!("{} failed beside others and is tried alone: {first:#}", scenario.name);
    with_turn(Needs::Alone, || (scenario.run)(&format!("{name}-alone")))
}

/// Runs a scenario beside others, or alone, as it needs: over all labs of this machine.
fn with_turn(needs: Needs, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let path = std::env::temp_dir().join("netcause-lab.lock");
    let turn = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    if needs.is_alone() { turn.lock() } else { turn.lock_shared() }.context("waiting for a turn")?;
    // The turn ends with the file: `turn` lives until the scenario has ended.
    run()
}
