//! Packets that the kernel dropped: reasons that mean a fault, and the key of their counters.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::Address;
use crate::labelled_enum;

mod cause;
mod lost;

pub use cause::{DropCause, REASON_FACTS, REASON_SLOTS, ReasonFacts};
pub use lost::{Explained, GROUPS, LostGroup, LostRange, RANGES, tuple};

labelled_enum! {
    /// Why the kernel dropped a packet. The label is the name in the kernel's `enum skb_drop_reason`
    /// (include/net/dropreason-core.h) in lower case and without its prefix.
    ///
    /// Reasons that are missing here mean no fault: what a socket that was closed had left, copies for nobody, broadcasts,
    /// duplicates and other segments that TCP discards as a matter of course, packets for a port without a socket.
    pub enum DropReason: u8 {
        /// A fault by its name, which this version does not know: see [`DropReason::of_kernel`].
        Other = 0, "other";
        /// A reason of openvswitch or of wireless, which have numbers of their own.
        Subsystem = 1, "subsystem";
        /// A filter of the socket or a program at its cgroup dropped it.
        SocketFilter = 2, "socket_filter";
        /// The receive buffer of the socket was full.
        SocketRcvbuff = 3, "socket_rcvbuff";
        /// The backlog of the socket was full.
        SocketBacklog = 4, "socket_backlog";
        /// The memory of the protocol was used up (`net.ipv4.tcp_mem`, `udp_mem`).
        ProtoMem = 5, "proto_mem";
        /// The accept queue of the listening socket was full.
        TcpListenOverflow = 6, "tcp_listen_overflow";
        /// The socket gave up data out of order, for lack of receive buffer.
        TcpOfoQueuePrune = 7, "tcp_ofo_queue_prune";
        /// There was no receive buffer for data out of order.
        TcpOfoDrop = 8, "tcp_ofo_drop";
        /// The timestamp is older than one that was received before (RFC 7323, PAWS).
        TcpRfc7323Paws = 9, "tcp_rfc7323_paws";
        /// The echoed timestamp was never sent.
        TcpRfc7323Tsecr = 10, "tcp_rfc7323_tsecr";
        /// The TTL is below what the socket accepts (`IP_MINTTL`).
        TcpMinttl = 11, "tcp_minttl";
        /// Both an MD5 and an AO signature.
        TcpAuthHdr = 12, "tcp_auth_hdr";
        /// A TCP MD5 signature is missing.
        TcpMd5notfound = 13, "tcp_md5notfound";
        /// A TCP MD5 signature that the socket does not want.
        TcpMd5unexpected = 14, "tcp_md5unexpected";
        /// A TCP MD5 signature is wrong.
        TcpMd5failure = 15, "tcp_md5failure";
        /// A TCP AO signature is missing.
        TcpAonotfound = 16, "tcp_aonotfound";
        /// A TCP AO signature that the socket does not want.
        TcpAounexpected = 17, "tcp_aounexpected";
        /// A TCP AO key is unknown.
        TcpAokeynotfound = 18, "tcp_aokeynotfound";
        /// A TCP AO signature is wrong.
        TcpAofailure = 19, "tcp_aofailure";
        /// The checksum of TCP is wrong.
        TcpCsum = 20, "tcp_csum";
        /// The checksum of UDP is wrong.
        UdpCsum = 21, "udp_csum";
        /// The checksum of ICMP is wrong.
        IcmpCsum = 22, "icmp_csum";
        /// The checksum of the IPv4 header is wrong.
        IpCsum = 23, "ip_csum";
        /// A checksum could not be made or checked.
        SkbCsum = 24, "skb_csum";
        /// The IP header is malformed.
        IpInhdr = 25, "ip_inhdr";
        /// An IPv6 extension header is malformed.
        Ipv6BadExthdr = 26, "ipv6_bad_exthdr";
        /// The packet has too many IPv6 extension headers.
        Ipv6TooManyExthdrs = 27, "ipv6_too_many_exthdrs";
        /// The packet is shorter than its headers say.
        PktTooSmall = 28, "pkt_too_small";
        /// A header is truncated.
        HdrTrunc = 29, "hdr_trunc";
        /// A rule of nftables or iptables, or an IPVS or conntrack limit.
        NetfilterDrop = 30, "netfilter_drop";
        /// The reverse path filter (`rp_filter`).
        IpRpfilter = 31, "ip_rpfilter";
        /// The source is an address of this host.
        IpLocalSource = 32, "ip_local_source";
        /// The source address is not a valid one.
        IpInvalidSource = 33, "ip_invalid_source";
        /// The destination address is not a valid one.
        IpInvalidDest = 34, "ip_invalid_dest";
        /// An address of 127.0.0.0/8 came from outside.
        IpLocalnet = 35, "ip_localnet";
        /// The destination address cannot be delivered or forwarded to.
        IpInaddrerrors = 36, "ip_inaddrerrors";
        /// No route for a received packet.
        IpInnoroutes = 37, "ip_innoroutes";
        /// No route for a sent packet.
        IpOutnoroutes = 38, "ip_outnoroutes";
        /// The ECN bits of the inner and the outer header contradict each other.
        IpTunnelEcn = 39, "ip_tunnel_ecn";
        /// The policy of IPsec.
        XfrmPolicy = 40, "xfrm_policy";
        /// A security module.
        SecurityHook = 41, "security_hook";
        /// A program at the sender's cgroup.
        BpfCgroupEgress = 42, "bpf_cgroup_egress";
        /// No entry for the next hop could be made: the neighbour table is full.
        NeighCreatefail = 43, "neigh_createfail";
        /// The next hop does not answer ARP or neighbour discovery.
        NeighFailed = 44, "neigh_failed";
        /// Too many packets waited for the next hop's address.
        NeighQueuefull = 45, "neigh_queuefull";
        /// The entry of the next hop was removed.
        NeighDead = 46, "neigh_dead";
        /// The link header for the next hop could not be made.
        NeighHhFillfail = 47, "neigh_hh_fillfail";
        /// A filter or program of TC, on what a device received.
        TcIngress = 48, "tc_ingress";
        /// A filter or program of TC, on what a device sends.
        TcEgress = 49, "tc_egress";
        /// A TC action could not store its state.
        TcCookieError = 50, "tc_cookie_error";
        /// A TC chain does not exist.
        TcChainNotfound = 51, "tc_chain_notfound";
        /// TC rules go around in a circle.
        TcReclassifyLoop = 52, "tc_reclassify_loop";
        /// A redirection by an XDP program in generic mode failed. (What such a program drops has no reason in the kernel.)
        Xdp = 53, "xdp";
        /// A queueing discipline.
        QdiscDrop = 54, "qdisc_drop";
        /// A burst that exceeded the limit of packets that wait for a queueing discipline.
        QdiscBurstDrop = 55, "qdisc_burst_drop";
        /// The limit of a queueing discipline.
        QdiscOverlimit = 56, "qdisc_overlimit";
        /// Active queue management, as of CoDel.
        QdiscCongested = 57, "qdisc_congested";
        /// CAKE, on a flow that does not respond.
        CakeFlood = 58, "cake_flood";
        /// The limit of a priority band of fq.
        FqBandLimit = 59, "fq_band_limit";
        /// The departure time is beyond the horizon of fq.
        FqHorizonLimit = 60, "fq_horizon_limit";
        /// The limit of a flow of fq.
        FqFlowLimit = 61, "fq_flow_limit";
        /// The step threshold of dualpi2.
        Dualpi2StepDrop = 62, "dualpi2_step_drop";
        /// The backlog of a CPU was full (`net.core.netdev_max_backlog`).
        CpuBacklog = 63, "cpu_backlog";
        /// The ring of a virtual device was full, as of veth with XDP, or of tun.
        FullRing = 64, "full_ring";
        /// No memory.
        Nomem = 65, "nomem";
        /// The packet could not be segmented.
        SkbGsoSeg = 66, "skb_gso_seg";
        /// The packet is larger than the MTU.
        PktTooBig = 67, "pkt_too_big";
        /// Fragments of the packet did not come in time.
        FragReasmTimeout = 68, "frag_reasm_timeout";
        /// Fragments lay too far apart.
        FragTooFar = 69, "frag_too_far";
        /// The VXLAN header is malformed.
        VxlanInvalidHdr = 70, "vxlan_invalid_hdr";
        /// The VXLAN network is unknown here.
        VxlanVniNotFound = 71, "vxlan_vni_not_found";
        /// The link-layer source address is not valid.
        MacInvalidSource = 72, "mac_invalid_source";
        /// A tunnel was not given where to send to.
        TunnelTxinfo = 73, "tunnel_txinfo";
        /// A PSP packet could not be decrypted, or was not encrypted.
        PspInput = 74, "psp_input";
        /// A packet could not be encrypted for PSP.
        PspOutput = 75, "psp_output";
        /// Devices pass packets on in a circle.
        RecursionLimit = 76, "recursion_limit";
    }
}

