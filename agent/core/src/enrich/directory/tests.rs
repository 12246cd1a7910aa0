mod lists;
mod model;
mod pods;
mod races;
mod services;

use std::net::IpAddr;

use super::effects::Effects;
use super::{Directory, HolderRef, Limits};
use crate::enrich::objects::{Change, Kind, Node, Owner, Pod, Seconds, Source, Update};
use crate::enrich::uid::PodUid;

/// A time at which nothing has happened yet.
const START: Seconds = 1_764_000_000;
const TCP: u8 = 6;
const UDP: u8 = 17;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn uid_text(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn uid(number: u32) -> PodUid {
    uid_text(number).parse().unwrap()
}

/// A pod without an owner, `pod-<number>` in `shop`.
fn pod(number: u32, since: Seconds, addresses: &[&str]) -> Pod {
    Pod {
        uid: uid_text(number).into(),
        namespace: "shop".into(),
        name: format!("pod-{number}").into(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        since: Some(since),
        ..Pod::default()
    }
}

fn owner(kind: &str, name: &str) -> Owner {
    Owner { kind: kind.into(), name: name.into(), api_version: "apps/v1".into() }
}

fn node(name: &str, addresses: &[&str]) -> Node {
    let addresses = addresses.iter().map(|address| ip(address)).collect();
    Node { name: name.into(), addresses, zone: Some("zone-a".into()) }
}

fn directory() -> Directory {
    Directory::new(Limits::default())
}

impl Directory {
    fn change(&mut self, change: Change, now: Seconds) -> Effects {
        self.apply_from(Source::Api, change, now)
    }

    fn apply_from(&mut self, source: Source, change: Change, now: Seconds) -> Effects {
        self.apply(&Update { source, change }, now)
    }

    fn apply_pod(&mut self, pod: Pod, now: Seconds) -> Effects {
        self.change(Change::ApplyPod(Box::new(pod)), now)
    }

    fn delete_pod(&mut self, number: u32, now: Seconds) -> Effects {
        self.change(Change::Delete(Kind::Pod, uid_text(number).into()), now)
    }

    /// Who held an address: a workload or a node.
    fn holder_name(&self, address: &str, at: Seconds) -> Option<&str> {
        Some(match self.holder(ip(address), at)?.entity {
            HolderRef::Pod(pod) => pod.name.workload(),
            HolderRef::Node(node) => node.name,
        })
    }

    fn workload(&self, number: u32) -> Option<&str> {
        Some(self.pod(&uid(number))?.name.workload())
    }
}
