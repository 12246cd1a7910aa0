//! The maps of flows: one per protocol, each with an overflow map.
//!
//! Between Linux 5.11 and 6.5 an update of a hash map fails with EBUSY when the program interrupted another update of the
//! same bucket on that CPU. Such updates go to the overflow map, so a flow may have a part in each.

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, MapData, MapError};
use aya::{Ebpf, Pod};
use netcause_common::dns::{DnsCounters, PROTOCOL_DNS};
use netcause_common::endpoint::Address;
use netcause_common::flow::{
    FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_SERVER, TcpCounters, Tenant, UdpCounters,
};
use netcause_common::limits::{self, UNVERIFIED_FLOWS};
use netcause_core::aggregate::delta::Deltas;
use netcause_core::aggregate::totals::{Counters, Totals};

use super::maps::{Fullness, take};
use super::options::Options;

/// Number of flows by local end.
type Tally = std::collections::HashMap<Tenant, u64>;

/// A protocol whose flows are counted: its counters and its maps.
pub(super) trait Protocol {
    /// The counters of a flow: the map's value type.
    type Counters: Counters + Pod;
    /// The value of [`FlowKey::protocol`].
    const NUMBER: u8;
    /// The names of the map and of its overflow map in the eBPF object.
    const MAPS: [&str; 2];
    /// The names of both in metrics and settings.
    const NAMES: [&str; 2];
    /// Capacity of the overflow map in entries.
    const OVERFLOW: u32;

    /// Capacity of the map in entries.
    fn limit(options: &Options) -> u32;

    /// Whether the flow's peer has not completed a handshake, so that its address may be forged.
    fn is_unverified(_key: &FlowKey, _counters: &Self::Counters) -> bool {
        false
    }
}

/// TCP.
pub(super) enum Tcp {}
/// UDP.
pub(super) enum Udp {}
/// DNS, by client and server.
pub(super) enum Dns {}

impl Protocol for Tcp {
    type Counters = TcpCounters;
    const NUMBER: u8 = PROTOCOL_TCP;
    const MAPS: [&str; 2] = ["TCP_FLOWS", "TCP_FLOWS_SPARE"];
    const NAMES: [&str; 2] = ["tcp_flows", "tcp_flows_overflow"];
    const OVERFLOW: u32 = limits::SPARE_FLOWS;

    fn limit(options: &Options) -> u32 {
        options.max_flows
    }

    fn is_unverified(key: &FlowKey, counters: &TcpCounters) -> bool {
        key.role == ROLE_SERVER && key.remote != Address::UNKNOWN && !counters.has_connections()
    }
}

impl Protocol for Udp {
    type Counters = UdpCounters;
    const NUMBER: u8 = PROTOCOL_UDP;
    const MAPS: [&str; 2] = ["UDP_FLOWS", "UDP_FLOWS_SPARE"];
    const NAMES: [&str; 2] = ["udp_flows", "udp_flows_overflow"];
    const OVERFLOW: u32 = limits::SPARE_UDP_FLOWS;

    fn limit(options: &Options) -> u32 {
        options.max_udp_flows
    }
}

impl Protocol for Dns {
    type Counters = DnsCounters;
    const NUMBER: u8 = PROTOCOL_DNS;
    const MAPS: [&str; 2] = ["DNS_FLOWS", "DNS_FLOWS_SPARE"];
    const NAMES: [&str; 2] = ["dns_flows", "dns_flows_overflow"];
    const OVERFLOW: u32 = limits::SPARE_DNS_FLOWS;

    fn limit(options: &Options) -> u32 {
        options.max_dns_flows
    }
}

/// The maps of all protocols.
pub(super) struct Flows {
    tcp: Table<Tcp>,
    udp: Table<Udp>,
    dns: Table<Dns>,
    unverified_room: Array<MapData, i64>,
    tenants: HashMap<MapData, Tenant, u64>,
}

impl Flows {
    pub(super) fn take(ebpf: &mut Ebpf, options: &Options) -> Result<Self> {
        Ok(Self {
            tcp: Table::take(ebpf, options)?,
            udp: Table::take(ebpf, options)?,
            dns: Table::take(ebpf, options)?,
            unverified_room: take(ebpf, "UNVERIFIED_ROOM")?.try_into()?,
            tenants: take(ebpf, "TENANTS")?.try_into()?,
        })
    }