impl DropReason {
    /// What a reason of the kernel stands for, by its name without `SKB_DROP_REASON_`; `None` where it means no fault.
    ///
    /// A reason that is newer than this list counts as [`Self::Other`] where its name says that it is a fault.
    #[must_use]
    pub fn of_kernel(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().skip(2).find(|reason| reason.label().eq_ignore_ascii_case(name));
        let begins = |beginning: &&str| name.starts_with(beginning);
        let is_fault = || UNKNOWN_BEGINNINGS.iter().any(begins) || name.ends_with("_CSUM");
        known.or_else(|| is_fault().then_some(Self::Other))
    }

    /// What the reasons of a subsystem stand for, which have numbers of their own; by its name in `enum skb_drop_reason_subsys`
    /// (include/net/dropreason.h). What wireless hands to a monitor is no fault.
    #[must_use]
    pub fn of_subsystem(name: &str) -> Option<Self> {
        match name.strip_prefix("SKB_DROP_REASON_SUBSYS_")? {
            "MAC80211_UNUSABLE" | "OPENVSWITCH" => Some(Self::Subsystem),
            "QDISC" => Some(Self::QdiscDrop),
            _ => None,
        }
    }
}

/// Names of future reasons that begin so are faults.
const UNKNOWN_BEGINNINGS: [&str; 6] = ["QDISC_", "NEIGH_", "NETFILTER_", "XFRM_", "NOMEM", "TC_"];

