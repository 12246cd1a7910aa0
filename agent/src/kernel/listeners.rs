//! Listening sockets: their accept queues, and what the kernel counts of them per network namespace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{HashMap as Map, MapData};
use netcause_common::probe::open_sockets::{AcceptQueue, Holders, ListeningNamespace, QueueKey, UdpHolders};
use netcause_core::aggregate::listeners::{Namespace, NamespaceCounters};

use super::maps::take;

/// How long the discards of a closed listener are shown: longer than any interval between scrapes.
const CLOSED_LISTENER_SHOWN: Duration = Duration::from_mins(10);

/// What a sweep found of listening sockets.
#[derive(Debug, Default)]
pub struct Listening {
    /// The accept queues. Those of closed listeners follow with sweep 0 if they have discarded anything, for ten minutes.
    pub queues: Vec<(QueueKey, AcceptQueue)>,
    /// The counters of their network namespaces; none when they have been read since the sweep.
    pub namespaces: Vec<(Namespace, NamespaceCounters)>,
    /// Who holds UDP sockets that another workload has made.
    pub udp_holders: Vec<(QueueKey, Holders)>,
}

/// The maps of listening sockets.
pub(super) struct Listeners {
    queues: Map<MapData, QueueKey, AcceptQueue>,
    namespaces: Map<MapData, u32, ListeningNamespace>,
    udp_holders: Map<MapData, QueueKey, UdpHolders>,
    /// Since when a port has no listener, and what had been discarded there by then.
    closed: HashMap<QueueKey, (Instant, u64)>,
    /// Number of the last sweep whose namespaces were read.
    read: u64,
    /// Network namespaces with a listener whose counters could not be read then.
    pub unread: u64,
}

impl Listeners {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            queues: take(ebpf, "QUEUES")?.try_into()?,
            namespaces: take(ebpf, "LISTENING_NAMESPACES")?.try_into()?,
            udp_holders: take(ebpf, "UDP_HOLDERS")?.try_into()?,
            closed: HashMap::new(),
            read: 0,
            unread: 0,
        })
    }

    /// What the sweep of this number found.
    pub(super) fn found(&mut self, sweep: u64) -> Result<Listening> {
        let queues = self.queues(sweep)?;
        if sweep == self.read {
            return Ok(Listening { queues, ..Listening::default() });
        }
        self.read = sweep;
        let namespaces = self.namespaces(sweep)?;
        let read: HashSet<u32> = namespaces.iter().map(|(namespace, _)| namespace.inode).collect();
        let open = queues.iter().filter(|(_, queue)| queue.sweep != 0);
        let unread: HashSet<u32> =
            open.map(|(_, queue)| queue.namespace).filter(|namespace| !read.contains(namespace)).collect();
        self.unread = unread.len() as u64;
        Ok(Listening { queues, namespaces, udp_holders: self.udp_holders(sweep)? })
    }

    fn queues(&mut self, sweep: u64) -> Result<Vec<(QueueKey, AcceptQueue)>> {
        let now = Instant::now();
        let (mut queues, mut gone, mut closed) = (Vec::new(), Vec::new(), HashMap::new());
        for entry in self.queues.iter() {
            let (key, queue) = entry.context("cannot read the accept queues")?;
            if queue.sweep == sweep {
                queues.push((key, queue));
                continue;
            }
            let (since, discards) = match self.closed.get(&key) {
                Some(&(since, discards)) if discards == queue.discards => (since, discards),
                _ => (now, queue.discards),
            };
            if discards == 0 || now.duration_since(since) > CLOSED_LISTENER_SHOWN {
                gone.push(key);
            } else {
                closed.insert(key, (since, discards));
                queues.push((key, AcceptQueue { sweep: 0, length: 0, limit: 0, ..queue }));
            }
        }
        self.closed = closed;
        for key in gone {
            // The kernel side may have removed it already.
            let _ = self.queues.remove(&key);
        }
        Ok(queues)
    }

    fn udp_holders(&mut self, sweep: u64) -> Result<Vec<(QueueKey, Holders)>> {
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for entry in self.udp_holders.iter() {
            let (key, holders) = entry.context("cannot read who holds UDP sockets")?;
            found.extend(holders.complete(sweep).map(|holders| (key, holders)));
            if holders.sweep != sweep {
                gone.push(key);
            }
        }
        for key in gone {
            // The next sweep inserts it again if it finds it.
            let _ = self.udp_holders.remove(&key);
        }
        Ok(found)
    }

    fn namespaces(&mut self, sweep: u64) -> Result<Vec<(Namespace, NamespaceCounters)>> {
        let (mut counters, mut gone) = (Vec::new(), Vec::new());
        for entry in self.namespaces.iter() {
            let (inode, ListeningNamespace { sweep: found_by, thread, mark }) =
                entry.context("cannot read the network namespaces with listeners")?;
            if found_by != sweep {
                gone.push(inode);
            } else if let Some(read) = fs::read_to_string(format!("/proc/{thread}/net/netstat"))
                .ok()
                .and_then(|text| counters_in(&text))
            {
                counters.push((Namespace { inode, mark }, read));
            }
        }
        for inode in gone {
            // The next sweep inserts it again if it finds it.
            let _ = self.namespaces.remove(&inode);
        }
        Ok(counters)
    }
}

/// The counters in `/proc/PID/net/netstat`: a line `TcpExt:` of names and one of values (`netstat_seq_show`,
/// net/ipv4/proc.c). `None` without one of them.
fn counters_in(text: &str) -> Option<NamespaceCounters> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |name: &str| {
        let at = names.split_whitespace().position(|found| found == name)?;
        values.split_whitespace().nth(at)?.parse().ok()
    };
    Some(NamespaceCounters {
        drops: value("ListenDrops")?,
        accept_queue_full: value("ListenOverflows")?,
        request_queue_full: value("TCPReqQFullDrop")?,
        cookies: value("SyncookiesSent")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows X ListenDrops TCPReqQFullDrop\nTcpExt: 4 2 9 7 3\n\
                    IpExt: InNoRoutes\nIpExt: 1\n";
        let counters =
            NamespaceCounters { drops: 7, accept_queue_full: 2, request_queue_full: 3, cookies: 4 };
        assert_eq!(counters_in(text), Some(counters));
        assert_eq!(counters_in(&text.replace("ListenDrops", "Other")), None);
        assert_eq!(counters_in("TcpExt: ListenDrops\n"), None);
        assert_eq!(counters_in(""), None);
    }

    #[test]
    fn this_kernel_has_the_counters() {
        let text = fs::read_to_string("/proc/self/net/netstat").expect("netstat of this namespace");
        assert!(counters_in(&text).is_some(), "{text}");
    }
}