    /// Calls `to` with each flow's difference since the last reading; returns the number of entries in each map.
    pub(super) fn read(&mut self, mut to: impl FnMut(&FlowKey, &Totals)) -> Result<Vec<Fullness>> {
        let mut tenants = Tally::default();
        let mut to = |key: &FlowKey, delta: Option<&Totals>| {
            *tenants.entry(Tenant::of(key)).or_default() += 1;
            if let Some(delta) = delta {
                to(key, delta);
            }
        };
        let fullness = [self.tcp.read(&mut to)?, self.udp.read(&mut to)?, self.dns.read(&mut to)?].concat();
        self.count_tenants(tenants)?;
        // Counted anew each time, so that nothing has to be given back when a flow is removed or its handshake completed.
        let room = UNVERIFIED_FLOWS.saturating_sub(self.tcp.unverified);
        self.unverified_room.set(0, room, 0).context("cannot set how many unverified flows may come")?;
        Ok(fullness)
    }

    /// Sets how many flows each local end has: programs count what they insert, but not what is removed.
    fn count_tenants(&mut self, mut tenants: Tally) -> Result<()> {
        let known: Vec<(Tenant, u64)> = self.tenants.iter().filter_map(Result::ok).collect();
        for (tenant, counted) in known {
            match tenants.remove(&tenant) {
                Some(flows) if flows == counted => {}
                Some(flows) => self
                    .tenants
                    .insert(tenant, flows, 0)
                    .context("cannot set how many flows a workload has")?,
                // Inserted again with its next flow.
                None => drop(self.tenants.remove(&tenant)),
            }
        }
        Ok(())
    }

    /// Removes a flow unless its counters changed since the last reading; true if it is removed.
    pub(super) fn remove(&mut self, key: &FlowKey) -> bool {
        match key.protocol {
            Udp::NUMBER => self.udp.remove(key),
            Dns::NUMBER => self.dns.remove(key),
            _ => self.tcp.remove(key),
        }
    }

    /// Whether a DNS flow has an entry.
    pub(super) fn has_dns(&self, key: &FlowKey) -> bool {
        self.dns.parts.iter().any(|part| part.map.get(key, 0).is_ok())
    }
}

/// One protocol's map and its overflow map.
struct Table<P: Protocol> {
    parts: [Part<P::Counters>; 2],
    limits: [u64; 2],
    /// Unverified flows at the last reading.
    unverified: i64,
}

struct Part<C> {
    map: HashMap<MapData, FlowKey, C>,
    deltas: Deltas<C>,
}

impl<P: Protocol> Table<P> {
    fn take(ebpf: &mut Ebpf, options: &Options) -> Result<Self> {
        let mut part =
            |name: &str| anyhow::Ok(Part { map: take(ebpf, name)?.try_into()?, deltas: Deltas::default() });
        let [main, overflow] = P::MAPS;
        Ok(Self {
            parts: [part(main)?, part(overflow)?],
            limits: [P::limit(options).into(), P::OVERFLOW.into()],
            unverified: 0,
        })
    }

    fn read(&mut self, to: &mut impl FnMut(&FlowKey, Option<&Totals>)) -> Result<[Fullness; 2]> {
        let mut entries = [0; 2];
        self.unverified = 0;
        for (part, entries) in self.parts.iter_mut().zip(&mut entries) {
            let Part { map, deltas } = part;
            for entry in map.iter() {
                match entry {
                    Ok((key, counters)) => {
                        *entries += 1;
                        self.unverified += i64::from(P::is_unverified(&key, &counters));
                        to(&key, deltas.update(&key, &counters).as_ref());
                    }
                    // Removed meanwhile.
                    Err(MapError::KeyNotFound) => {}
                    Err(error) => {
                        return Err(error).with_context(|| format!("cannot read the map {}", P::MAPS[0]));
                    }
                }
            }
        }
        let fullness =
            |part: usize| Fullness { map: P::NAMES[part], entries: entries[part], limit: self.limits[part] };
        Ok([fullness(0), fullness(1)])
    }

    /// Comparison and removal are two system calls: a flow that counts between them loses that count. Only flows that were
    /// idle for minutes are removed.
    fn remove(&mut self, key: &FlowKey) -> bool {
        let [main, overflow] = &mut self.parts;
        // A flow with entries in both maps is kept; there are few.
        if overflow.map.get(key, 0).is_ok() {
            return false;
        }
        match main.map.get(key, 0) {
            Ok(counters) if !main.deltas.is_current(key, &counters) => return false,
            Ok(_) if main.map.remove(key).is_err() => return false,
            Ok(_) | Err(MapError::KeyNotFound) => {}
            Err(_) => return false,
        }
        main.deltas.forget(key);
        true
    }
}
