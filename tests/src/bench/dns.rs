//! DNS under load: dnsperf against dnsmasq.

mod counts;
mod dnsperf;
mod server;
mod throughput;

pub(super) use counts::Counting;
pub(super) use throughput::Throughput;

const PORT: u16 = 53;