/// Which of the kernel's reasons count, set by the daemon: read-only for the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropReasons {
    /// By the running kernel's number: a [`DropReason`] plus one; 0 where the reason means no fault.
    pub by_number: [u8; Self::NUMBERS],
    /// What all reasons of a subsystem are, by its number.
    pub subsystems: [u8; Self::SUBSYSTEMS],
}

impl DropReasons {
    /// Reasons that are numbered from here on are not looked at; Linux 7.2 has 128.
    pub const NUMBERS: usize = 256;
    /// Subsystems that are numbered from here on are not looked at; Linux 7.2 has 4. A power of two.
    pub const SUBSYSTEMS: usize = 16;
    /// None counts.
    pub const NONE: Self = Self { by_number: [0; Self::NUMBERS], subsystems: [0; Self::SUBSYSTEMS] };
}

labelled_enum! {
    /// What a dropped packet was to the workload that it counts for.
    pub enum DropDirection: u8 {
        /// A socket of the workload sent it.
        Sent = 0, "sent";
        /// It had reached a socket of the workload.
        Received = 1, "received";
        /// It had no socket where it was dropped: the workload is the one that sent it, by the packet's addresses.
        InTransit = 2, "in_transit";
    }
}

/// Key of the counters of dropped packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct DropKey {
    /// The socket's local end, as [`crate::flow::FlowKey::local`]; in transit, the network namespace of the device. 0 only in
    /// [`DropKey::other`].
    pub local: u64,
    /// The sender; zero where a socket of `local` is.
    pub source: Address,
    /// The receiver; zero where a socket of `local` is.
    pub destination: Address,
    /// A [`DropReason`].
    pub reason: u8,
    /// A [`DropDirection`].
    pub direction: u8,
    /// Always zero.
    pub reserved: [u8; 6],
}

impl DropKey {
    /// The entry that counts for all that the full table cannot hold.
    #[inline(always)]
    #[must_use]
    pub const fn other(reason: u8, direction: u8) -> Self {
        let none = Address::EXTERNAL;
        Self { local: 0, source: none, destination: none, reason, direction, reserved: [0; 6] }
    }
}

const _: () = assert!(size_of::<DropKey>() == 48 && DropReason::COUNT < 255);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_recognized_by_name() {
        for (name, reason) in [
            ("NETFILTER_DROP", Some(DropReason::NetfilterDrop)),
            ("TCP_CSUM", Some(DropReason::TcpCsum)),
            ("QDISC_OF_TOMORROW", Some(DropReason::Other)),
            ("SCTP_CSUM", Some(DropReason::Other)),
            ("SUBSYSTEM", None),
            ("OTHER", None),
            ("OTHERHOST", None),
            ("SOCKET_CLOSE", None),
            ("SKB_CONSUMED", None),
            ("NOT_SPECIFIED", None),
            ("NO_SOCKET", None),
            ("TCP_OLD_DATA", None),
            // Old duplicates after the end of a healthy connection.
            ("TCP_RFC7323_TW_PAWS", None),
        ] {
            assert_eq!(DropReason::of_kernel(name), reason, "{name}");
        }
        for (name, reason) in [
            ("SKB_DROP_REASON_SUBSYS_QDISC", Some(DropReason::QdiscDrop)),
            ("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", Some(DropReason::Subsystem)),
            ("SKB_DROP_REASON_SUBSYS_MAC80211_MONITOR", None),
            ("SKB_DROP_REASON_SUBSYS_CORE", None),
            ("QDISC", None),
        ] {
            assert_eq!(DropReason::of_subsystem(name), reason, "{name}");
        }
    }
}
