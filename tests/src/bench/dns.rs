//! DNS under load: dnsperf, and a DNS server that people use.

mod counts;
mod dnsperf;
mod server;
mod throughput;

pub(super) use counts::Counting;
pub(super) use throughput::Throughput;

const PORT: u16 = 53;
