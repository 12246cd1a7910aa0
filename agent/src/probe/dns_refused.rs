//! DNS queries that the network refuses.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = by(
    &[Program {
        name: "dns_refused",
        hook: Hook::Tracepoint { name: "inet_sk_error_report", arguments: &["sock"] },
    }],
    // Before 5.14.
    Some(&by(&[Program { name: "dns_refused_older", hook: Hook::Function("sock_def_error_report") }], None)),
);

const fn by(programs: &'static [Program], older: Option<&'static Probe>) -> Probe {
    Probe {
        id: ProbeId::DnsRefused,
        about: "DNS queries that ICMP reports as refused, apart from abandoned ones; ICMP errors of UDP sockets",
        without: "refused DNS queries count as abandoned, not as timeouts; no ICMP errors of UDP sockets",
        emits: false,
        programs,
        common: &[Group::Socket],
        members: &[
            "sk_protocol",
            "skc_cookie",
            "sk_err",
            "sk_error_queue_newest",
            "sk_error_queue_length",
            "skb_cb",
            "ee_errno",
        ],
        older,
    }
}
