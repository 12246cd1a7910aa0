//! UDP sockets.

use netcause_common::flow::IcmpError;
use netcause_core::aggregate::totals::Totals;

use super::shared::EDGE_LABELS;
use crate::expose::series::{Table, counter};

pub(super) static TABLE: Table<Totals> = Table {
    labels: &EDGE_LABELS,
    sparse: true,
    metrics: &[
        counter(
            "netcause_udp_sent_bytes",
            "UDP payload bytes sent. Where only one port is ephemeral, the other is the service's; else the end that is \
             spoken to first is the server.",
            |totals, to| to.value(totals.udp.sent_bytes),
        ),
        counter(
            "netcause_udp_received_bytes",
            "UDP payload bytes that arrived at a socket, including those of netcause_udp_receive_drops_total.",
            |totals, to| to.value(totals.udp.received_bytes),
        ),
        counter("netcause_udp_sent_datagrams", "UDP datagrams sent.", |totals, to| {
            to.value(totals.udp.sent_datagrams);
        }),
        counter(
            "netcause_udp_received_datagrams",
            "UDP datagrams that arrived at a socket, including those of netcause_udp_receive_drops_total.",
            |totals, to| to.value(totals.udp.received_datagrams),
        ),
        counter(
            "netcause_udp_receive_drops",
            "UDP datagrams dropped because the receive buffer was full or no memory was left. Older kernels (6.1, not \
             6.12) report neither those of IPv6 nor the sender of those to an unconnected socket, whose client is then \
             unknown.",
            |totals, to| to.value(totals.udp.receive_drops),
        ),
        counter(
            "netcause_udp_icmp_errors",
            "ICMP errors that connected UDP sockets got, by kind: port_unreachable, nobody listens at the port; \
             host_unreachable, the host or its network cannot be reached, or (IPv4) a policy rejects it; prohibited, a policy \
             rejects it; other, as a packet that is too big. The kernel keeps from a socket without IP_RECVERR that a host cannot \
             be reached. DNS has netcause_dns_refused_total instead. Needs Linux 5.14, or \
             a kernel whose functions can be traced.",
            |totals: &Totals, to| to.by(IcmpError::LABELS, &totals.udp.icmp_errors),
        )
        .by("kind"),
    ],
};
