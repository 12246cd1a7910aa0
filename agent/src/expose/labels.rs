//! Label values of what the kernel side counts by index.

use netcause_common::dns::{QueryType, ResponseCode};
use netcause_common::flow::{ConnectFailure, LimitedBy, ResetDirection, RetransmitKind};

/// The label value of a failure.
pub const fn reason(reason: ConnectFailure) -> &'static str {
    match reason {
        ConnectFailure::Refused => "refused",
        ConnectFailure::TimedOut => "timed_out",
        ConnectFailure::Reset => "reset",
        ConnectFailure::Unreachable => "unreachable",
        ConnectFailure::NoLocalPort => "no_local_port",
        ConnectFailure::Denied => "denied",
        ConnectFailure::Aborted => "aborted",
        ConnectFailure::Other => "other",
    }
}

/// The label value of a kind of retransmit.
pub const fn kind(kind: RetransmitKind) -> &'static str {
    match kind {
        RetransmitKind::Fast => "fast",
        RetransmitKind::Timeout => "timeout",
        RetransmitKind::SlowStart => "slow_start",
        RetransmitKind::TailLossProbe => "tail_loss_probe",
        RetransmitKind::Syn => "syn",
        RetransmitKind::SynAck => "synack",
        RetransmitKind::Other => "other",
    }
}

/// The label value of a reset's direction.
pub const fn direction(direction: ResetDirection) -> &'static str {
    match direction {
        ResetDirection::Sent => "sent",
        ResetDirection::Received => "received",
    }
}

/// The label value of a type of query, as the standard writes it.
pub(super) const fn query_type(kind: QueryType) -> &'static str {
    match kind {
        QueryType::A => "A",
        QueryType::Aaaa => "AAAA",
        QueryType::Cname => "CNAME",
        QueryType::Https => "HTTPS",
        QueryType::Mx => "MX",
        QueryType::Ns => "NS",
        QueryType::Ptr => "PTR",
        QueryType::Soa => "SOA",
        QueryType::Srv => "SRV",
        QueryType::Txt => "TXT",
        QueryType::Other => "other",
    }
}

/// The label value of a response code, as the standard writes it.
pub(super) const fn response_code(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NxDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::Other => "other",
    }
}

/// The label value of what held a sender back.
pub(super) const fn limited_by(by: LimitedBy) -> &'static str {
    match by {
        LimitedBy::Network => "network",
        LimitedBy::ReceiveWindow => "receive_window",
        LimitedBy::SendBuffer => "send_buffer",
    }
}

/// The label values of every variant, in index order.
macro_rules! names {
    ($variants:expr, $name:path) => {{
        const NAMES: [&str; $variants.len()] = {
            let mut names = [""; $variants.len()];
            let mut index = 0;
            while index < names.len() {
                names[index] = $name($variants[index]);
                index += 1;
            }
            names
        };
        &NAMES
    }};
}

pub(super) const REASONS: &[&str] = names!(ConnectFailure::ALL, reason);
pub(super) const KINDS: &[&str] = names!(RetransmitKind::ALL, kind);
pub(super) const DIRECTIONS: &[&str] = names!(ResetDirection::ALL, direction);
pub(super) const QUERY_TYPES: &[&str] = names!(QueryType::ALL, query_type);
pub(super) const RESPONSE_CODES: &[&str] = names!(ResponseCode::ALL, response_code);
pub(super) const LIMITS: &[&str] = names!(LimitedBy::ALL, limited_by);
