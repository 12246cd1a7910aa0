//! The causes: what may be wrong, on which side, and who acts.

use std::str::FromStr;

use netcause_common::labelled_enum;
use serde::{Deserialize, Serialize};

use super::state::by_label;

labelled_enum! {
    /// What is wrong: the label `cause`.
    pub enum Cause: u8 {
        /// Segments are lost on the way.
        PathLoss = 0, "path_loss";
        /// Acknowledgements are lost on the way back.
        AckLoss = 1, "ack_loss";
        /// Acknowledgements come later than the retransmission timeout.
        SpuriousTimeout = 2, "spurious_timeout";
        /// Segments arrive in another order.
        Reordering = 3, "reordering";
        /// Nothing comes back any more.
        DeadPath = 4, "dead_path";
        /// Packets above some size vanish, and nothing says so.
        MtuBlackHole = 5, "mtu_black_hole";
        /// Packets wait in a deep queue on the way.
        Bufferbloat = 6, "bufferbloat";
        /// A queue of this node drops.
        ShaperDrop = 7, "shaper_drop";
        /// A CPU does not keep up with received packets.
        SoftirqOverload = 8, "softirq_overload";
        /// A server does not accept connections fast enough, and some are dropped.
        AcceptQueueOverflow = 9, "accept_queue_overflow";
        /// More handshakes are begun than the queue for them holds.
        SynFlood = 10, "syn_flood";
        /// Connections wait to be accepted.
        SlowAccept = 11, "slow_accept";
        /// Nobody listens there.
        ConnectionRefused = 12, "connection_refused";
        /// A rule refuses connections.
        PolicyReject = 13, "policy_reject";
        /// A rule drops packets without a word.
        PolicyDrop = 14, "policy_drop";
        /// Connection tracking has no room for new connections.
        ConntrackFull = 15, "conntrack_full";
        /// Two queries of one socket race for one entry of connection tracking.
        DnsConntrackRace = 16, "dns_conntrack_race";
        /// A NAT or firewall has forgotten connections that were idle.
        NatIdleTimeout = 17, "nat_idle_timeout";
        /// The peer is gone and has not said so.
        HalfOpenPeer = 18, "half_open_peer";
        /// The peer's connections were reset together.
        PeerCrash = 19, "peer_crash";
        /// An application resets connections.
        ApplicationAbort = 20, "application_abort";
        /// An application does not read what has come.
        ReceiverStalled = 21, "receiver_stalled";
        /// A receiver has no memory for what has come.
        ReceiverMemoryPressure = 22, "receiver_memory_pressure";
        /// A client has no free local port.
        LocalPortsExhausted = 23, "local_ports_exhausted";
        /// An old connection's port is used again too soon.
        TimeWaitReuse = 24, "time_wait_reuse";
        /// Packets come in where their answers would not leave.
        AsymmetricRoute = 25, "asymmetric_route";
        /// Two hosts have one address.
        DuplicateAddress = 26, "duplicate_address";
        /// The table of neighbours is full.
        NeighbourTableFull = 27, "neighbour_table_full";
        /// There is no way to the destination.
        NoRoute = 28, "no_route";
        /// Packets arrive damaged.
        PacketCorruption = 29, "packet_corruption";
        /// A DNS server answers slowly.
        DnsServerSlow = 30, "dns_server_slow";
        /// A DNS server does not answer.
        DnsServerDown = 31, "dns_server_down";
        /// A DNS server answers that it failed, or refuses.
        DnsFailures = 32, "dns_failures";
        /// Search domains multiply lookups.
        DnsSearchAmplification = 33, "dns_search_amplification";
        /// Long DNS answers need TCP, and TCP to the server does not work.
        DnsTcpFallbackBlocked = 34, "dns_tcp_fallback_blocked";
        /// A server's application takes long to answer. The network is fine.
        SlowServer = 35, "slow_server";
        /// A client's application reads late what a server has sent. The network is fine.
        SlowClient = 36, "slow_client";
        /// A DNS server serves, but not this client: queries or answers vanish on the way, or are rejected.
        DnsServerUnreachable = 37, "dns_server_unreachable";
        /// A sidecar does not take, pass on or answer what its application sends or gets.
        SidecarFault = 38, "sidecar_fault";
        /// An application waits for its sidecar because what is behind it does not answer.
        UpstreamOfSidecar = 39, "upstream_of_sidecar";
        /// A transfer fills the path that it takes. No fault: what else uses the path waits behind it.
        BottleneckFull = 40, "bottleneck_full";
    }
}

labelled_enum! {
    /// Where it is wrong: the label `side`.
    pub enum Side: u8 {
        /// Between the nodes.
        Path = 0, "path";
        /// This node.
        Node = 1, "node";
        /// The end that accepted.
        Server = 2, "server";
        /// The end that connected.
        Client = 3, "client";
        /// A rule.
        Policy = 4, "policy";
        /// A DNS server.
        Dns = 5, "dns";
    }
}

