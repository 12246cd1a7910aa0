//! What the view has of DNS, in the form of its JSON.

use std::time::Duration;

use netcause_common::dns::{DnsCounters, ResponseCode};
use netcause_core::enrich::Workload;
use serde::Serialize;

/// DNS events, each with one response, from which all but `servers` is made. Counted since the agent started.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Details {
    /// Events received.
    pub received: u64,
    /// Events that the kernel side dropped because of the rate limit.
    pub rate_limited: u64,
    /// Events that the kernel side dropped because the ring buffer was full.
    pub lost: u64,
}

/// A workload's queries to one server: exact, since the agent started.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerRow {
    /// Its workload, or its address.
    pub server: String,
    /// `null` where several are folded into one.
    pub port: Option<u16>,
    /// Each packet or message.
    pub queries: u64,
    /// Responses with any code.
    pub responses: u64,
    /// Responses with NXDOMAIN.
    pub nxdomain: u64,
    /// Responses with neither NOERROR nor NXDOMAIN.
    pub failures: u64,
    /// Queries without a response in time.
    pub timeouts: u64,
    /// Those of them that ICMP refused.
    pub refused: u64,
    /// Queries whose client did not wait for the response.
    pub abandoned: u64,
    /// Queries with a question that was pending already.
    pub retries: u64,
    /// Responses with the truncation flag.
    pub truncated: u64,
    /// Responses after the timeout.
    pub late: u64,
    /// Mean time from the first query to the response; `null` without a response.
    pub mean_seconds: Option<f64>,
}

impl ServerRow {
    /// From the counters of the edge.
    #[must_use]
    pub fn new(server: &Workload, port: Option<u16>, counters: &DnsCounters) -> Self {
        let responses = |is: fn(ResponseCode) -> bool| {
            let codes = ResponseCode::ALL.into_iter().zip(counters.responses);
            sum(codes.filter(|(code, _)| is(*code)).map(|(_, count)| count))
        };
        let nxdomain = |code| code == ResponseCode::NxDomain;
        let failed = |code| !matches!(code, ResponseCode::NoError | ResponseCode::NxDomain);
        let answers = sum(counters.duration.buckets);
        let mean = || Duration::from_nanos(counters.duration.sum).as_secs_f64() / answers as f64;
        Self {
            server: server.to_string(),
            port,
            queries: sum(counters.queries),
            responses: sum(counters.responses),
            nxdomain: responses(nxdomain),
            failures: responses(failed),
            timeouts: counters.timeouts,
            refused: counters.refused,
            abandoned: counters.abandoned,
            retries: counters.retries,
            truncated: counters.truncated,
            late: counters.late,
            mean_seconds: (answers > 0).then(mean),
        }
    }
}

fn sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}
