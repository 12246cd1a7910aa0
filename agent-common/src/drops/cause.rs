//! Reasons of drops in a few groups, for counters that every flow has.

use super::DropReason;
use crate::labelled_enum;

labelled_enum! {
    /// What kind of fault a [`DropReason`] is.
    pub enum DropCause: u8 {
        /// A rule or a program: netfilter, TC filters, BPF at cgroups, security modules, IPsec policies.
        Policy = 0, "policy";
        /// A queue: of a queueing discipline, of a CPU, of a virtual device.
        Queue = 1, "queue";
        /// The next hop does not answer, or the neighbour table is full.
        NextHop = 2, "next_hop";
        /// Routes and addresses: no route, the reverse path filter, addresses that cannot be.
        Route = 3, "route";
        /// The receiving socket: its buffer, its backlog, its accept queue.
        Receiver = 4, "receiver";
        /// No memory.
        Memory = 5, "memory";
        /// The packet itself: checksums, lengths, headers, timestamps, signatures, tunnels.
        Packet = 6, "packet";
        /// A reason that does not say.
        Other = 7, "other";
    }
}

impl DropReason {
    /// The kind of fault.
    #[must_use]
    pub const fn cause(self) -> DropCause {
        use DropReason as R;
        match self {
            R::Other | R::Subsystem | R::RecursionLimit => DropCause::Other,
            R::NetfilterDrop
            | R::SocketFilter
            | R::SecurityHook
            | R::XfrmPolicy
            | R::BpfCgroupEgress
            | R::TcIngress
            | R::TcEgress
            | R::TcCookieError
            | R::TcChainNotfound
            | R::TcReclassifyLoop
            | R::Xdp => DropCause::Policy,
            R::QdiscDrop
            | R::QdiscBurstDrop
            | R::QdiscOverlimit
            | R::QdiscCongested
            | R::CakeFlood
            | R::FqBandLimit
            | R::FqHorizonLimit
            | R::FqFlowLimit
            | R::Dualpi2StepDrop
            | R::CpuBacklog
            | R::FullRing => DropCause::Queue,
            R::NeighCreatefail | R::NeighFailed | R::NeighQueuefull | R::NeighDead | R::NeighHhFillfail => {
                DropCause::NextHop
            }
            R::IpRpfilter
            | R::IpLocalSource
            | R::IpInvalidSource
            | R::IpInvalidDest
            | R::IpLocalnet
            | R::IpInaddrerrors
            | R::IpInnoroutes
            | R::IpOutnoroutes
            | R::MacInvalidSource => DropCause::Route,
            R::SocketRcvbuff
            | R::SocketBacklog
            | R::TcpListenOverflow
            | R::TcpOfoQueuePrune
            | R::TcpOfoDrop => DropCause::Receiver,
            R::ProtoMem | R::Nomem => DropCause::Memory,
            _ => DropCause::Packet,
        }
    }

    /// True where the kernel may tell TCP that a segment of this host was not sent, in which case its first transmission is still to
    /// come (`tcp_write_xmit`, net/ipv4/tcp_output.c).
    #[must_use]
    pub const fn refuses_to_send(self) -> bool {
        matches!(
            self,
            Self::NetfilterDrop
                | Self::BpfCgroupEgress
                | Self::SecurityHook
                | Self::XfrmPolicy
                | Self::Nomem
                | Self::PktTooBig
                | Self::SkbGsoSeg
                | Self::NeighCreatefail
                | Self::NeighHhFillfail
                | Self::IpOutnoroutes
                | Self::RecursionLimit
                | Self::TcEgress
                | Self::TcCookieError
                | Self::TcChainNotfound
                | Self::TcReclassifyLoop
                | Self::QdiscDrop
                | Self::QdiscBurstDrop
                | Self::QdiscOverlimit
                | Self::QdiscCongested
                | Self::CakeFlood
                | Self::FqBandLimit
                | Self::FqHorizonLimit
                | Self::FqFlowLimit
                | Self::Dualpi2StepDrop
                | Self::FullRing
                | Self::Subsystem
                | Self::Other
        )
    }
}

/// [`DropReason::cause`] and [`DropReason::refuses_to_send`] by the number of the reason, for programs.
#[derive(Clone, Copy, Debug)]
pub struct ReasonFacts {
    /// A [`DropCause`].
    pub cause: u8,
    /// 1 where the kernel may tell TCP that the segment was not sent.
    pub refuses_to_send: u8,
}

/// How many reasons have facts: a power of two, so that programs can mask an index.
pub const REASON_SLOTS: usize = 128;

/// The facts of every reason.
pub const REASON_FACTS: [ReasonFacts; REASON_SLOTS] = {
    let mut facts = [ReasonFacts { cause: DropCause::Other as u8, refuses_to_send: 0 }; REASON_SLOTS];
    let mut number = 0;
    while number < DropReason::COUNT {
        let reason = DropReason::ALL[number];
        facts[number] =
            ReasonFacts { cause: reason.cause() as u8, refuses_to_send: reason.refuses_to_send() as u8 };
        number += 1;
    }
    facts
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_cause() {
        let cause = |reason: DropReason| DropCause::LABELS[REASON_FACTS[reason as usize].cause as usize];
        let causes =
            [DropReason::TcEgress, DropReason::QdiscOverlimit, DropReason::TcpCsum, DropReason::Other];
        assert_eq!(causes.map(cause), ["policy", "queue", "packet", "other"]);
    }
}