labelled_enum! {
    /// Who acts: the label `owner`.
    pub enum Owner: u8 {
        /// Those who run the network.
        Network = 0, "network";
        /// Those who run the node.
        Node = 1, "node";
        /// Those who run the cluster: policies, services.
        Platform = 2, "platform";
        /// The client's developers.
        Client = 3, "client";
        /// The server's developers.
        Server = 4, "server";
        /// Those who run DNS.
        Dns = 5, "dns";
    }
}

labelled_enum! {
    /// How sure the agent is: the label `confidence`.
    pub enum Confidence: u8 {
        /// Right more often than not.
        Low = 0, "low";
        /// The nearest other cause cannot be excluded.
        Medium = 1, "medium";
        /// Neighbouring causes are excluded by evidence.
        High = 2, "high";
    }
}

by_label!(Cause, Side, Owner, Confidence);

impl Cause {
    /// Where it is wrong, unless evidence says more.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::PathLoss
            | Self::AckLoss
            | Self::SpuriousTimeout
            | Self::Reordering
            | Self::DeadPath
            | Self::MtuBlackHole
            | Self::Bufferbloat
            | Self::NatIdleTimeout
            | Self::AsymmetricRoute
            | Self::DuplicateAddress
            | Self::DnsServerUnreachable
            | Self::BottleneckFull
            | Self::PacketCorruption => Side::Path,
            Self::ShaperDrop
            | Self::SoftirqOverload
            | Self::ConntrackFull
            | Self::DnsConntrackRace
            | Self::NeighbourTableFull
            | Self::NoRoute => Side::Node,
            Self::AcceptQueueOverflow
            | Self::SynFlood
            | Self::SlowAccept
            | Self::ConnectionRefused
            | Self::HalfOpenPeer
            | Self::PeerCrash
            | Self::ApplicationAbort
            | Self::ReceiverStalled
            | Self::ReceiverMemoryPressure
            | Self::TimeWaitReuse
            | Self::SlowServer
            | Self::UpstreamOfSidecar => Side::Server,
            Self::PolicyReject | Self::PolicyDrop | Self::DnsTcpFallbackBlocked => Side::Policy,
            Self::LocalPortsExhausted
            | Self::DnsSearchAmplification
            | Self::SlowClient
            | Self::SidecarFault => Side::Client,
            Self::DnsServerSlow | Self::DnsServerDown | Self::DnsFailures => Side::Dns,
        }
    }
}

/// Causes that a subject has one of at a time, and that are judged or not: the setting `findings`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Why segments are sent again or late.
    Loss,
    /// Why connections do not come to be.
    Connect,
    /// What applications do.
    Application,
    /// What DNS servers do.
    Dns,
    /// What the node or a listening port has.
    Place,
}

impl Family {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("loss", Self::Loss),
        ("connect", Self::Connect),
        ("application", Self::Application),
        ("dns", Self::Dns),
        ("place", Self::Place),
    ];
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let family = Self::ALL.into_iter().find(|(name, _)| *name == text);
        family.map(|(_, family)| family).ok_or_else(|| format!("there is no family of causes {text}"))
    }
}

impl Cause {
    /// Its family: a cause that takes the place of another one of it, for one subject, ends that.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::PathLoss
            | Self::AckLoss
            | Self::SpuriousTimeout
            | Self::Reordering
            | Self::DeadPath
            | Self::MtuBlackHole
            | Self::Bufferbloat
            | Self::ShaperDrop
            | Self::PolicyDrop
            | Self::NatIdleTimeout
            | Self::BottleneckFull
            | Self::AsymmetricRoute => Family::Loss,
            Self::ConnectionRefused | Self::PolicyReject | Self::LocalPortsExhausted | Self::NoRoute => {
                Family::Connect
            }
            Self::HalfOpenPeer
            | Self::PeerCrash
            | Self::ApplicationAbort
            | Self::ReceiverStalled
            | Self::SlowServer
            | Self::SlowClient
            | Self::SidecarFault
            | Self::UpstreamOfSidecar => Family::Application,
            Self::DnsServerSlow
            | Self::DnsServerDown
            | Self::DnsServerUnreachable
            | Self::DnsFailures
            | Self::DnsSearchAmplification
            | Self::DnsTcpFallbackBlocked
            | Self::DnsConntrackRace => Family::Dns,
            Self::SoftirqOverload
            | Self::AcceptQueueOverflow
            | Self::SynFlood
            | Self::SlowAccept
            | Self::ConntrackFull
            | Self::ReceiverMemoryPressure
            | Self::TimeWaitReuse
            | Self::DuplicateAddress
            | Self::NeighbourTableFull
            | Self::PacketCorruption => Family::Place,
        }
    }
}

impl Side {
    /// Who acts as a rule.
    #[must_use]
    pub const fn owner(self) -> Owner {
        match self {
            Self::Path => Owner::Network,
            Self::Node => Owner::Node,
            Self::Server => Owner::Server,
            Self::Client => Owner::Client,
            Self::Policy => Owner::Platform,
            Self::Dns => Owner::Dns,
        }
    }
}
